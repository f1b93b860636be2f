"""What a study found: trends over levels, and whether figures agree with a claim. Pure functions on figures.

Levels that are compared share their seed, one repetition of the whole table (``lichen.statistics``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import stats

from lichen.seeds import mix_seed
from lichen.statistics import Interval, mean, pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Verdict = Literal["supports", "contradicts", "undecided"]

PERMUTATIONS = 9999


@dataclass(frozen=True)
class Trend:
    """How a figure changes over ordered levels."""

    per_doubling: Interval
    """Change of the figure for each doubling of the level; n counts seeds."""
    rank_correlation: float | None
    """Spearman's, of level and figure, the mean over seeds; None where every seed's figures are equal."""
    p_value: float | None
    """Two-sided: how often figures without any trend would correlate as much; None where that is."""

    def as_json(self) -> dict[str, Any]:
        """This trend for a results file."""
        return asdict(self)


@dataclass(frozen=True)
class Claim:
    """What somebody says of a figure: that it lies above a value, below one, or between two."""

    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        ends = [end for end in (self.above, self.below) if end is not None]
        if not ends or not all(map(math.isfinite, ends)) or ends != sorted(set(ends)):
            raise ValueError(f"a claim needs a finite end, and above < below, not {self.above} and {self.below}")


def verdict(found: Interval, claim: Claim) -> Verdict:
    """Whether the whole interval lies inside the ``claim``, outside of it, or neither."""
    if found.low is None or found.high is None:
        return "undecided"
    above = -math.inf if claim.above is None else claim.above
    below = math.inf if claim.below is None else claim.below
    if above < found.low and found.high < below:
        return "supports"
    return "contradicts" if found.high <= above or below <= found.low else "undecided"


def trend(levels: Sequence[float], by_seed: Sequence[Sequence[float | None]], *, confidence: float = 0.95) -> Trend:
    """How a figure changes with a level that grows by factors, such as the number of patients.

    ``levels`` (L,), positive; ``by_seed`` holds for each seed its figures at the levels, (L,), None where missing. Each
    seed gives a least-squares slope over the logarithm to base 2; the mean of the slopes has Student's interval. Beside
    it the rank correlation, whose p-value is that of figures permuted among the levels within each seed (as in Page's
    test of 1963, with ties as they are): it needs no normal law and no straight line, only seeds and levels enough.

    Raises ValueError where a seed has not as many figures as there are levels, or a level is not positive.
    """
    if any(level <= 0 for level in levels):
        raise ValueError(f"levels {levels} are not all positive, and have no logarithm")
    seeds = [pairs([math.log2(level) for level in levels], figures) for figures in by_seed]
    known = [np.array(pairs).T for pairs in seeds if len({x for x, _ in pairs}) > 1]
    slopes = [float(np.polyfit(x, y, 1)[0]) for x, y in known]
    correlation, p_value = _permuted([(x, y) for x, y in known if np.ptp(y) > 0])
    return Trend(mean(slopes, confidence=confidence), correlation, p_value)


def _permuted(seeds: Sequence[tuple[Floats, Floats]]) -> tuple[float | None, float | None]:
    """The mean Spearman correlation of each seed's levels (l,) and figures (l,), and its two-sided p-value.

    The p-value counts the data as one of the permutations, so it holds exactly (Phipson and Smyth 2010).
    """
    if not seeds:
        return None, None
    rng = np.random.default_rng(mix_seed("trend", len(seeds), *(len(x) for x, _ in seeds)))
    found, drawn = 0.0, np.zeros(PERMUTATIONS)
    for x, y in seeds:
        level, figure = _unit_ranks(x), _unit_ranks(y)
        found += float(level @ figure)
        drawn += rng.permuted(np.tile(figure, (PERMUTATIONS, 1)), axis=1) @ level
    as_far = int((np.abs(drawn) >= abs(found) - 1e-9).sum())
    return found / len(seeds), (1 + as_far) / (1 + PERMUTATIONS)


def _unit_ranks(values: Floats) -> Floats:
    """Ranks of values (n,) that are not all equal, mean 0 and length 1: their product is Spearman's correlation."""
    ranks = stats.rankdata(values) - (len(values) + 1) / 2
    return np.asarray(ranks / np.linalg.norm(ranks), dtype=np.float64)
