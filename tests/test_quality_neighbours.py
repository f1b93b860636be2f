from __future__ import annotations

import numpy as np
import pytest

from lichen.errors import AuditError
from lichen.quality.neighbours import prdc


def _line(*places: float) -> np.ndarray:
    return np.array(places)[:, None]


def _values(x: np.ndarray, y: np.ndarray, k: int = 5) -> tuple[float, float, float, float]:
    found = prdc(x, y, k)
    return found.precision.value, found.recall.value, found.density.value, found.coverage.value


def test_the_figures_of_points_on_a_line_are_those_counted_by_hand() -> None:
    real = _line(0, 1, 2, 3, 10)  # to the nearest other: 1, 1, 1, 1, 7
    made = _line(0.5, 0.6, 2.5, 4.5)  # 0.1, 0.1, 1.9, 2
    # Within reach of a real one: 0.5 and 0.6 of 0 and 1, 2.5 of 2 and 3, 4.5 of 10; each real one has one.
    # Within reach of a made one: 1, 2 and 3 of 2.5.
    assert _values(made, real, 1) == (1.0, 3 / 5, 7 / 4, 1.0)


def test_copies_of_the_reference_have_one_in_all_figures() -> None:
    real = np.random.default_rng(0).normal(size=(60, 7))
    assert _values(real[::-1], real) == (1.0, 1.0, 1.0, 1.0)


def test_sets_far_apart_have_nothing_in_common() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3))
    assert _values(x + 100, x) == (0.0, 0.0, 0.0, 0.0)


def test_a_set_that_lacks_a_mode_is_precise_and_misses_half_the_real_images() -> None:
    generator = np.random.default_rng(0)
    real = generator.normal(size=(80, 3)) + 50 * (np.arange(80) % 2)[:, None]
    precision, recall, _, coverage = _values(generator.normal(size=(80, 3)), real)
    assert precision > 0.85
    assert max(recall, coverage) <= 0.5


def test_turning_moving_and_scaling_all_features_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(30, 4)), generator.normal(0.5, size=(40, 4))
    turn = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    assert _values(3 * x @ turn + 7, 3 * y @ turn + 7) == _values(x, y)


def test_coverage_of_equal_distributions_is_that_of_its_formula() -> None:
    # Naeem et al. 2020, equation 9: 1 - (N - 1) ... (N - k) / ((M + N - 1) ... (M + N - k)), with N = M = 40, k = 2
    values = []
    for seed in range(20):
        x, y = np.random.default_rng(seed).normal(size=(2, 40, 3))
        values.append(_values(x, y, 2)[3])
    assert np.mean(values) == pytest.approx(1 - 39 * 38 / (79 * 78), abs=0.03)


def test_neighbours_of_the_same_patient_give_no_reach() -> None:
    real = np.random.default_rng(0).normal(size=(30, 3)).repeat(6, axis=0)
    patients = [str(i // 6) for i in range(180)]
    made = np.random.default_rng(1).normal(size=(60, 3))
    assert prdc(made, real).coverage.value == 0.0  # five images of the patient at distance 0
    assert prdc(made, real, 5, None, patients).coverage.value > 0.5


def test_the_intervals_hold_the_expected_figures() -> None:
    found = []
    for seed in range(30):
        x, y = np.random.default_rng(seed).normal(size=(2, 50, 4))
        found.append(prdc(1.2 * x, y))
    for name in ("precision", "recall", "density", "coverage"):
        intervals = [getattr(figures, name) for figures in found]
        expected = np.mean([interval.value for interval in intervals])
        assert sum(interval.low <= expected <= interval.high for interval in intervals) >= 24, name


def test_no_end_of_the_interval_of_a_density_is_below_zero() -> None:
    y = np.random.default_rng(0).normal(size=(40, 2))
    x = np.concatenate([y[:1], np.full((39, 2), 50.0) + y[1:]])
    density = prdc(x, y).density
    assert 0 < density.value < density.standard_error, "an interval of equal arms would reach below 0"
    assert density.low == 0
    assert density.high == pytest.approx(density.value + 1.96 * density.standard_error)


def test_eleven_patients_are_too_few_for_five_neighbours() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(AuditError, match="11 images has 11 patients; it takes 12"):
        prdc(x[:11], x)
