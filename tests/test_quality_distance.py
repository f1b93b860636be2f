from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from lichen.errors import AuditError
from lichen.images.types import ImageSet
from lichen.quality import kernel_distance
from lichen.quality.features import random_features


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of tiny operations: a second thread only waits, and on a busy machine for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _textures(count: int, seed: int, images_each: int = 1, dims: int = 2) -> ImageSet:
    """Smooth random fields with fine detail, each patient with a contrast of their own."""
    generator = torch.Generator().manual_seed(seed)
    shape = (32,) * dims if dims == 2 else (16,) * dims
    patients = count // images_each
    coarse = torch.randn((count, 1, *(side // 4 for side in shape)), generator=generator)
    fine = 0.3 * torch.randn((count, 1, *shape), generator=generator)
    contrast = torch.rand((patients, *(1,) * (dims + 1)), generator=generator).repeat_interleave(images_each, 0)
    mode = "bilinear" if dims == 2 else "trilinear"
    voxels = ((0.3 + 0.3 * contrast) * functional.interpolate(coarse, shape, mode=mode) + 0.3 * fine).clamp(-1, 1)
    names = tuple(f"{seed}-{i}" for i in range(count))
    return ImageSet(voxels, names, tuple(f"{seed}-{i // images_each}" for i in range(count)), np.eye(4))


def _blurred(images: ImageSet, radius: float) -> ImageSet:
    voxels = int(radius)
    padded = functional.pad(images.voxels, (voxels,) * 4, mode="replicate")
    return replace(images, voxels=functional.avg_pool2d(padded, 2 * voxels + 1, 1))


def _noisy(images: ImageSet, amount: float) -> ImageSet:
    noise = torch.randn(images.voxels.shape, generator=torch.Generator().manual_seed(1))
    return replace(images, voxels=images.voxels + amount * noise)


@pytest.mark.parametrize(("worsen", "amounts"), [(_blurred, (1, 2, 4)), (_noisy, (0.1, 0.2, 0.4))])
def test_the_distance_grows_the_more_images_are_degraded(
    worsen: Callable[[ImageSet, float], ImageSet], amounts: tuple[float, ...]
) -> None:
    reference, good = _textures(80, 1), _textures(80, 2)
    distances = [kernel_distance(images, reference).synthetic for images in (good, *(worsen(good, a) for a in amounts))]
    values = [distance.value for distance in distances]
    assert values == sorted(values)
    assert distances[2].low > distances[0].high


def test_real_against_real_is_zero_within_its_error_and_takes_equal_numbers() -> None:
    result = kernel_distance(_textures(40, 3), _textures(90, 1, 3), _textures(120, 2, 3))
    assert result.real is not None
    assert result.real.low < 0 < result.real.high
    assert result.ratio is None
    assert result.ratio_to_real_high is not None
    assert result.ratio_to_real_high < 1.5
    assert (result.synthetic_images, result.train_images, result.reference_images) == (40, 40, 90)


def test_the_ratio_relates_to_a_real_difference_between_training_and_held_out_images() -> None:
    reference, other = _textures(60, 1), _blurred(_textures(60, 2), 1)
    result = kernel_distance(_blurred(_textures(60, 3), 1), reference, other)
    assert result.real is not None
    assert result.ratio == result.synthetic.value / result.real.value
    assert 0.5 < result.ratio < 2.0


def test_without_training_images_there_is_no_ratio() -> None:
    result = kernel_distance(_textures(10, 3), _textures(10, 1))
    assert (result.real, result.ratio, result.ratio_to_real_high, result.train_images) == (None, None, None, None)
    assert json.loads(json.dumps(result.as_json()))["features"] == "random-conv-v1"


def test_the_distance_of_the_same_images_is_the_same_number() -> None:
    assert kernel_distance(_textures(12, 3), _textures(12, 1)) == kernel_distance(_textures(12, 3), _textures(12, 1))


@pytest.mark.parametrize("dims", [2, 3])
def test_features_of_an_image_depend_on_that_image_alone(dims: int) -> None:
    images = _textures(7, 5, dims=dims).voxels
    features = random_features(images)
    np.testing.assert_allclose(random_features(images[4:5])[0], features[4], rtol=1e-4, atol=1e-6)
    assert np.linalg.matrix_rank(features - features.mean(0)) == 6
    assert features.shape == (7, 256 if dims == 2 else 192)


def test_features_of_volumes_see_blur_along_the_third_axis() -> None:
    images = _textures(90, 5, dims=3)
    blurred = replace(images, voxels=functional.avg_pool3d(images.voxels, (1, 1, 3), 1, padding=(0, 0, 1)))
    reference = _textures(90, 6, dims=3)
    sharp_distance, blurred_distance = (kernel_distance(i, reference).synthetic for i in (images, blurred))
    assert sharp_distance.low < 0
    assert blurred_distance.low > 0


def test_the_weights_of_these_features_never_change_under_their_name() -> None:
    ramp = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)
    found = random_features(ramp)[0, [0, 1, 31, 32, 63]]
    np.testing.assert_allclose(found, [0.298647, 0.244182, 0.397675, 0.161187, 0.296001], rtol=1e-4)


def test_equal_held_out_images_give_no_distance() -> None:
    reference = _textures(8, 1)
    with pytest.raises(AuditError, match="all 8 held-out images are equal"):
        kernel_distance(_textures(8, 2), replace(reference, voxels=torch.zeros_like(reference.voxels)))


def test_progress_counts_the_images_of_all_sets() -> None:
    seen: list[int] = []
    kernel_distance(_textures(6, 1), _textures(7, 2), _textures(9, 3), step=seen.append)
    assert sum(seen) == 6 + 7 + 6
