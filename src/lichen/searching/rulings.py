"""What was decided of candidates, and under which limits: ``decisions.jsonl``, read again before anything begins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

from lichen.runs import append_line, now, read_lines
from lichen.searching.shared import my_turn
from lichen.selection.types import Limits
from lichen.settings import from_plain

Kind = Literal["stop", "refuse"]


@dataclass(frozen=True)
class Ruling:
    """A candidate is not to be trained, or not further."""

    candidate: str
    kind: Kind
    reason: str
    limits: Limits
    """Those that were kept when it was decided."""
    exhaustive: bool = False
    """Whether nothing but limits counted."""

    def stands(self, limits: Limits, *, exhaustive: bool) -> bool:
        """Whether it holds under these limits; where one of them was raised, the candidate is looked at again.

        So it is where now nothing but limits counts, and then more did.
        """
        return (self.exhaustive or not exhaustive) and all(
            _least(limits, each.name) <= _least(self.limits, each.name) for each in fields(Limits)
        )


class Rulings:
    """The file of rulings of a search, which several runners add to."""

    def __init__(self, path: Path, *, exhaustive: bool = False) -> None:
        self._path, self._exhaustive = path, exhaustive

    def standing(self, limits: Limits) -> Mapping[str, Ruling]:
        """The last ruling on each candidate, where it stands under these ``limits``."""
        last: dict[str, Ruling] = {}
        for line in read_lines(self._path):
            try:
                ruling = from_plain(Ruling, {name: value for name, value in line.items() if name != "at"})
                stands = ruling.stands(limits, exhaustive=self._exhaustive)
            except (KeyError, TypeError, ValueError, OverflowError):  # somebody changed it
                continue
            last.pop(ruling.candidate, None)
            if stands:
                last[ruling.candidate] = ruling
        return last

    def add(self, rulings: Iterable[Ruling]) -> tuple[Ruling, ...]:
        """Add those on candidates of whom none stands yet; return them."""
        with my_turn(self._path.parent):
            standing: dict[Limits, Mapping[str, Ruling]] = {}
            new = []
            for ruling in rulings:
                if ruling.limits not in standing:
                    standing[ruling.limits] = self.standing(ruling.limits)
                if ruling.candidate not in standing[ruling.limits]:
                    append_line(self._path, {"at": now(), **asdict(ruling)})
                    new.append(ruling)
        return tuple(new)


def _least(limits: Limits, name: str) -> float:
    found = getattr(limits, name)
    return math.inf if found is None else float(found)
