"""How promising candidates are, by what is known of all of them together: curves, repetitions and settings nearby.

One Gaussian process over the settings (``surrogate``) takes every finished candidate as an observation, and every other
with a curve long enough as one with the error of its extrapolation (``curves``). So a curve is judged beside what
similar settings came to, and a repetition of other seed says as much as it should.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lichen.carbon.words import energy_text, number
from lichen.selection.curves import LEAST_POINTS, final_quality
from lichen.selection.facts import Key, broken, key, middle
from lichen.selection.surrogate import Belief, believe, coordinates
from lichen.selection.types import Candidate, CurvePoint, Direction, Limits

NEGLIGIBLE = 0.0025
"""A gain of so small a share of the quality is none; nor is one within the spread between seeds."""
UNLIKELY = 0.1
"""Below such a probability of being better, a candidate that costs more is dominated."""
WORTH = 0.5
"""How many negligible differences a training must be expected to gain that takes as much as all before it."""


def goodness(candidate: Candidate, direction: Direction) -> float | None:
    """The quality that a finished candidate is chosen by, higher being better; None where it has none.

    It is the best of its curve, whose weights are kept; a task without images that choose has only what it reports.
    """
    sign = 1.0 if direction == "higher" else -1.0
    if candidate.curve:
        return max(sign * point.quality for point in candidate.curve)
    return None if candidate.found is None else sign * candidate.found.quality


def surely_above(candidate: Candidate, other: Candidate) -> bool:
    """Whether one costs more at either end of its interval; meters are wrong for both in the same way."""
    one, two = candidate.cost_j, other.cost_j
    return one is not None and two is not None and one.low > two.low and one.high > two.high


@dataclass(frozen=True)
class Judgement:
    """What is thought of all candidates at one moment."""

    belief: Belief | None
    """None without two observations."""
    rows: Mapping[Key, int]
    """Which of the belief's settings a configuration is."""
    observed: frozenset[Key]
    finished: tuple[Candidate, ...]
    """Those that may be taken: with a quality, and within the limits."""
    least: int
    """Configurations that must be observed before one that never ran is judged: two more than axes."""
    best: float
    """Goodness of the best of these; not a number without one."""

    @property
    def negligible(self) -> float:
        """The largest difference of quality that does not count."""
        noise = 0.0 if self.belief is None else self.belief.noise
        return max(noise, NEGLIGIBLE * abs(self.best))

    @property
    def knows_enough(self) -> bool:
        """Whether so many configurations were observed that one that never ran may be judged by them."""
        return len(self.observed) >= self.least

    def dominated(self, candidate: Candidate) -> str:
        """Why a waiting or running candidate is most likely dominated, in words; empty where it is not.

        A finished one of other settings surely costs less, and hardly can this be better by more than is negligible.
        One that never ran needs ``least`` configurations to be judged by, a running one a curve of ``LEAST_POINTS``.
        """
        enough = self.knows_enough if candidate.state == "waiting" else len(candidate.curve) >= LEAST_POINTS
        if self.belief is None or not enough or (rival := self._rival(candidate)) is None:
            return ""
        chance = self.belief.better(self.row(candidate), self.row(rival), by=self.negligible)
        cost, spent = candidate.cost_j, rival.cost_j
        if chance >= UNLIKELY or cost is None or spent is None:
            return ""
        return (
            f"it costs {energy_text(cost.low)} at least, {rival.name} {energy_text(spent.low)} by the same end, and "
            f"the probability that it is better by more than {number(self.negligible, 2)} is {chance:.2g}"
        )

    def promise(self, candidate: Candidate) -> float:
        """Expected improvement of the front at a candidate's cost, per joule of its training; 0 where none is known."""
        if self.belief is None or candidate.training_j is None or not self.finished:
            return 0.0
        return self._gain(self.belief, candidate) / max(candidate.training_j.high, 1e-9)

    def worthwhile(self, candidate: Candidate, spent_j: float) -> bool:
        """Whether a waiting candidate is expected to gain enough for what it adds to a search that took ``spent_j``.

        The more a training adds, as a share of all that was spent, the more it has to bring; so a search ends where
        improvement is expected still, but not at that price (cost-aware stopping: Xie et al., arXiv 2507.12453).
        Nothing is held against a candidate before there is enough to judge by, or where its cost is unknown.
        """
        if not self.knows_enough or self.belief is None or candidate.training_j is None or not self.finished:
            return True
        price = WORTH * self.negligible * middle(candidate.training_j)
        return self._gain(self.belief, candidate) * spent_j >= price

    def _gain(self, belief: Belief, candidate: Candidate) -> float:
        """What a training is expected to add to the front at its cost: of a repetition, by telling what to take."""
        known = key(candidate.settings) in self.observed
        rival = self._rival(candidate, cheaper=False) or min(self.finished, key=self._mean)
        gain = belief.information if known else belief.improvement
        return gain(self.row(candidate), self.row(rival))

    def row(self, candidate: Candidate) -> int:
        """Its place among the belief's settings."""
        return self.rows[key(candidate.settings)]

    def _rival(self, candidate: Candidate, *, cheaper: bool = True) -> Candidate | None:
        """Of other settings the finished one thought best that surely costs less, or else does not surely cost more."""
        mine = key(candidate.settings)
        others = tuple(one for one in self.finished if key(one.settings) != mine)
        if cheaper:
            others = tuple(one for one in others if surely_above(candidate, one))
        else:
            others = tuple(one for one in others if not surely_above(one, candidate))
        return max(others, key=self._mean, default=None)

    def _mean(self, candidate: Candidate) -> tuple[float, str]:
        assert self.belief is not None
        return float(self.belief.mean[self.row(candidate)]), candidate.name


def judge(candidates: Sequence[Candidate], direction: Direction, limits: Limits) -> Judgement:
    """What is thought of ``candidates``, which are in an order that does not depend on how they came."""
    keys = sorted({key(one.settings) for one in candidates}, key=repr)
    rows = {found: number for number, found in enumerate(keys)}
    points, owners = coordinates([dict(found) for found in keys])
    like = tuple(_curve(one, direction) for one in candidates if one.state == "finished")
    seen = [(rows[key(one.settings)], *found) for one in candidates if (found := _observation(one, direction, like))]
    finished = tuple(one for one in candidates if _may_be_taken(one, limits))
    best = max((goodness(one, direction) or 0.0 for one in finished), default=math.nan)
    belief = None
    if len(seen) > 1:
        where, values, variances = zip(*seen, strict=True)
        belief = believe(points, owners, where, np.array(values), np.array(variances))
    observed = frozenset(keys[row] for row, _, _ in seen)
    return Judgement(belief, rows, observed, finished, 2 + len(set(owners)), best)


def _observation(
    candidate: Candidate, direction: Direction, like: tuple[tuple[CurvePoint, ...], ...]
) -> tuple[float, float] | None:
    """What a candidate came to, or will by its curve, higher being better, and the variance of its error."""
    if candidate.state == "finished":
        found = goodness(candidate, direction)
        return None if found is None else (found, 0.0)
    if candidate.state not in {"running", "stopped"} or candidate.training_j is None:
        return None
    draws = final_quality(_curve(candidate, direction), middle(candidate.training_j), like)
    if draws is None:
        return None
    low, median, high = np.quantile(draws, (0.05, 0.5, 0.95))
    return float(median), float((high - low) / 3.29) ** 2


def _curve(candidate: Candidate, direction: Direction) -> tuple[CurvePoint, ...]:
    """Its curve, higher being better."""
    if direction == "higher":
        return candidate.curve
    return tuple(CurvePoint(point.spent_j, -point.quality) for point in candidate.curve)


def _may_be_taken(candidate: Candidate, limits: Limits) -> bool:
    """Whether others may be refused for a candidate: it is finished, has a quality and breaks no limit."""
    if candidate.state != "finished" or candidate.found is None or broken(candidate, limits):
        return False
    cost = candidate.cost_j
    return cost is None or limits.candidate_j is None or cost.low <= limits.candidate_j
