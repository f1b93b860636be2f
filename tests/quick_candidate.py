"""A candidate without a network, for tests of what surrounds it: a run folder, an energy trace, and a Dice at its end.

    python quick_candidate.py SETTINGS OUT     train one, as a search's runner has it done
    python quick_candidate.py FILE HOME METHOD TRIALS     be a runner of the search in FILE
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from lichen.carbon import Range
from lichen.config import CarbonConfig, SegmentationConfig
from lichen.energy import Interval, Trace, find_meters, read_sessions, read_traces, trace_name
from lichen.runs import RunFolder
from lichen.searching.reading import read_search
from lichen.searching.segmentation import Segmentation
from lichen.searching.tasks import Expected
from lichen.searching.terms import Terms
from lichen.searching.whole import run_search
from lichen.settings import dump_settings, load_settings
from lichen.stopping import Stopped, listening
from lichen.summary import energy_summary

STEPS = 20
J_PER_WIDTH = 10.0


def dice_of(width: int) -> float:
    """More is better, and less and less."""
    return 0.9 - 0.5 / width


@dataclass(frozen=True)
class Quick(Segmentation):
    """Candidates that take a second, the wider the longer by their forecast."""

    def command(self, settings: Path, out: Path) -> list[str]:
        return [sys.executable, __file__, str(settings), str(out)]

    def expect(self, config: SegmentationConfig, planned_images: int) -> Expected:
        width = config.segmenter.width
        joules = width * J_PER_WIDTH
        cost = Range(0.8 * joules, joules, 1.25 * joules)
        return Expected(cost, None, Interval(1, 1, 1), 10**6 * width, None, None)


def train(settings: Path, out: Path) -> None:
    config, folder = load_settings(settings, SegmentationConfig()), RunFolder(out)
    with listening(), folder.lock(), Trace(out / trace_name(), find_meters(whole_machine=False)) as trace:
        folder.write_config(dump_settings(config))
        done = out / "done"
        with trace.phase("segmenter"):
            for step in range(len(done.read_text()) if done.exists() else 0, STEPS):
                until = time.process_time() + 0.01
                while time.process_time() < until:  # the meter counts what the processor does
                    math.sqrt(2.0)
                time.sleep(0.02)
                with done.open("a") as file:
                    file.write(".")
                dice = dice_of(config.segmenter.width) * (step + 1) / STEPS
                joules = trace.so_far().energy_j or 0.0
                record = {"phase": "segmenter", "images_seen": step + 1, "loss": 1 - dice, "validation_dice": dice}
                folder.append_log({**record, "spent_j": joules})
    phases = read_traces(folder.traces)
    folder.write_summary(
        {
            "state": "finished",
            "model": {"parameters": 1000 * config.segmenter.width},
            "segmentation": {
                "dice": {"estimate": dice_of(config.segmenter.width), "low": None, "high": None, "n": 1},
                "images_seen": STEPS,
                "planned_images_seen": STEPS,
                "training_flop": 1e6,
            },
            "energy": energy_summary(phases, read_sessions(folder.traces)),
        }
    )


def search(path: Path, home: Path, method: str, trials: int) -> int:
    terms = Terms(method=method, trials=trials or None, carbon=CarbonConfig(grid="FR"))  # type: ignore[arg-type]
    _, failed = run_search(read_search(path, terms.method), None, home, terms, task=Quick(), quiet=True)
    return len(failed)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        try:
            train(Path(sys.argv[1]), Path(sys.argv[2]))
        except Stopped:
            sys.exit(0)
    else:
        sys.exit(search(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
