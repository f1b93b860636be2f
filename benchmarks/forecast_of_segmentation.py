"""What each training of a search would take, foretold before it, after 2 % and after an epoch, beside what it took.

    python benchmarks/forecast_of_segmentation.py FOLDER-OF-A-SEARCH

The search is of segmentations that validate more often than once an epoch. Beside lichen's stands carbontracker's
predictor (mean energy of the epochs seen, times epochs), on the same readings, where it is installed. All are beside
what the training took until it ended: when patience ends it is nobody's forecast.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from report import write_results

from lichen.energy import Energy
from lichen.outlook import Seen, expected_of_training
from lichen.runs import RunFolder, read_log


class Row(NamedTuple):
    """Relative errors of one training, None where nothing was foretold."""

    name: str
    width: int
    came_j: float
    before: float | None
    early: float
    epoch: float
    peer: float | None


def main(home: Path) -> None:
    rows = [row for path in sorted((home / "runs").iterdir()) if (row := _row(RunFolder(path))) is not None]
    rows.sort(key=lambda row: (row.width, row.name))
    kinds = ("before", "early", "epoch", "peer")
    table = [[row.name, f"{row.came_j:.0f} J", *(_signed(getattr(row, kind)) for kind in kinds)] for row in rows]
    for words, pick in (("median of sizes", median), ("worst", max)):
        errors = [[abs(value) for row in rows if (value := getattr(row, kind)) is not None] for kind in kinds]
        table.append([words, "", *(f"{pick(each):.1%}" if each else "not installed" for each in errors)])
    write_results(
        __file__,
        ("training", "it took", "before", "after 2 %", "after an epoch", "carbontracker, an epoch"),
        table,
        f"{len(rows)} trainings of a search; energy is {', '.join(_sources(home))}. Errors are relative to what came.",
    )


def _row(folder: RunFolder) -> Row | None:
    summary = folder.read_summary()
    if summary is None or summary["state"] != "finished":
        return None
    looks = [look for look in read_log(folder.log)["segmenter"] if look.get("spent_j") is not None]
    images, came = summary["images"], looks[-1]
    first, epoch = looks[0], next(look for look in looks if look["images_seen"] >= images["train_images"])

    def seen(look: dict[str, Any]) -> Seen:
        return Seen(look["images_seen"], (1 + looks.index(look)) * images["validation_images"])

    def error(look: dict[str, Any]) -> float:
        spent = look["spent_j"]
        found = expected_of_training(Energy(spent, spent, spent), seen(look), seen(came)).energy_j
        assert found is not None
        return float(found / came["spent_j"] - 1)

    return Row(
        folder.path.name,
        summary["model"]["width"],
        came["spent_j"],
        _before(summary),
        error(first),
        error(epoch),
        _peer(epoch["spent_j"], came["images_seen"] / epoch["images_seen"], came["spent_j"]),
    )


def _before(summary: dict[str, Any]) -> float | None:
    """Of the forecast from a probe, scaled to what was needed."""
    phases = [phase for phase in (summary["forecast"] or {}).get("phases", []) if phase["phase"] != "test"]
    ends = [(phase["energy"]["energy_j"], phase["came_j"]) for phase in phases]
    if not ends or any(end is None for pair in ends for end in pair):
        return None
    return float(sum(expected for expected, _ in ends) / sum(came for _, came in ends) - 1)


def _peer(epoch_j: float, epochs: float, came_j: float) -> float | None:
    try:
        from carbontracker.predictor import predict_energy
    except ImportError:
        return None
    return float(predict_energy(epochs, [epoch_j]) / came_j - 1)


def _sources(home: Path) -> list[str]:
    found = set()
    for path in (home / "runs").glob("*/summary.json"):
        for phase in json.loads(path.read_text(encoding="utf-8"))["energy"]["phases"]:
            found |= {part["source"] for part in phase["components"]}
    return sorted(found - {"absent"})


def _signed(error: float | None) -> str:
    return "–" if error is None else f"{error:+.1%}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
