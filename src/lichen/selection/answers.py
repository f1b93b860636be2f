"""Which model to take, what the next per cent of quality costs, and what a search emitted and saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lichen.carbon import Range
from lichen.selection.facts import middle
from lichen.selection.front import Configuration, difference_between, front, gain, signed
from lichen.selection.types import Candidate, Direction
from lichen.statistics import Interval, ratio


@dataclass(frozen=True)
class Choice:
    """The configuration to take among some, and why."""

    take: Configuration
    """The cheapest of ``alike``."""
    best: Configuration
    """That of the best figure."""
    alike: tuple[Configuration, ...]
    """The best and all that are not shown to be worse, the cheapest first."""
    difference: Interval
    """Quality of ``take`` less that of ``best``."""
    is_judged: bool
    """Whether any interval says what is chance; without one ``take`` is ``best``, by its figure alone."""


@dataclass(frozen=True)
class Step:
    """From one configuration of a front to the next, dearer and better one."""

    of: Configuration
    to: Configuration
    extra_j: float
    extra_share: float | None
    """Of the cost of ``of``."""
    gain: float | None
    """Of quality, as a share of that of ``of``; None where that is not above 0."""
    difference: Interval
    """Quality of ``to`` less that of ``of``."""
    next_percent_j: float | None
    """What 1 % more quality than that of ``of`` costs more, along the front; None where the front ends before."""


@dataclass(frozen=True)
class Ends:
    """The cheapest and the best configuration of a front."""

    cheapest: Configuration
    best: Configuration
    cost_ratio: Interval
    """Cost of the best / that of the cheapest."""
    gain: float | None
    """Of quality, as a share of that of the cheapest; None where that is not above 0."""
    difference: Interval
    """Quality of the best less that of the cheapest."""


@dataclass(frozen=True)
class Saving:
    """What a search used beside what training all candidates until they are done would have used."""

    everything_j: Range | None
    """Measured of those that are done, forecast of the others; None where none of them is known."""
    forecast: int
    """How many of these are forecasts."""
    unknown: int
    """Candidates without any figure, which are in neither."""
    saved_j: Range | None
    """Below 0 where the search used more. None like ``everything_j``."""

    @property
    def share(self) -> Range | None:
        """What was saved / everything; None where nothing is known."""
        if self.saved_j is None or self.everything_j is None or middle(self.everything_j) <= 0:
            return None
        whole = middle(self.everything_j)
        estimate = None if self.saved_j.estimate is None else self.saved_j.estimate / whole
        # everything's own ends belong to the saving's: a dear forecast is saved in full
        low = self.saved_j.low / (self.everything_j.low or whole)
        high = self.saved_j.high / (self.everything_j.high or whole)
        ends = sorted(end for end in (low, estimate, high) if end is not None)
        return Range(ends[0], estimate, ends[-1])


def choose(among: Sequence[Configuration], direction: Direction) -> Choice | None:
    """The cheapest whose quality is not shown to be worse than the best one's; None where nobody can be chosen.

    Shown: the 95 % interval of the difference, paired by seed where both have several, does not hold 0.
    """
    there = front(among, direction)
    if not there:
        return None
    best = there[-1]
    others = [each for each in among if each is not best and not each.why_not]
    differences = [(each, difference_between(each, best)) for each in others]
    alike = [each for each, between in differences if _is_equal(each, best) or _holds_zero(between)]
    ranked = sorted([best, *alike], key=lambda each: (each.point[0], -signed(each.point[1], direction)))
    take = ranked[0]
    between = Interval(0.0, None, None, best.quality.n) if take is best else difference_between(take, best)
    is_judged = not others or any(between.low is not None for _, between in differences)
    return Choice(take, best, tuple(ranked), between, is_judged)


def within_budget(among: Sequence[Configuration], budget_j: float, direction: Direction) -> Choice | None:
    """What to take with a budget in joules for training and planned synthesis; None where it allows for none.

    What was cut by the budget keeps it as it was then, if there was something to test. Of all else the upper end has
    to, as while it is trained: a budget that is kept by the best estimate only is not kept.
    """
    kept = [each for each in among if each.is_cut or _fits(each, budget_j)]
    tested = [each for each in kept if not any(one.cut_untested for one in each.candidates)]
    return choose([each for each in tested if not each.why_not], direction)


def _fits(whole: Configuration, budget_j: float) -> bool:
    """Whether it was done within the budget, reading and timing included, for which it would have been cut."""
    was_cut = any(one.cut is not None for one in whole.candidates)
    return not was_cut and whole.cost_j is not None and whole.cost_j.high <= budget_j


def at_least(among: Sequence[Configuration], quality: float, direction: Direction) -> Configuration | None:
    """The cheapest whose figure reaches ``quality``; None where none does."""
    there = front(among, direction)
    return next((each for each in there if signed(each.point[1], direction) >= signed(quality, direction)), None)


def steps(along: Sequence[Configuration], direction: Direction) -> tuple[Step, ...]:
    """From each of a front to the next; ``along`` is one, the cheapest first."""
    return tuple(
        Step(
            of,
            to,
            to.point[0] - of.point[0],
            _share(to.point[0] - of.point[0], of.point[0]),
            _share(gain(of, to, direction), of.point[1]),
            difference_between(to, of),
            next_percent_j(along[at:], direction),
        )
        for at, (of, to) in enumerate(pairwise(along))
    )


def next_percent_j(along: Sequence[Configuration], direction: Direction) -> float | None:
    """What 1 % more quality than the first one's costs more, on straight lines between those of a front.

    None where the front does not go so far, or the first one's quality is not above 0.
    """
    start_j, start = along[0].point
    wanted = 0.01 * start
    if start <= 0:
        return None
    for of, to in pairwise(along):
        before, after = gain(along[0], of, direction), gain(along[0], to, direction)
        if after >= wanted * (1 - 1e-12) and after > before:
            share = (wanted - before) / (after - before)
            return of.point[0] + share * (to.point[0] - of.point[0]) - start_j
    return None


def ends(along: Sequence[Configuration], direction: Direction) -> Ends | None:
    """The ends of a front, beside each other; None where there are not two."""
    if len(along) < 2 or along[0].point == along[-1].point:
        return None
    cheapest, best = along[0], along[-1]
    costs = [
        {each.seed: middle(each.cost_j) for each in side.trained if each.cost_j is not None}
        for side in (best, cheapest)
    ]
    shared = sorted(costs[0].keys() & costs[1].keys())
    if shared:
        times = ratio([costs[0][seed] for seed in shared], [costs[1][seed] for seed in shared])
    else:
        times = Interval(_share(best.point[0], cheapest.point[0]), None, None, 0)
    relative = _share(gain(cheapest, best, direction), cheapest.point[1])
    return Ends(cheapest, best, times, relative, difference_between(best, cheapest))


def saving(candidates: Sequence[Candidate], search_j: Range) -> Saving:
    """What ``search_j``, all that was spent on ``candidates``, saves against training each of them until it is done.

    What was spent on those that are done, reading and testing included, is the same on both sides; a search adds its
    probes and what it spent on the others, and leaves out what their forecasts say. The synthesis that is planned for
    later is on neither side.
    """
    known = [each for each in candidates if each.training_j is not None]
    done = [_spent_on(each, each.training_j) for each in known if each.state == "finished" and each.training_j]
    others = [each.training_j for each in known if each.state != "finished" and each.training_j is not None]
    unknown = len(candidates) - len(known)
    if not known:
        return Saving(None, 0, unknown, None)
    nothing = Range(0.0, 0.0, 0.0)
    done_j, others_j = sum(done, start=nothing), sum(others, start=nothing)
    besides_j = max(middle(search_j) - middle(done_j), 0.0)
    estimate = None if others_j.estimate is None else others_j.estimate - besides_j
    saved_j = Range(others_j.low - besides_j, estimate, others_j.high - besides_j)
    return Saving(done_j + others_j, len(others), unknown, saved_j)


def _spent_on(candidate: Candidate, training_j: Range) -> Range:
    """All that a finished one took, as uncertain as its training is, which is a part of it."""
    whole_j = middle(training_j)
    return training_j.times(max(1.0, candidate.spent_j / whole_j)) if whole_j > 0 else training_j


def _is_equal(one: Configuration, other: Configuration) -> bool:
    return one.point[1] == other.point[1]


def _holds_zero(between: Interval) -> bool:
    return between.low is not None and between.high is not None and between.low <= 0 <= between.high


def _share(part: float, of: float) -> float | None:
    return part / of if of > 0 else None
