"""Where points of a space come from: all at once for a grid and at random, one after the other from a sampler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from lichen.searching.definition import Search
from lichen.searching.points import Point, at_random, grid
from lichen.searching.terms import Terms
from lichen.selection.types import Candidate


class Proposals(Protocol):
    """Points to try, the same for all runners of a search."""

    def points(self) -> tuple[Point, ...]:
        """All so far, each once."""
        ...

    def propose(self) -> bool:
        """Look for one more; False where there is none."""
        ...

    def learn(self, candidates: Sequence[Candidate]) -> None:
        """Take note of what came of points."""
        ...


class Fixed:
    """Points that are known from the beginning."""

    def __init__(self, points: tuple[Point, ...]) -> None:
        self._points = points

    def points(self) -> tuple[Point, ...]:
        """See ``Proposals``."""
        return self._points

    def propose(self) -> bool:
        """See ``Proposals``."""
        return False

    def learn(self, candidates: Sequence[Candidate]) -> None:
        """See ``Proposals``."""


def proposals_of(search: Search, terms: Terms, home: Path) -> Proposals:
    """Those that the terms ask for.

    Raises:
        DependencyError: Optuna is asked for, and not there.
        RunError: the journal in ``home`` is of another space.
    """
    if terms.method == "grid":
        return Fixed(grid(search))
    if terms.method == "random":
        return Fixed(at_random(search, terms.trials or 0, terms.seed))
    from lichen.searching.journal import Journal

    return Journal(search, terms, home)
