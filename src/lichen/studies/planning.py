"""What a whole study will take, before it begins: each plan among its runs is probed once, and counted as often."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lichen.energy import Energy, Interval
from lichen.files import write_json
from lichen.plurals import plural
from lichen.settings import dump_settings, from_plain
from lichen.studies.cells import Cell


@dataclass(frozen=True)
class Expected:
    """What one run is expected to take, reading, audit and quality left out."""

    duration_s: Interval
    energy: Energy

    def __add__(self, other: Expected) -> Expected:
        """Both, one after the other."""
        return Expected(self.duration_s + other.duration_s, self.energy + other.energy)


NOTHING = Expected(Interval(0, 0, 0), Energy(0.0, 0.0, 0.0))


def expect_all(cells: Sequence[Cell], kept: Path, tell: Callable[[str], None]) -> Mapping[str, Expected]:
    """By cell's name; plans that were probed before are read from ``kept``, a JSON file, which is filled.

    Raises:
        LichenError: settings or images of a cell cannot be used.
    """
    found = _read(kept)
    new = {_key(cell): cell for cell in cells if _key(cell) not in found}
    if new:
        tell(f"timing some real steps of {plural(len(new), 'kind')} of run, before anything is trained")
    for key, cell in new.items():
        found[key] = _probe(cell)
        write_json(kept, {name: asdict(each) for name, each in found.items()})
    return {cell.name: found[_key(cell)] for cell in cells}


def total(expected: Sequence[Expected]) -> Expected:
    """The sum."""
    return sum(expected, start=NOTHING)


def _probe(cell: Cell) -> Expected:
    from lichen.chain.predicting import predict

    found = predict(cell.config).found
    return Expected(found.duration_s, found.energy)


def _key(cell: Cell) -> str:
    return hashlib.sha256(f"{dump_settings(cell.plan)}{cell.processes}".encode()).hexdigest()


def _read(kept: Path) -> dict[str, Expected]:
    try:
        return {key: from_plain(Expected, each) for key, each in json.loads(kept.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # it is made anew
        return {}
