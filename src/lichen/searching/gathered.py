"""What a search found, so far: configurations, front, choices and what it cost, for pages and for programs."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from lichen import __version__
from lichen.carbon import Intensity, Range, grams
from lichen.runs import now
from lichen.searching.definition import QualityName, Search
from lichen.searching.spending import Spent
from lichen.selection import answers
from lichen.selection.answers import Choice, Ends, Saving, Step
from lichen.selection.facts import middle
from lichen.selection.front import Configuration, configurations, cut_short, front, signed
from lichen.selection.objectives import objectives, proxies
from lichen.selection.types import Candidate, Direction, Limits
from lichen.statistics import Interval

LAYOUT = 1
"""Of search.json; raised when a field changes its meaning."""
DIRECTIONS: Mapping[QualityName, Direction] = {"dice": "higher", "kernel_distance": "lower"}
NEARLY = (0.01, 0.05)
"""Shares of the best quality that somebody may do without."""


@dataclass(frozen=True)
class Results:
    """All that a search found, so far."""

    search: Search
    candidates: tuple[Candidate, ...]
    limits: Limits
    place: Intensity
    pue: float | None
    spent: Spent
    """All that was, probes and what was stopped included."""
    configurations: tuple[Configuration, ...]
    cut: tuple[Configuration, ...]
    """Those that the budget for each candidate has cut, as they were then."""
    front: tuple[Configuration, ...]
    objectives: tuple[tuple[Range | None, float | None], ...]
    """(scalar objective, PePR) of each of ``configurations``."""
    proxies: Mapping[str, Interval]

    @property
    def direction(self) -> Direction:
        """Which qualities are better."""
        return DIRECTIONS[self.search.quality]

    @cached_property
    def choice(self) -> Choice | None:
        """What to take, whatever it costs."""
        return answers.choose(self.configurations, self.direction)

    @cached_property
    def in_budget(self) -> Choice | None:
        """What to take with the search's budget for each candidate, cut ones included; None without a budget."""
        budget_j = self.limits.candidate_j
        if budget_j is None:
            return None
        return answers.within_budget([*self.configurations, *self.cut], budget_j, self.direction)

    @cached_property
    def nearly(self) -> tuple[tuple[float, Configuration], ...]:
        """(quality, the cheapest that reaches it) of qualities a little less than the best one's."""
        if not self.front:
            return ()
        best = self.front[-1].point[1]
        wanted = [best - abs(best) * share * signed(1.0, self.direction) for share in NEARLY]
        found = [(least, answers.at_least(self.front, least, self.direction)) for least in wanted]
        return tuple((least, take) for least, take in found if take is not None)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Along the front."""
        return answers.steps(self.front, self.direction)

    @cached_property
    def ends(self) -> Ends | None:
        """The cheapest and the best of the front."""
        return answers.ends(self.front, self.direction)

    @cached_property
    def saving(self) -> Saving:
        """Beside training every candidate until it is done."""
        return answers.saving(self.candidates, self.spent.energy_j)

    def grams(self, energy_j: Range) -> Range:
        """CO2e of an energy at the place; of one that was saved, too, which may be below 0."""
        of_one = grams((1.0, 1.0, 1.0), self.place, self.pue)
        low = energy_j.low * (of_one.low if energy_j.low >= 0 else of_one.high)
        high = energy_j.high * (of_one.high if energy_j.high >= 0 else of_one.low)
        known = energy_j.estimate is not None and of_one.estimate is not None
        return Range(low, (energy_j.estimate or 0.0) * (of_one.estimate or 0.0) if known else None, high)

    def as_json(self) -> dict[str, Any]:
        """Everything for other programs."""
        saving = self.saving
        return {
            "lichen": __version__,
            "layout": LAYOUT,
            "title": self.search.title,
            "task": self.search.task,
            "quality": self.search.quality,
            "better": self.direction,
            "space": [each.setting for each in self.search.space],
            "seeds": list(self.search.seeds),
            "planned_images": self.search.planned_images,
            "beta": self.search.beta,
            "limits": asdict(self.limits),
            "zone": self.place.zone,
            "month": self.place.month,
            "year": self.place.year,
            "g_per_kwh": asdict(self.place.g_per_kwh),
            "pue": self.pue,
            "attribution": self.place.attribution,
            "choice": self._choice_json(self.choice),
            "in_budget": self._choice_json(self.in_budget),
            "nearly": [{"quality": least, "take": self._number(take)} for least, take in self.nearly],
            "front": [self._number(each) for each in self.front],
            "steps": [self._step_json(step) for step in self.steps],
            "ends": self._ends_json(),
            "search_j": asdict(self.spent.energy_j),
            "unread_traces": self.spent.unread,
            "search_g": asdict(self.grams(self.spent.energy_j)),
            "everything_j": _range_json(saving.everything_j),
            "saved_j": _range_json(saving.saved_j),
            "saved_g": None if saving.saved_j is None else asdict(self.grams(saving.saved_j)),
            "saved_share": _range_json(saving.share),
            "forecast": saving.forecast,
            "unknown": saving.unknown,
            "rank_correlations": {name: found.as_json() for name, found in self.proxies.items()},
            "configurations": [self._configuration_json(at) for at in range(len(self.configurations))],
            "candidates": [_candidate_json(each) for each in self.candidates],
            "provenance": {"python": platform.python_version(), "platform": platform.platform(), "at": now()},
        }

    def _number(self, configuration: Configuration) -> int:
        """Its place in ``configurations``; a cut one has that of its settings."""
        return next(at for at, each in enumerate(self.configurations) if each.settings == configuration.settings)

    def _choice_json(self, choice: Choice | None) -> dict[str, Any] | None:
        if choice is None:
            return None
        return {
            "take": self._number(choice.take),
            "cut": choice.take.is_cut,
            "best": self._number(choice.best),
            "alike": [self._number(each) for each in choice.alike],
            "difference": choice.difference.as_json(),
            "is_judged": choice.is_judged,
        }

    def _step_json(self, step: Step) -> dict[str, Any]:
        extra_j, percent_j = step.extra_j, step.next_percent_j
        return {
            "of": self._number(step.of),
            "to": self._number(step.to),
            "gain": step.gain,
            "difference": step.difference.as_json(),
            "extra_j": extra_j,
            "extra_share": step.extra_share,
            "extra_g": asdict(self.grams(Range(extra_j, extra_j, extra_j))),
            "next_percent_j": percent_j,
            "next_percent_g": None if percent_j is None else asdict(self.grams(Range(*[percent_j] * 3))),
        }

    def _ends_json(self) -> dict[str, Any] | None:
        if self.ends is None:
            return None
        return {
            "cheapest": self._number(self.ends.cheapest),
            "best": self._number(self.ends.best),
            "cost_ratio": self.ends.cost_ratio.as_json(),
            "gain": self.ends.gain,
            "difference": self.ends.difference.as_json(),
        }

    def _configuration_json(self, at: int) -> dict[str, Any]:
        each, (objective, score) = self.configurations[at], self.objectives[at]
        cut = next((other for other in self.cut if other.settings == each.settings), None)
        return {
            "settings": dict(each.settings),
            "candidates": [candidate.name for candidate in each.candidates],
            "trained": len(each.trained),
            "quality": each.quality.as_json(),
            "cost_j": _range_json(each.cost_j),
            "cost_over_seeds_j": each.cost_over_seeds_j.as_json(),
            "cost_g": None if each.cost_j is None else asdict(self.grams(each.cost_j)),
            "expected_j": _range_json(each.expected_j),
            "cut_quality": None if cut is None else cut.quality.as_json(),
            "cut_cost_j": None if cut is None else _range_json(cut.cost_j),
            "objective": _range_json(objective),
            "pepr": score,
            "why_not": each.why_not,
        }


def gather(
    search: Search,
    candidates: Sequence[Candidate],
    limits: Limits,
    *,
    place: Intensity,
    pue: float | None,
    spent: Spent,
) -> Results:
    """What follows from all ``candidates`` as they are now."""
    sound = tuple(map(_sound, candidates))
    groups = configurations(sound, limits)
    direction = DIRECTIONS[search.quality]
    return Results(
        search=search,
        candidates=sound,
        limits=limits,
        place=place,
        pue=pue,
        spent=spent,
        configurations=groups,
        cut=cut_short(sound, limits),
        front=front(groups, direction),
        objectives=objectives(groups, direction, search.beta, place, pue),
        proxies=proxies(groups),
    )


def _sound(candidate: Candidate) -> Candidate:
    """Without qualities that are no numbers, as those of a training that diverged are."""
    curve = tuple(point for point in candidate.curve if math.isfinite(point.quality))
    found, cut = (
        measured if measured is None or math.isfinite(measured.quality) else None
        for measured in (candidate.found, candidate.cut)
    )
    is_lost = candidate.found is not None and found is None
    reason = candidate.reason or ("it is not a number" if is_lost else "")
    return replace(candidate, curve=curve, found=found, cut=cut, reason=reason)


def _candidate_json(each: Candidate) -> dict[str, Any]:
    return {
        **asdict(each),
        "settings": dict(each.settings),
        "curve": [[point.spent_j, point.quality] for point in each.curve],
    }


def _range_json(amount: Range | None) -> dict[str, Any] | None:
    return None if amount is None else asdict(amount)


def scalar(amount: Range | None) -> float | None:
    """The figure to sort and to draw by: ``lichen.selection.front.middle``; None of None."""
    return None if amount is None else middle(amount)
