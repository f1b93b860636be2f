"""What a search says while it goes on: a line for each candidate that is over, with time left and grams so far."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from lichen.carbon import Range, energy_text, grams, grams_text, number
from lichen.plurals import plural
from lichen.report.formats import duration
from lichen.searching.definition import QualityName
from lichen.searching.terms import Terms
from lichen.selection.types import Candidate
from lichen.telling import Lines

_CALLED: Mapping[QualityName, str] = {"dice": "Dice", "kernel_distance": "kernel distance"}


class Teller(Lines):
    """Knows what was said of each candidate, and says what is new."""

    def __init__(self, terms: Terms, quality: QualityName, *, quiet: bool) -> None:
        super().__init__("search", quiet=quiet)
        self._terms, self._quality = terms, quality
        self._said: dict[str, str] = {}
        self._expected_s: dict[str, float] = {}
        self._begun_s: dict[str, float] = {}
        self._candidates: tuple[Candidate, ...] = ()

    def expects(self, name: str, seconds: float) -> None:
        """A candidate takes so long, as far as is known before."""
        self._expected_s[name] = seconds

    def begins(self, name: str) -> None:
        """Work on a candidate begins now."""
        self._begun_s[name] = time.monotonic()

    def look(self, candidates: Sequence[Candidate]) -> None:
        """Say what became of candidates since the last look; of the first look, a sum."""
        is_first = not self._candidates
        self._candidates = tuple(candidates)
        new = {one.name: words for one in candidates if (words := self._words(one)) != self._said.get(one.name, "")}
        self._said.update(new)
        if is_first:
            over = sum(one.state in {"finished", "stopped", "refused"} for one in candidates)
            there = f", {over} of them settled before" if over else ""
            self.tell(f"{plural(len(candidates), 'candidate')}{there}{self._plan()}")
            return
        for name, words in new.items():
            if words:
                self.tell(f"{self._done()}  {name}: {words}{self._time_left()}{self._grams()}")

    def waiting(self) -> None:
        """Nothing happened; once a minute that is said, too."""
        if self.is_due():
            self.tell(f"{self._done()}{self._time_left()}{self._grams()}")

    def _words(self, one: Candidate) -> str:
        """What became of it; empty while nothing did."""
        if one.state in {"stopped", "refused", "failed"}:
            quality = "" if one.cut is None else f" with {self._quality_words(one.cut.quality)}"
            return f"{one.state}{quality}: {one.reason}"
        if one.state == "finished":
            return "finished" + ("" if one.found is None else f", {self._quality_words(one.found.quality)}")
        return "" if one.cut is None else f"its budget is spent, {self._quality_words(one.cut.quality)}; it goes on"

    def _quality_words(self, quality: float) -> str:
        return f"{_CALLED[self._quality]} {number(quality)}"

    def _done(self) -> str:
        over = sum(one.state not in {"waiting", "running"} for one in self._candidates)
        return f"{over}/{len(self._candidates)}"

    def _plan(self) -> str:
        """What all that is to do would take, if nothing of it was refused or stopped."""
        costs = [one.training_j for one in self._candidates if one.state in {"waiting", "running"}]
        known = [cost for cost in costs if cost is not None]
        if not known:
            return self._time_left()
        whole = sum(known[1:], start=known[0])
        energy = "" if whole.estimate is None else f"{energy_text(whole.estimate)}, "
        training = f"{energy}{self._grams_text(whole)} CO2e"
        return f"; to train all that are left would take {training}, reading and testing aside{self._time_left()}"

    def _time_left(self) -> str:
        """Of the trainings, if none of them is refused or stopped: what else a run does was not timed."""
        left_s = sum(
            max(0.0, self._expected_s.get(one.name, 0.0) - self._elapsed_s(one))
            for one in self._candidates
            if one.state in {"waiting", "running"}
        )
        return f", about {duration(left_s / self._terms.at_once)} of training left" if left_s else ""

    def _elapsed_s(self, one: Candidate) -> float:
        """Of its training; of one that another runner works on, by the energy that it took."""
        if one.name in self._begun_s:
            return time.monotonic() - self._begun_s[one.name]
        whole_j = None if one.training_j is None else one.training_j.estimate
        return self._expected_s.get(one.name, 0.0) * one.spent_j / whole_j if whole_j else 0.0

    def _grams(self) -> str:
        spent_j = sum(one.spent_j for one in self._candidates)
        return f", {self._grams_text(Range(spent_j, spent_j, spent_j))} CO2e so far" if spent_j else ""

    def _grams_text(self, energy: Range) -> str:
        cost = grams((energy.low, energy.estimate, energy.high), self._terms.place, self._terms.carbon.pue)
        return grams_text(cost)
