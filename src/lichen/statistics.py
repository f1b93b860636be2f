"""Figures with intervals: means and differences over seeds, shares, rank correlations over configurations.

A *seed* is one repetition. What is compared shares its seed (paired), so what a seed does to both sides cancels, and
the spread between seeds is what an interval rests on. Seeds draw other weights, batches and samples; where they share
the patients, intervals are about these patients, and not about patients in general.

A figure without an interval (``low`` and ``high`` None) decides nothing. That is so with one seed, and also where all
seeds agree to the last digit: three runs without a copy have no spread, and still do not prove that there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RankMeasure = Literal["spearman", "kendall"]

RESAMPLES = 2000
LEAST_PAIRS = 4
"""Fewer pairs have no rank correlation to speak of."""


@dataclass(frozen=True)
class Interval:
    """A figure and the interval that holds it with the confidence asked for."""

    estimate: float | None
    """None where nothing can be said, or no more than the interval."""
    low: float | None
    """None, as ``high``, where there are no data, or none with a spread to judge by."""
    high: float | None
    n: int
    """How many independent observations it rests on: seeds, patients, pairs."""

    def as_json(self) -> dict[str, Any]:
        """This figure for a results file."""
        return asdict(self)

    def within(self, least: float, most: float) -> Interval:
        """Its part between ``least`` and ``most``, where the figure cannot lie outside: a share of 1.4 is none."""
        if self.low is None or self.high is None:
            return self
        return replace(self, low=max(self.low, least), high=min(self.high, most))


def mean(values: Sequence[float | None], *, confidence: float = 0.95) -> Interval:
    """The mean of independent ``values``, one a seed, with Student's interval; those that are None are left out."""
    there = np.array([value for value in values if value is not None], dtype=np.float64)
    n = len(there)
    if not n:
        return Interval(None, None, None, 0)
    estimate = float(there.mean())
    if n < 2 or np.ptp(there) <= 1e-12 * float(np.abs(there).max()):
        return Interval(estimate, None, None, n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1) * there.std(ddof=1) / math.sqrt(n))
    return Interval(estimate, estimate - half, estimate + half, n)


def difference(one: Sequence[float | None], other: Sequence[float | None], *, confidence: float = 0.95) -> Interval:
    """``one`` less ``other``, paired by seed: the mean of the differences with Student's interval.

    Seeds in which either is None are left out. Raises ValueError for sequences of different lengths.
    """
    return mean([a - b for a, b in pairs(one, other)], confidence=confidence)


def ratio(one: Sequence[float | None], other: Sequence[float | None], *, confidence: float = 0.95) -> Interval:
    """``one`` / ``other``, paired by seed: the geometric mean, with Student's interval of the logarithms.

    For positive figures such as energies, where "three times as much" says more than "so much more". Seeds in which
    either is None or not above 0 are left out.
    """
    logs = [math.log(a / b) for a, b in pairs(one, other) if a > 0 and b > 0]
    found = mean(logs, confidence=confidence)
    estimate, low, high = (None if end is None else math.exp(end) for end in (found.estimate, found.low, found.high))
    return Interval(estimate, low, high, found.n)


def difference_of_intervals(one: Interval, other: Interval) -> Interval:
    """``one`` less ``other`` of two independent figures that have intervals of their own, such as shares.

    The distances from estimates to ends add up as squares, each side with the ends that matter there (Zou and Donner
    2008; for binomial shares Newcombe 1998): the interval stays honest where a share is 0 or 1. For one run against
    another; it knows nothing of the spread between seeds.
    """
    n = min(one.n, other.n)
    if one.estimate is None or other.estimate is None:
        return Interval(None, None, None, n)
    estimate = one.estimate - other.estimate
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Interval(estimate, None, None, n)
    down = math.hypot(one.estimate - one.low, other.high - other.estimate)
    up = math.hypot(one.high - one.estimate, other.estimate - other.low)
    return Interval(estimate, estimate - down, estimate + up, n)


def share(found: int, of: int, *, confidence: float = 0.95) -> Interval:
    """``found`` / ``of`` independent units, patients say, with the exact interval of Clopper and Pearson (1934)."""
    if not 0 <= found <= of:
        raise ValueError(f"{found} of {of} is no share")
    if not of:
        return Interval(None, None, None, 0)
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, found, of - found + 1)) if found else 0.0
    high = float(stats.beta.ppf(1 - tail, found + 1, of - found)) if found < of else 1.0
    return Interval(found / of, low, high, of)


def pairs(one: Sequence[float | None], other: Sequence[float | None]) -> list[tuple[float, float]]:
    """Those in which neither is missing."""
    return [(a, b) for a, b in zip(one, other, strict=True) if a is not None and b is not None]


def rank_correlation(
    x: Sequence[float | None],
    y: Sequence[float | None],
    measure: RankMeasure = "spearman",
    *,
    confidence: float = 0.95,
) -> Interval:
    """Spearman's rho or Kendall's tau-b of pairs, with the middle of ``RESAMPLES`` bootstrap resamples of the pairs.

    A pair is one independent configuration; pairs with a None are left out. Resamples of one value again and again have
    no order and are left out too, unless they are more than the interval leaves out itself: then there is none, as
    where most values are equal. Fewer than ``LEAST_PAIRS`` pairs, or equal values only: no correlation; an order
    without a single exception: no interval.
    """
    one, other = np.array(pairs(x, y), dtype=np.float64).reshape(-1, 2).T
    n = len(one)
    estimate = float(_correlations(one, other, np.ones((1, n)), measure)[0]) if n >= LEAST_PAIRS else math.nan
    if math.isnan(estimate):
        return Interval(None, None, None, n)
    if abs(estimate) > 1 - 1e-12:
        return Interval(estimate, None, None, n)
    drawn = _correlations(one, other, _resamples("rank-correlation", n), measure)
    low, high = _middle(drawn, confidence)
    return Interval(estimate, low, high, n)


def rank_difference(
    of: Sequence[float | None],
    one: Sequence[float | None],
    other: Sequence[float | None],
    *,
    confidence: float = 0.95,
) -> Interval:
    """Spearman's correlation of ``of`` with ``one`` less that with ``other``, over the same configurations.

    The interval is the middle of bootstrap resamples of the configurations, as in ``rank_correlation``: what one of
    them does to both correlations cancels.
    """
    rows = [row for row in zip(of, one, other, strict=True) if None not in row]
    x, first, second = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    n = len(rows)

    def differences(times: Floats) -> Floats:
        return _correlations(x, first, times, "spearman") - _correlations(x, second, times, "spearman")

    estimate = float(differences(np.ones((1, n)))[0]) if n >= LEAST_PAIRS else math.nan
    if math.isnan(estimate):
        return Interval(None, None, None, n)
    drawn = differences(_resamples("rank-difference", n))
    low, high = _middle(drawn, confidence)
    return Interval(estimate, low, high, n)


def _middle(drawn: Floats, confidence: float) -> tuple[float, float] | tuple[None, None]:
    """The ends of the middle share of what was ``drawn``; none where more of it is nan than lies beyond them."""
    if np.isnan(drawn).mean() > 1 - confidence:
        return None, None
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resamples(purpose: str, n: int) -> Floats:
    """How often each of ``n`` observations is in each bootstrap resample, (RESAMPLES, n)."""
    rng = np.random.default_rng(mix_seed(purpose, n))
    return rng.multinomial(n, np.full(n, 1 / n), RESAMPLES).astype(np.float64)


def _correlations(x: Floats, y: Floats, times: Floats, measure: RankMeasure) -> Floats:
    """The correlation of pairs x (n,) and y (n,), each taken so many ``times``, (R, n); (R,), nan without any order.

    All from the signs of differences: twice a rank, counted from the mean rank, is how many values are smaller less how
    many are larger (Spearman's rho); a pair of pairs is concordant where both signs agree (Kendall's tau-b).
    """
    over_x, over_y = (np.sign(values[:, None] - values) for values in (x, y))
    if measure == "spearman":
        rank_x, rank_y = times @ over_x.T, times @ over_y.T
        sums = [(times * product).sum(1) for product in (rank_x * rank_y, rank_x**2, rank_y**2)]
    else:
        sums = [((times @ product) * times).sum(1) for product in (over_x * over_y, over_x**2, over_y**2)]
    ordered = (sums[1] > 0) & (sums[2] > 0)
    scale = np.sqrt(np.where(ordered, sums[1] * sums[2], 1.0))
    return np.asarray(np.where(ordered, sums[0] / scale, np.nan), dtype=np.float64)
