from __future__ import annotations

import numpy as np
import pytest
import torch

from lichen.errors import AuditError
from lichen.quality.diversity import WEIGHTS, ms_ssim, ms_ssim_diversity, scales_for
from lichen.quality.estimates import mean_of_pairs, random_pairs


def _noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("size", [(24, 24), (12, 14, 13)])
def test_equal_images_have_a_similarity_of_one_and_no_doubt_about_it(size: tuple[int, ...]) -> None:
    similarity = ms_ssim_diversity(_noise(0, 1, 2, *size).repeat(6, *[1] * (len(size) + 1)))
    assert similarity.value == pytest.approx(1.0, abs=1e-5)
    assert similarity.standard_error < 1e-5


@pytest.mark.parametrize("size", [(44, 50), (22, 24, 23)])
def test_ms_ssim_is_that_of_monai(size: tuple[int, ...]) -> None:
    from monai.metrics.regression import compute_ms_ssim

    x = _noise(0, 3, 1, *size)
    y = (x + 0.7 * _noise(1, 3, 1, *size)).clamp(-1, 1)
    scales = scales_for(size)
    weights = [weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]]
    expected = compute_ms_ssim(x, y, len(size), data_range=2.0, weights=weights).flatten()
    np.testing.assert_allclose(ms_ssim(x, y, scales), expected, atol=1e-5)


def test_flat_images_are_as_similar_as_their_means() -> None:
    x, y = torch.full((1, 1, 16, 16), 0.5), torch.full((1, 1, 16, 16), -0.25)
    c1 = (0.01 * 2) ** 2
    assert float(ms_ssim(x, x * 0.5, 1)) == pytest.approx((2 * 0.125 + c1) / (0.25 + 0.0625 + c1), rel=1e-5)
    assert float(ms_ssim(x, y, 1)) == 0.0  # opposite


def test_as_many_scales_are_compared_as_hold_a_window() -> None:
    assert [scales_for(shape) for shape in ((11, 99), (22, 22), (64, 64), (32, 48, 32), (176, 200))] == [1, 2, 3, 2, 5]
    with pytest.raises(AuditError, match="10 x 64 voxels are too small"):
        scales_for((10, 64))


def test_pairs_are_of_different_patients_and_take_every_image_equally_often() -> None:
    patients = np.arange(120) // 2
    first, second = random_pairs(patients)
    assert len(first) == 500
    assert (patients[first] != patients[second]).all()
    assert len({frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}) == 500
    often = np.bincount(np.concatenate([first, second]), minlength=120)
    assert often.min() >= 7
    assert often.max() <= 10


@pytest.mark.parametrize("images_each", [1, 3])
def test_the_interval_of_a_mean_over_pairs_holds_the_truth(images_each: int) -> None:
    inside, patients = 0, np.arange(120) // images_each
    for seed in range(200):
        generator = np.random.default_rng(seed)
        values = generator.normal(size=patients.max() + 1)[patients] + 0.1 * generator.normal(size=len(patients))
        first, second = random_pairs(patients)
        mean = mean_of_pairs(np.exp(-0.5 * (values[first] - values[second]) ** 2), patients[first], patients[second])
        inside += mean.low <= 1 / (1 + 2 * 1.01) ** 0.5 <= mean.high
    assert inside >= 170


def test_progress_counts_pairs() -> None:
    seen: list[int] = []
    ms_ssim_diversity(_noise(0, 7, 1, 11, 11), step=seen.append)
    assert sum(seen) == 21
