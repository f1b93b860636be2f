from __future__ import annotations

import numpy as np
import pytest

from lichen.errors import AuditError
from lichen.quality.estimates import share
from lichen.quality.frechet import frechet_distance, squared_frechet
from lichen.quality.inception import inception_score


def _normal(seed: int, count: int, features: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, features))


def _with_moments(x: np.ndarray, mean: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Rows of exactly this mean, and of covariance ``root`` ``root``'."""
    centred = x - x.mean(axis=0)
    white = centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred.T))).T
    return np.asarray(white @ root.T + mean)


def test_the_distance_of_diagonal_gaussians_is_that_of_means_and_deviations() -> None:
    a, b, mean = np.diag([1.0, 2.0, 3.0]), np.diag([2.0, 0.5, 3.0]), np.array([1.0, 0.0, -2.0])
    x, y = _with_moments(_normal(0, 40, 3), mean, a), _with_moments(_normal(1, 50, 3), np.zeros(3), b)
    assert squared_frechet(x, y) == pytest.approx(5.0 + 1.0 + 2.25, rel=1e-9)


def test_the_distance_agrees_with_the_root_of_the_product_of_covariances() -> None:
    from scipy.linalg import sqrtm

    x, y = _normal(0, 30, 5) @ _normal(2, 5, 5) + 1, _normal(1, 40, 5) @ _normal(3, 5, 5)
    sx, sy = np.cov(x.T), np.cov(y.T)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx + sy - 2 * sqrtm(sx @ sy).real)
    assert squared_frechet(x, y) == pytest.approx(expected, rel=1e-8)


def test_with_fewer_images_than_features_a_rotation_into_more_features_changes_nothing() -> None:
    x, y = _normal(0, 12, 4), 1.5 * _normal(1, 15, 4)
    turn = np.linalg.qr(_normal(2, 60, 4))[0].T
    assert squared_frechet(x @ turn, y @ turn) == pytest.approx(squared_frechet(x, y), rel=1e-9)


@pytest.mark.parametrize("features", [3, 200])
def test_identical_sets_are_at_no_distance(features: int) -> None:
    x = _normal(0, 40, features)
    distance = frechet_distance(x, x[::-1])
    assert distance.plain.value == pytest.approx(0.0, abs=1e-9)
    assert distance.plain.low <= 0.0 <= distance.plain.high


def test_the_interval_holds_the_expected_distance_and_the_extrapolated_one_the_true_distance() -> None:
    plain, extrapolated = [], []
    for seed in range(40):
        x, y = _normal(seed, 50, 6), _normal(1000 + seed, 50, 6)
        distance = frechet_distance(x + np.array([1.0, 0, 0, 0, 0, 0]), y)
        plain.append(distance.plain)
        extrapolated.append(distance.extrapolated)
    expected = np.mean([estimate.value for estimate in plain])
    assert expected > 1.15  # 1.0 for endless sets
    assert np.mean([e.value for e in extrapolated]) == pytest.approx(1.0, abs=0.15)
    assert sum(e.low <= expected <= e.high for e in plain) >= 34
    assert sum(e.low <= 1.0 <= e.high for e in extrapolated) >= 34


def test_images_of_one_patient_widen_the_interval() -> None:
    centres = _normal(0, 20, 4).repeat(5, axis=0)
    x, patients = centres + 0.1 * _normal(1, 100, 4), [str(i // 5) for i in range(100)]
    y = _normal(2, 100, 4) + 1
    clustered, single = frechet_distance(x, y, patients), frechet_distance(x, y)
    assert clustered.plain.value == single.plain.value
    assert clustered.plain.standard_error > 1.4 * single.plain.standard_error


def test_three_patients_are_too_few_for_a_frechet_distance() -> None:
    with pytest.raises(AuditError, match="6 images has 3 patients"):
        frechet_distance(_normal(0, 6, 2), _normal(1, 9, 2), list("aabbcc"))


def test_sure_and_evenly_spread_classes_score_their_number_and_equal_rows_score_one() -> None:
    assert inception_score(np.tile(np.eye(5), (4, 1))).value == pytest.approx(5.0)
    assert inception_score(np.full((20, 5), 0.2)).value == pytest.approx(1.0)


def test_the_share_of_ten_patients_that_all_agree_is_not_certain() -> None:
    sure = share(1.0, 0.0, 10)
    assert sure.low == pytest.approx(10 / (10 + 1.96**2))
    assert sure.high == pytest.approx(1.0)
    assert share(0.5, 0.05, 1000).effective == pytest.approx(100)
