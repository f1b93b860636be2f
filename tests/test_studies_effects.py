"""The statistics of studies: closed forms, coverage, and what is refused to be decided."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lichen.statistics import Interval, difference, difference_of_intervals, mean, rank_correlation, ratio, share
from lichen.studies.effects import Claim, trend, verdict

T_2 = 4.302652729911275
"""Student's 97.5 % quantile with two degrees of freedom."""


def ends(found: Interval) -> tuple[float, float, float]:
    assert found.estimate is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found.estimate, found.high


def test_the_mean_of_three_seeds_has_students_interval() -> None:
    half = T_2 / math.sqrt(3)
    assert ends(mean([1.0, 2.0, 3.0])) == pytest.approx((2 - half, 2, 2 + half))
    low, _, high = ends(mean([1.0, 2.0, 3.0], confidence=0.5))
    assert high - low < half


def test_a_difference_is_paired_so_what_a_seed_does_to_both_cancels() -> None:
    one, other = [101.0, 22.0, 3.0, None], [100.0, 20.0, 0.0, 7.0]
    assert ends(difference(one, other)) == pytest.approx(ends(mean([1.0, 2.0, 3.0])))
    assert difference(one, other).n == 3


def test_a_ratio_is_the_geometric_mean_and_turned_over_it_is_the_inverse() -> None:
    one, other = [2.0, 4.0, 8.0, 0.0], [1.0, 1.0, 1.0, 1.0]
    low, middle, high = ends(ratio(one, other))
    assert (low * high, middle) == pytest.approx((16.0, 4.0))
    assert ends(ratio(other, one)) == pytest.approx((1 / high, 1 / middle, 1 / low))


@pytest.mark.parametrize("values", [[0.1], [0.0, 0.0, 0.0], [0.1 + 0.2, 0.3, 0.3]])
def test_seeds_without_spread_give_a_figure_that_decides_nothing(values: list[float]) -> None:
    found = mean(values)
    assert found.estimate == pytest.approx(values[0])
    assert (found.low, found.high) == (None, None)
    assert verdict(found, Claim(above=-1.0)) == "undecided"


def test_nothing_measured_is_none_and_not_zero() -> None:
    assert mean([None, None]) == share(0, 0) == Interval(None, None, None, 0)
    assert ratio([0.0], [1.0]).estimate is None
    nothing = trend([1, 2], [[None, 1.0], [None, None]])
    assert (nothing.per_doubling.estimate, nothing.rank_correlation, nothing.p_value) == (None, None, None)
    assert rank_correlation([1.0, 2.0, None, 4.0], [1.0, 2.0, 3.0, None]) == Interval(None, None, None, 2)
    assert difference_of_intervals(mean([]), share(1, 2)).estimate is None


def test_the_interval_of_three_seeds_covers_the_truth_in_95_of_100_studies() -> None:
    rng = np.random.default_rng(0)
    studies = [difference(*pair) for pair in rng.normal([[0.3], [0.1]], 1.0, (1500, 2, 3))]
    covered = np.mean([low <= 0.2 <= high for low, _, high in map(ends, studies)])
    assert 0.935 < covered < 0.965


def test_a_share_of_none_is_bounded_by_the_exact_formula() -> None:
    assert ends(share(0, 20)) == pytest.approx((0, 0, 1 - 0.025 ** (1 / 20)))
    assert ends(share(20, 20)) == pytest.approx((0.025 ** (1 / 20), 1, 1))


@pytest.mark.parametrize("of", [5, 40])
def test_the_interval_of_a_share_covers_every_truth_with_at_least_its_confidence(of: int) -> None:
    found = [ends(share(count, of)) for count in range(of + 1)]
    for truth in np.linspace(0.01, 0.99, 50):
        covering = [count for count, (low, _, high) in enumerate(found) if low <= truth <= high]
        assert stats.binom.pmf(covering, of, truth).sum() >= 0.95


def test_independent_intervals_subtract_by_their_squares_and_stay_honest_at_zero() -> None:
    found = difference_of_intervals(Interval(0.5, 0.2, 0.7, 9), Interval(0.1, 0.06, 0.5, 8))
    assert ends(found) == pytest.approx((0.4 - 0.5, 0.4, 0.4 + math.hypot(0.2, 0.04)))
    none = share(0, 50)
    assert none.high is not None
    assert ends(difference_of_intervals(none, none)) == pytest.approx((-none.high, 0, none.high))


def test_a_straight_line_over_doublings_has_its_slope_and_the_seeds_spread() -> None:
    levels = [16, 32, 64, 128]
    lines = [[start + slope * k for k in range(4)] for start, slope in [(5, -1.0), (0, -2.0), (9, -3.0)]]
    found = trend(levels, lines)
    assert ends(found.per_doubling) == pytest.approx(tuple(-x for x in reversed(ends(mean([1.0, 2.0, 3.0])))))
    assert found.rank_correlation == pytest.approx(-1)
    assert found.p_value is not None
    assert found.p_value < 0.001  # 2 of 24^3 permutations


def test_the_p_value_of_one_seed_is_that_of_all_its_permutations() -> None:
    found = trend([1, 2, 4, 8], [[0.1, 0.2, 0.3, 0.9]])
    assert found.p_value == pytest.approx(2 / 24, abs=0.012)
    assert found.per_doubling.low is None
    tied = trend([1, 2, 4, 8], [[0.0, 0.0, 0.0, 0.9]])  # the odd one comes last or first in half of the orders
    assert tied.p_value == pytest.approx(1 / 2, abs=0.02)


def test_a_trend_is_seen_by_chance_in_5_of_100_studies_without_one() -> None:
    rng = np.random.default_rng(1)
    found = [trend([16, 48, 128, 256, 400], table.tolist()) for table in rng.normal(size=(250, 3, 5))]
    assert 0.02 < np.mean([study.p_value is not None and study.p_value <= 0.05 for study in found]) < 0.08
    assert 0.90 < np.mean([low <= 0 <= high for low, _, high in (ends(study.per_doubling) for study in found)]) < 0.99


@pytest.mark.parametrize("measure", ["spearman", "kendall"])
def test_rank_correlations_are_scipys_and_see_order_only(measure: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.integers(0, 6, 30)
    y = x + rng.normal(0, 2, 30)
    known = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}[measure](x, y).statistic
    low, estimate, high = ends(rank_correlation(x.tolist(), y.tolist(), measure))  # type: ignore[arg-type]
    assert estimate == pytest.approx(known)
    assert low < estimate < high
    again = rank_correlation(np.exp(x).tolist(), (-y).tolist(), measure)  # type: ignore[arg-type]
    assert ends(again) == pytest.approx((-high, -estimate, -low))


def test_a_rank_correlation_where_most_values_are_equal_has_no_interval() -> None:
    distance = [float(value) for value in range(10)]
    assert rank_correlation([0.0] * 8 + [0.1, 0.5], distance).low is None
    assert rank_correlation([0.0] * 5 + [0.1, 0.2, 0.3, 0.4, 0.5], distance).low is not None


def test_the_interval_of_a_rank_correlation_covers_that_of_the_normal_law() -> None:
    rng = np.random.default_rng(3)
    correlation = 0.6
    truth = 2 / math.pi * math.asin(correlation)  # of Kendall's tau (Greiner 1909)
    covered = []
    for _ in range(300):
        x = rng.normal(size=24)
        y = correlation * x + math.sqrt(1 - correlation**2) * rng.normal(size=24)
        low, _, high = ends(rank_correlation(x.tolist(), y.tolist(), "kendall"))
        covered.append(low <= truth <= high)
    assert 0.91 < np.mean(covered) < 0.99


def test_a_perfect_order_has_a_correlation_and_no_interval() -> None:
    assert rank_correlation([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 4.0, 9.0, 16.0, 25.0]) == Interval(1.0, None, None, 5)
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [7.0] * 4).estimate is None


@pytest.mark.parametrize(
    ("low", "high", "claim", "said"),
    [
        (0.1, 0.3, Claim(above=0), "supports"),
        (-0.3, -0.1, Claim(above=0), "contradicts"),
        (-0.1, 0.3, Claim(above=0), "undecided"),
        (-0.3, -0.1, Claim(below=0), "supports"),
        (0.2, 0.4, Claim(above=0.1, below=0.5), "supports"),
        (0.4, 0.6, Claim(above=0.1, below=0.5), "undecided"),
        (0.5, 0.6, Claim(above=0.1, below=0.5), "contradicts"),
        (0.0, 0.9, Claim(above=0.1, below=0.5), "undecided"),
    ],
)
def test_a_verdict_is_of_the_whole_interval(low: float, high: float, claim: Claim, said: str) -> None:
    assert verdict(Interval((low + high) / 2, low, high, 3), claim) == said


@pytest.mark.parametrize("claimed", [(None, None), (0.5, 0.1), (0.5, 0.5), (math.inf, None)])
def test_a_claim_says_something(claimed: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="a claim needs"):
        Claim(*claimed)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="no share"):
        share(3, 2)
    with pytest.raises(ValueError, match="not all positive"):
        trend([0, 1], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="zip"):
        difference([1.0], [1.0, 2.0])
