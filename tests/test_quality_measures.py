from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lichen.errors import AuditError
from lichen.images.types import ImageSet
from lichen.progress import Step, silent
from lichen.quality.extractors import Radiomics
from lichen.quality.measures import WORSE, Figure, Reading, measure_quality, quality_steps


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _images(count: int, seed: int, images_each: int = 1) -> ImageSet:
    """Smooth random fields with fine detail, 16 x 16."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn((count, 1, 4, 4), generator=generator)
    voxels = 0.4 * functional.interpolate(coarse, (16, 16), mode="bilinear")
    voxels = (voxels + 0.1 * torch.randn(voxels.shape, generator=generator)).clamp(-1, 1)
    names = tuple(f"{seed}-{i}" for i in range(count))
    return ImageSet(voxels, names, tuple(f"{seed}-{i // images_each}" for i in range(count)), np.eye(4))


@dataclass(frozen=True)
class Pooled:
    """A few means as features, and classes by them."""

    name: str = "means"
    standardised: bool = False

    def __call__(self, voxels: torch.Tensor, *, step: Step = silent) -> NDArray[np.float64]:
        step(len(voxels))
        return functional.avg_pool2d(voxels, 8).flatten(1).double().numpy()

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        weight = np.exp(3 * features)
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))


def _blurred(images: ImageSet) -> ImageSet:
    return replace(
        images, voxels=functional.avg_pool2d(functional.pad(images.voxels, (1,) * 4, mode="replicate"), 3, 1)
    )


def test_every_figure_stands_beside_real_against_real_at_the_same_sizes() -> None:
    seen: list[int] = []
    sets = _images(40, 1), _images(60, 2, 2), _images(30, 3)
    quality = measure_quality(*sets, [Pooled()], step=seen.append)
    assert {figure.name for figure in quality.figures} == set(WORSE)
    for figure in quality.figures:
        assert figure.synthetic is not None
        assert figure.matched is not None
        assert figure.real is not None
        assert figure.synthetic.low <= figure.synthetic.value <= figure.synthetic.high
        if figure.name != "ms-ssim":
            sizes = [(reading.images, reading.reference_images) for reading in (figure.matched, figure.real)]
            assert sizes[0] == sizes[1] == (30, None if figure.name == "inception-score" else 60)
            assert figure.synthetic.images == 40
    assert sum(seen) == quality_steps(*sets, extractors=1)
    assert json.loads(json.dumps(quality.as_json()))["real_from"] == "training images"
    assert len({len(line) for line in quality.table()}) == 1


def test_without_training_images_half_the_reference_patients_stand_against_the_other_half() -> None:
    quality = measure_quality(_images(40, 1), _images(60, 2, 2), None, [Pooled()])
    figure = quality.figure("frechet", "means")
    assert figure.real is not None
    assert figure.matched is not None
    assert (figure.real.images, figure.real.reference_images) == (30, 30)
    assert (figure.matched.images, figure.matched.reference_images) == (30, 30)
    assert quality.real_from == "half of the reference images"


def test_new_images_are_as_real_and_blurred_ones_worse_in_distance() -> None:
    reference, train, extractors = _images(80, 2), _images(80, 3), [Radiomics()]
    good = measure_quality(_images(60, 1), reference, train, extractors)
    worse = measure_quality(_blurred(_images(60, 1)), reference, train, extractors)
    assert sum(figure.finding == "as real" for figure in good.figures) >= len(good.figures) - 1
    for name in ("frechet", "frechet-extrapolated", "kernel", "precision", "density", "coverage"):
        assert worse.figure(name, Radiomics().name).finding == "worse", name


def test_images_that_are_all_alike_are_less_diverse() -> None:
    alike = _images(40, 1)
    alike = replace(alike, voxels=(0.1 * alike.voxels + alike.voxels[:1]).clamp(-1, 1))
    quality = measure_quality(alike, _images(60, 2), None, [])
    assert quality.figure("ms-ssim", "voxels, 1 scales").finding == "worse"


def test_copies_of_training_images_are_found_as_good_as_real_ones() -> None:
    reference, train = _images(60, 2), _images(40, 3)
    quality = measure_quality(train, reference, train, [Pooled()])
    assert {figure.finding for figure in quality.figures} == {"as real"}


def test_a_figure_that_needs_more_patients_is_missing_and_not_zero() -> None:
    quality = measure_quality(_images(10, 1), _images(30, 2), _images(30, 3), [Pooled()])
    assert {figure.name for figure in quality.figures} == {
        "frechet",
        "frechet-extrapolated",
        "kernel",
        "inception-score",
        "ms-ssim",
    }
    small = replace(_images(10, 1), voxels=_images(10, 1).voxels[..., :8, :8])
    figure = measure_quality(small, small, None, []).figures[0]
    assert (figure.synthetic, figure.finding) == (None, "unknown")
    assert figure.name == "ms-ssim"


def test_a_difference_within_the_error_of_both_is_no_finding() -> None:
    def figure(name: str, made: tuple[float, float], real: tuple[float, float]) -> str:
        readings = [Reading(value, value - half, value + half, 9, 9) for value, half in (made, real)]
        return Figure(name, "any", readings[0], readings[1], readings[0]).finding

    assert figure("frechet", (5.0, 3.0), (0.0, 4.0)) == "as real"
    assert figure("frechet", (5.1, 3.0), (0.0, 4.0)) == "worse"
    assert figure("frechet", (0.0, 3.0), (5.1, 4.0)) == "better"
    assert figure("recall", (0.0, 3.0), (5.1, 4.0)) == "worse"


def test_three_patients_and_equal_images_are_refused() -> None:
    with pytest.raises(AuditError, match="too few to measure quality with: 9 images of 3 patients"):
        measure_quality(_images(20, 1), _images(9, 2, 3), None, [Pooled()])
    flat = replace(_images(20, 2), voxels=torch.zeros(20, 1, 16, 16))
    with pytest.raises(AuditError, match="features of all 20 reference images are equal"):
        measure_quality(_images(20, 1), flat, None, [Pooled()])
