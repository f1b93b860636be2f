from __future__ import annotations

import numpy as np
import pytest

from lichen.errors import AuditError
from lichen.quality import Estimate, polynomial_kernel, squared_mmd


def test_the_kernel_is_the_cube_of_the_mean_product_plus_one() -> None:
    x, y = np.array([[1.0, 3.0]]), np.array([[2.0, 4.0], [0.0, 0.0]])
    assert polynomial_kernel(x, y).tolist() == [[(14 / 2 + 1) ** 3, 1.0]]


def test_squared_mmd_agrees_with_a_sum_over_all_pairs() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(6, 3)), generator.normal(1.0, 2.0, size=(5, 3))

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    own_x = np.mean([kernel(x[i], x[j]) for i in range(6) for j in range(6) if i != j])
    own_y = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert squared_mmd(x, y).value == pytest.approx(own_x + own_y - 2 * between, rel=1e-12)


def test_pairs_within_a_patient_are_left_out() -> None:
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(8, 4)), generator.normal(size=(4, 4))
    patients = ["a", "a", "b", "b", "c", "c", "d", "d"]
    own = [(x[i] @ x[j] / 4 + 1) ** 3 for i in range(8) for j in range(8) if patients[i] != patients[j]]
    own_y = [(y[i] @ y[j] / 4 + 1) ** 3 for i in range(4) for j in range(4) if i != j]
    expected = np.mean(own) + np.mean(own_y) - 2 * polynomial_kernel(x, y).mean()
    assert squared_mmd(x, y, patients).value == pytest.approx(expected, rel=1e-12)


def _clustered(seed: int, shift: float = 0.0) -> tuple[np.ndarray, list[str]]:
    """Thirty patients with three images each that resemble each other."""
    generator = np.random.default_rng(seed)
    centres = generator.normal(shift, 1.0, size=(30, 6)).repeat(3, axis=0)
    return centres + 0.2 * generator.normal(size=centres.shape), [str(i // 3) for i in range(90)]


def test_equal_distributions_are_at_distance_zero_on_average_although_patients_have_several_images() -> None:
    values, inside = [], 0
    for seed in range(40):
        (x, of_x), (y, of_y) = _clustered(seed), _clustered(1000 + seed)
        estimate = squared_mmd(x, y, of_x, of_y)
        values.append(estimate.value)
        inside += estimate.low <= 0.0 <= estimate.high
    assert abs(np.mean(values)) < 3 * np.std(values) / len(values) ** 0.5
    assert inside >= 36


def test_the_standard_error_is_about_the_spread_of_the_estimate() -> None:
    estimates = [
        squared_mmd(_clustered(s)[0], _clustered(500 + s, 0.7)[0], *(_clustered(0)[1],) * 2) for s in range(40)
    ]
    spread = np.std([estimate.value for estimate in estimates])
    claimed = np.mean([estimate.standard_error for estimate in estimates])
    assert 0.7 < claimed / spread < 1.6


def test_the_distance_is_the_same_from_either_side_and_at_every_call() -> None:
    x, y = _clustered(0)[0], _clustered(1, 0.5)[0]
    assert squared_mmd(x, y) == squared_mmd(x, y)
    assert squared_mmd(x, y).value == pytest.approx(squared_mmd(y, x).value, rel=1e-12)


def test_three_patients_are_too_few() -> None:
    with pytest.raises(AuditError, match="6 images has 3 patients"):
        squared_mmd(np.ones((6, 2)), np.ones((9, 2)), ["a", "a", "b", "b", "c", "c"])


def test_the_interval_is_two_standard_errors_wide_on_each_side() -> None:
    estimate = Estimate(1.0, 0.5)
    assert (estimate.low, estimate.high) == pytest.approx((0.02, 1.98))
