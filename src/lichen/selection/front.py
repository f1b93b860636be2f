"""Configurations over their seeds, and the Pareto front: those that no other one beats in quality and in cost.

Candidates that differ in the seed alone are repetitions of one configuration. What breaks a limit, and what has no
quality or no cost, is never on a front; ``why_not`` says which of these it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from lichen.carbon import Range
from lichen.selection.facts import Key, broken, key, middle
from lichen.selection.types import Candidate, Direction, Limits, Setting
from lichen.statistics import Interval, difference, difference_of_intervals, mean


@dataclass(frozen=True)
class Configuration:
    """Settings, and the candidates that were to be trained with them, one for each seed."""

    settings: Mapping[str, Setting]
    candidates: tuple[Candidate, ...]
    broken: str
    """Which limit one of them breaks, in words; empty where none does."""
    is_cut: bool = False
    """Whether this is what it can do when its budget is spent, and not when it is trained until it is done."""

    @property
    def label(self) -> str:
        """``width 16, depth 3``: settings by the last part of their names."""
        words = (f"{name.rpartition('.')[2].replace('_', ' ')} {value_words(x)}" for name, x in self.settings.items())
        return ", ".join(words) or "the settings of all"

    @cached_property
    def trained(self) -> tuple[Candidate, ...]:
        """Those whose quality may be reported."""
        return tuple(each for each in self.candidates if each.found is not None)

    @cached_property
    def quality(self) -> Interval:
        """Mean of the seeds with Student's interval; of one seed its own; n counts seeds."""
        found = [each.found for each in self.trained if each.found is not None]
        if len(found) == 1:
            return Interval(found[0].quality, found[0].low, found[0].high, 1)
        return mean([each.quality for each in found])

    @cached_property
    def cost_j(self) -> Range | None:
        """Training and planned synthesis, mean of those that were trained; None unless it is known of each of them."""
        costs = [each.cost_j for each in self.trained]
        known = [cost for cost in costs if cost is not None]
        return mean_range(known) if len(known) == len(costs) else None

    @cached_property
    def cost_over_seeds_j(self) -> Interval:
        """The same as a mean with Student's interval: of the spread between seeds, not of what a meter may miss."""
        return mean([None if each.cost_j is None else middle(each.cost_j) for each in self.trained])

    @cached_property
    def expected_j(self) -> Range | None:
        """Mean cost of all its candidates, forecasts for those that were not trained; None where nothing is known."""
        known = [each.cost_j for each in self.candidates if each.cost_j is not None]
        return mean_range(known)

    @property
    def why_not(self) -> str:
        """Why it can be on no front; empty where it can."""
        if not self.trained:
            done = [each for each in self.candidates if each.state == "finished"]
            words = "; ".join(dict.fromkeys(each.reason for each in done if each.reason))
            why = f": {words}" if words else ""
            return f"no quality was measured{why}" if done else "not trained until it was done"
        return self.broken or ("" if self.cost_j is not None else "its cost is not known")

    @property
    def point(self) -> tuple[float, float]:
        """(cost in joules, quality); ValueError where it can be on no front."""
        if self.why_not or self.cost_j is None or self.quality.estimate is None:
            raise ValueError(f"{self.label} has no place beside others: {self.why_not}")
        return middle(self.cost_j), self.quality.estimate


def configurations(candidates: Iterable[Candidate], limits: Limits) -> tuple[Configuration, ...]:
    """The ``candidates`` by configuration, in the order in which they come."""
    groups: dict[Key, list[Candidate]] = {}
    for each in candidates:
        groups.setdefault(key(each.settings), []).append(each)
    return tuple(_configuration(group, limits) for group in groups.values())


def cut_short(candidates: Iterable[Candidate], limits: Limits) -> tuple[Configuration, ...]:
    """What configurations can do within the budget for each candidate; only those that the budget has cut.

    A candidate that kept within the budget stands for itself, so means are over all seeds of which something is known.
    """
    groups = configurations(map(_at_cut, candidates), limits)
    return tuple(
        replace(group, is_cut=True)
        for group in groups
        if group.trained and any(each.cut is not None for each in group.candidates)
    )


def front(among: Iterable[Configuration], direction: Direction) -> tuple[Configuration, ...]:
    """Those that no other one beats: as good or better, as cheap or cheaper, and one of both truly; the cheapest first.

    Of several with the same quality at the same cost all are on it. By estimates: whether two of them truly differ is
    for ``difference_between`` to say.
    """
    open_ones = [each for each in among if not each.why_not]
    ranked = sorted(open_ones, key=lambda each: (each.point[0], -signed(each.point[1], direction)))
    kept: list[Configuration] = []
    for each in ranked:
        if not kept or each.point == kept[-1].point or gain(kept[-1], each, direction) > 0:
            kept.append(each)
    return tuple(kept)


def difference_between(one: Configuration, other: Configuration) -> Interval:
    """Quality of ``one`` less that of ``other``: paired by seed, or of two single ones by their own intervals.

    No interval, and nothing is decided, where neither can be had.
    """
    of_one, of_other = (
        {each.seed: each.found.quality for each in group.trained if each.found is not None} for group in (one, other)
    )
    shared = sorted(of_one.keys() & of_other.keys())
    if len(shared) > 1:
        return difference([of_one[seed] for seed in shared], [of_other[seed] for seed in shared])
    return difference_of_intervals(one.quality, other.quality)


def gain(worse: Configuration, better: Configuration, direction: Direction) -> float:
    """How much better the second is, by estimates: positive whatever the direction."""
    return signed(better.point[1], direction) - signed(worse.point[1], direction)


def signed(quality: float, direction: Direction) -> float:
    """A figure that is larger the better."""
    return quality if direction == "higher" else -quality


def mean_range(amounts: Sequence[Range]) -> Range | None:
    """The mean of figures whose errors go the same way, as those of one meter do; None of nothing."""
    if not amounts:
        return None
    return sum(amounts[1:], start=amounts[0]).over(len(amounts))


def value_words(value: Setting) -> str:
    """A setting's value as it is shown: ``16``, ``0.001``."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _configuration(group: Sequence[Candidate], limits: Limits) -> Configuration:
    by_seed = tuple(sorted(group, key=lambda each: each.seed))
    reasons = (broken(each, limits) for each in by_seed)
    return Configuration(group[0].settings, by_seed, next(filter(None, reasons), ""))


def _at_cut(candidate: Candidate) -> Candidate:
    """What is known of it when its budget is spent, as if it had been done then."""
    if candidate.cut is None:
        return candidate
    spent_j, whole_j = candidate.cut.spent_j, candidate.training_j
    share = spent_j / middle(whole_j) if whole_j is not None and middle(whole_j) > 0 else None
    training_j = Range(spent_j, spent_j, spent_j) if share is None or whole_j is None else whole_j.times(share)
    return replace(candidate, found=candidate.cut, training_j=training_j)
