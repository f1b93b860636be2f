"""How wrong forecasts are: each run forecasts itself before it begins, and is then held against what came.

    python benchmarks/forecast_error.py --data FOLDER [--repeats 4] [--first-seed 0]

FOLDER holds ``chest-xray-pediatric`` and ``mri-hippocampus/images``. Real images in 2D and 3D, two sizes each;
of every case some generators are trained and then sampled from, each in a process of its own with one thread, with
other seeds. One training or one sampling is a run. The drift constant of the forecast was settled on phantoms
(without ``--data``), before these runs and apart from them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import write_results

from lichen.energy import read_traces
from lichen.runs import RunFolder, read_lines

TRAINING = ("autoencoder", "encode", "diffusion")
SYNTHESIS = ("denoise", "decode")
COMMON = ("--preset", "demo", "--training.threads", "1", "--quiet")


@dataclass(frozen=True)
class Case:
    """A set of images at a size, and how much is done with it."""

    name: str
    images: str
    options: tuple[str, ...]


def case(name: str, images: str, size: str, seen: tuple[int, int], count: int) -> Case:
    return Case(
        name,
        images,
        (
            *("--images.size", *size.split()),
            *("--autoencoder.images-seen", str(seen[0]), "--training.images-seen", str(seen[1])),
            *("--sampling.count", str(count)),
        ),
    )


CASES = (
    case("X-ray 64 x 64", "chest-xray-pediatric", "64 64", (1500, 3000), 600),
    case("X-ray 128 x 128", "chest-xray-pediatric", "128 128", (320, 800), 160),
    case("hippocampus 24 x 32 x 24", "mri-hippocampus/images", "24 32 24", (240, 1200), 160),
    case("hippocampus 32 x 48 x 32", "mri-hippocampus/images", "32 48 32", (80, 480), 64),
)


@dataclass(frozen=True)
class Run:
    """A forecast and what came."""

    case: str
    part: str
    low_s: float
    forecast_s: float
    high_s: float
    came_s: float
    forecast_j: float
    came_j: float
    probe_s: float

    @property
    def error(self) -> float:
        """(forecast - came) / came, of the time."""
        return self.forecast_s / self.came_s - 1

    @property
    def error_j(self) -> float:
        """The same of the energy."""
        return self.forecast_j / self.came_j - 1

    @property
    def is_covered(self) -> bool:
        """Whether the time lies in the 90 % interval."""
        return self.low_s <= self.came_s <= self.high_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the real images; default: phantoms")
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    runs: list[Run] = []
    for repeat in range(options.repeats):  # in turns, so that a busy hour of the machine meets all cases
        for entry in CASES:
            runs += measured(entry, options.data, options.first_seed + repeat)
            print(*(f"{run.case} {run.part}: {run.error:+.1%}" for run in runs[-2:]), file=sys.stderr, flush=True)
    if options.data is None:
        print(table(runs), summary(runs), sep="\n")
        return
    write_results(__file__, HEADER, table(runs), summary(runs))


def measured(entry: Case, data: Path | None, seed: int) -> list[Run]:
    """Train and sample in a new folder."""
    if data is None:
        images: tuple[str, ...] = ("--images.phantoms", "2d" if "X-ray" in entry.name else "3d")
        images += ("--images.phantom-patients", "120")
    else:
        images = ("--images.path", str(data / entry.images))
        if "chest" in entry.images:  # its patients' numbers restart; groups are the safe unit
            images += ("--images.patient-column", "group")
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        seeds = ("--training.seed", str(seed), "--images.split-seed", str(seed))
        lichen("train", *COMMON, *images, *entry.options, *seeds, "--out", str(run.path))
        lichen("sample", str(run.path), "--quiet", "--device", "cpu")
        came = {phase.phase: phase for phase in read_traces(run.traces)}
        training, synthesis = read_lines(run.forecasts)
        return [
            compared(entry.name, "training", TRAINING, training["forecast"], came),
            compared(entry.name, "sampling", SYNTHESIS, synthesis["forecast"], came),
        ]


def compared(name: str, part: str, phases: Sequence[str], forecast: dict[str, Any], came: dict[str, Any]) -> Run:
    found = [phase for phase in forecast["phases"] if phase["phase"] in phases]
    low, estimate, high = (sum(phase["duration_s"][end] for phase in found) for end in ("low", "estimate", "high"))
    return Run(
        case=name,
        part=part,
        low_s=low,
        forecast_s=estimate,
        high_s=high,
        came_s=sum(came[phase].duration_s for phase in phases),
        forecast_j=sum(phase["energy"]["energy_j"] for phase in found),
        came_j=sum(came[phase].total.energy_j for phase in phases),
        probe_s=forecast["probe_s"],
    )


def lichen(*words: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "lichen", *words], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"lichen {' '.join(words)}\n{done.stderr}")


HEADER = (
    *("case", "part", "runs", "time, s", "error of time: median", "worst", "within 90 %"),
    *("of energy: median", "probe, s"),
)


def table(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    kinds = dict.fromkeys((run.case, run.part) for run in runs)
    rows = [row(*kind, [run for run in runs if (run.case, run.part) == kind]) for kind in kinds]
    return [*rows, row("all", "", runs)]


def row(name: str, part: str, runs: Sequence[Run]) -> tuple[str, ...]:
    worst = max(runs, key=lambda run: abs(run.error))
    return (
        name,
        part,
        str(len(runs)),
        f"{statistics.median(run.came_s for run in runs):.0f}",
        f"{statistics.median(abs(run.error) for run in runs):.1%}",
        f"{worst.error:+.1%}",
        f"{sum(run.is_covered for run in runs)} of {len(runs)}",
        f"{statistics.median(abs(run.error_j) for run in runs):.1%}",
        f"{statistics.median(run.probe_s for run in runs):.1f}",
    )


def summary(runs: Sequence[Run]) -> str:
    errors = [run.error for run in runs]
    sizes = [abs(error) for error in errors]
    covered = sum(run.is_covered for run in runs) / len(runs)
    return (
        f"{len(runs)} runs; one thread each, one run at a time. Time: median error {statistics.median(sizes):.1%}, "
        f"worst {max(sizes):.1%}, mean {statistics.fmean(errors):+.1%}, standard deviation "
        f"{statistics.stdev(errors):.1%}; {covered:.0%} lie in their 90 % interval. Aims: median 10 %, worst 25 %, "
        "coverage 80 to 97 %. Energy is estimated from CPU time here, by the same model before and after, so its "
        "error is that of the forecast alone. No GPU was at hand: the forecast of counted energy is not measured."
    )


if __name__ == "__main__":
    main()
