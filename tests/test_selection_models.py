"""What a search believes: closed forms of the surrogate, calibration of extrapolated curves, proposals."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

from lichen.errors import ConfigError
from lichen.selection.curves import LEAST_POINTS, final_quality
from lichen.selection.proposing import Between, Space, at_random, grid
from lichen.selection.surrogate import Belief, believe, coordinates
from lichen.selection.types import CurvePoint, Setting


def partial(rng: np.random.Generator, *, points: int, seen: float, power: bool) -> tuple[tuple[CurvePoint, ...], float]:
    """The beginning of a saturating curve with noise, and the best of the whole."""
    t = np.arange(1, points + 1) / points
    rate = np.exp(rng.uniform(0.7, 3.5))
    shape = (1 + rate * t) ** -rng.uniform(0.5, 1.5) if power else np.exp(-rate * t)
    noise = 10 ** rng.uniform(-2.7, -1.9)
    y = rng.uniform(0.6, 0.9) - rng.uniform(0.1, 0.6) * shape + noise * rng.standard_normal(points)
    kept = max(LEAST_POINTS, int(seen * points))
    return tuple(CurvePoint(*map(float, pair)) for pair in zip(50 * t[:kept], y[:kept], strict=True)), float(y.max())


def test_the_90_percent_interval_of_a_curves_end_holds_it_in_80_to_97_percent_of_simulated_curves() -> None:
    rng = np.random.default_rng(0)
    held: list[bool] = []
    widths: dict[float, list[float]] = {0.2: [], 0.7: []}
    for seen, power, _ in itertools.product((0.2, 0.7), (False, True), range(30)):
        curve, best = partial(rng, points=30, seen=seen, power=power)
        draws = final_quality(curve, 50.0)
        assert draws is not None
        low, high = np.quantile(draws, (0.05, 0.95))
        held.append(low - 1e-9 <= best <= high + 1e-9)
        widths[seen].append(high - low)
    assert 0.80 <= np.mean(held) <= 0.97
    assert np.median(widths[0.7]) < 0.5 * np.median(widths[0.2])


def test_a_curve_too_short_says_nothing_and_one_that_is_over_says_its_best() -> None:
    curve, best = partial(np.random.default_rng(1), points=20, seen=1.0, power=False)
    assert final_quality(curve[: LEAST_POINTS - 1], 50.0) is None
    draws = final_quality(curve, 50.0)
    assert draws is not None
    assert set(draws) == {best}


def test_an_extrapolated_end_scales_with_the_units_of_quality_and_of_cost() -> None:
    curve, _ = partial(np.random.default_rng(2), points=20, seen=0.5, power=True)
    scaled = tuple(CurvePoint(7 * point.spent_j, 3 + 10 * point.quality) for point in curve)
    draws, other = final_quality(curve, 50.0), final_quality(scaled, 350.0)
    assert draws is not None
    assert other is not None
    assert other == pytest.approx(3 + 10 * draws)


def test_finished_curves_of_the_same_shape_make_an_end_more_certain() -> None:
    t = np.arange(1, 31) / 30
    rng = np.random.default_rng(3)
    curves = []
    for _ in range(6):
        y = 0.8 - 0.5 * np.exp(-6 * t) + 0.004 * rng.standard_normal(30)
        curves.append(tuple(CurvePoint(*map(float, pair)) for pair in zip(t, y, strict=True)))
    alone, beside = (final_quality(curves[0][:8], 1.0, like) for like in ((), tuple(curves[1:])))
    assert alone is not None
    assert beside is not None
    truth = max(point.quality for point in curves[0])
    assert np.subtract(*np.quantile(beside, (0.95, 0.05))) < 0.8 * np.subtract(*np.quantile(alone, (0.95, 0.05)))
    assert abs(np.median(beside) - truth) < 0.03


def certain(mean: float, sd: float) -> Belief:
    """Two independent settings: the first at 0 without doubt."""
    return Belief(np.ones(1), np.array([[0.0, mean]]), lambda a, b: np.array([sd**2 * (a == b == 1)]), np.array([0.1]))


def test_probability_and_expected_improvement_have_their_closed_forms() -> None:
    belief = certain(1.0, 2.0)
    assert belief.better(1, 0, by=1.0) == pytest.approx(0.5)
    assert belief.better(1, 0, by=-2.92) == pytest.approx(0.975, abs=1e-3)
    assert certain(0.0, 2.0).improvement(1, 0) == pytest.approx(2 / np.sqrt(2 * np.pi))
    assert certain(3.0, 1e-9).improvement(1, 0) == pytest.approx(3.0)
    assert belief.improvement(1, 0) - belief.improvement(0, 1) == pytest.approx(1.0)


def test_one_more_observation_tells_most_where_two_settings_are_even_and_nothing_where_all_is_known() -> None:
    even = certain(0.0, 2.0).information(1, 0)
    assert even == pytest.approx(4 / np.sqrt(4.01) / np.sqrt(2 * np.pi))  # the sd of what it moves the mean by
    assert even > certain(1.0, 2.0).information(1, 0) > certain(3.0, 2.0).information(1, 0)
    assert certain(1.0, 2.0).information(1, 0) == pytest.approx(certain(-1.0, 2.0).information(1, 0))
    assert certain(0.5, 1e-9).information(1, 0) == pytest.approx(0.0, abs=1e-9)


def test_one_observation_without_noise_is_believed_and_a_far_setting_stays_open() -> None:
    points, owners = coordinates([{"width": width} for width in (4.0, 5.0, 64.0)])
    belief = believe(points, owners, [0, 0, 0, 0], np.array([0.8, 0.8, 0.8, 0.8]), np.zeros(4))
    assert belief.mean[0] == pytest.approx(0.8, abs=0.02)
    near, far = (np.sqrt(np.mean(belief.covariance(row, row))) for row in (1, 2))
    assert near < 0.5 * far


def test_what_is_believed_of_many_settings_takes_little_memory_and_is_what_few_of_them_say() -> None:
    rng = np.random.default_rng(0)
    some: list[dict[str, Setting]] = [{"width": float(width), "rate": rng.random()} for width in range(1, 41)]
    many: list[dict[str, Setting]] = [{"width": float(rng.uniform(1, 40)), "rate": rng.random()} for _ in range(1500)]
    points, owners = coordinates([*some, *many, {"width": 1.0, "rate": 0.0}, {"width": 40.0, "rate": 1.0}])
    values = 0.1 * points[:40, 0] + 0.01 * rng.standard_normal(40)
    few = believe(points[:50], owners, range(40), values, np.zeros(40))
    tracemalloc.start()
    belief = believe(points, owners, range(40), values, np.zeros(40))
    assert belief.better(45, 3) == pytest.approx(few.better(45, 3), rel=1e-6)
    assert tracemalloc.get_traced_memory()[1] < 500e6
    tracemalloc.stop()


def test_repetitions_show_the_noise_between_seeds() -> None:
    rng = np.random.default_rng(0)
    seen = [row for row in range(5) for _ in range(8)]
    points, owners = coordinates([{"width": float(2**row)} for row in range(5)])
    for noise in (0.002, 0.02):
        values = np.array([0.05 * row for row in seen]) + noise * rng.standard_normal(len(seen))
        assert believe(points, owners, seen, values, np.zeros(len(seen))).noise == pytest.approx(noise, rel=0.5)


def test_beliefs_move_and_scale_with_the_units_of_quality() -> None:
    points, owners = coordinates([{"width": width, "kind": kind} for width in (4, 8, 64) for kind in ("a", "b")])
    values = np.array([0.5, 0.6, 0.7])
    one = believe(points, owners, [0, 2, 5], values, np.array([0.0, 0.01, 0.0]))
    other = believe(points, owners, [0, 2, 5], 100 - 10 * values, np.array([0.0, 1.0, 0.0]))
    assert other.mean == pytest.approx(100 - 10 * one.mean)
    assert other.better(4, 0) == pytest.approx(one.better(0, 4))


def test_numbers_that_span_a_factor_are_compared_by_logarithm_words_are_equally_far_and_constants_do_not_count() -> (
    None
):
    found: list[dict[str, Setting]] = [{"a": a, "w": w, "c": 3.0} for a, w in ((1, "x"), (10, "y"), (100, "z"))]
    points, owners = coordinates(found)
    assert owners == (0, 1, 1, 1)
    assert points[:, 0] == pytest.approx([0, 0.5, 1])
    apart = np.linalg.norm(points[:, None, 1:] - points[None, :, 1:], axis=2)
    assert apart == pytest.approx(1 - np.eye(3))


def test_a_grid_has_every_combination_once_and_a_random_proposal_depends_on_seed_and_number_alone() -> None:
    assert grid({"a": [1, 2], "b": ["x", "y"]}) == [
        *({"a": 1, "b": "x"}, {"a": 1, "b": "y"}),
        *({"a": 2, "b": "x"}, {"a": 2, "b": "y"}),
    ]
    space: Space = {
        "rate": Between(1e-5, 1e-1, logarithmic=True),
        "depth": Between(2, 5, whole=True),
        "kind": ["x", "y"],
    }
    drawn = [at_random(space, 7, number) for number in range(300)]
    assert drawn[41] == at_random({"kind": ["x", "y"], **space}, 7, 41)
    assert drawn != [at_random(space, 8, number) for number in range(300)]
    rates = np.array([one["rate"] for one in drawn], dtype=np.float64)
    assert 1e-5 <= rates.min() <= rates.max() <= 1e-1
    assert np.median(np.log10(rates)) == pytest.approx(-3, abs=0.35)
    counts = [sum(one["depth"] == depth for one in drawn) for depth in (2, 3, 4, 5)]
    assert sum(counts) == 300
    assert min(counts) > 45


@pytest.mark.parametrize("space", [{}, {"a": []}])
def test_an_empty_space_is_refused(space: dict[str, list[Setting]]) -> None:
    with pytest.raises(ConfigError, match="nothing to choose among"):
        grid(space)
    with pytest.raises(ConfigError, match="nothing to choose among"):
        at_random(space, 0, 0)


def test_a_grid_refuses_a_span_and_a_span_refuses_impossible_ends() -> None:
    with pytest.raises(ConfigError, match="grid"):
        grid({"rate": Between(0, 1)})
    for ends in (
        {"low": 1, "high": 0},
        {"low": 0, "high": 1, "logarithmic": True},
        {"low": 1.2, "high": 1.8, "whole": True},
    ):
        with pytest.raises(ConfigError):
            Between(**ends)
