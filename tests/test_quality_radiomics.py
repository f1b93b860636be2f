from __future__ import annotations

import numpy as np
import pytest
import torch

from lichen.quality.extractors import RADIOMICS, Radiomics
from lichen.quality.radiomics import first_order, grey_levels, named_features, radiomics_features
from lichen.quality.texture import Grid, co_occurrence, co_occurrence_features, run_length_features, run_lengths

HARALICK = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]], dtype=np.int32)

_ = 0  # outside the region
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [_, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, _, _], [1, 1, 1, 1, 1], [1, 1, _, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, _, _], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ],
    dtype=np.int32,
)
"""The digital phantom of the IBSI, its levels from 1 to 6; reference manual, section 5.1."""
AGREED = {
    "mean": 2.15,
    "variance": 3.05,
    "skewness": 1.08,
    "excess kurtosis": -0.355,
    "median": 1,
    "10th percentile": 1,
    "90th percentile": 4,
    "interquartile range": 3,
    "mean absolute deviation": 1.55,
    "robust mean absolute deviation": 1.11,
    "median absolute deviation": 1.15,
    "root mean square": 2.77,
    "entropy": 1.27,
    "uniformity": 0.512,
    "joint maximum": 0.509,
    "joint average": 2.15,
    "joint variance": 3.13,
    "joint entropy": 2.57,
    "difference average": 1.38,
    "difference variance": 3.21,
    "difference entropy": 1.64,
    "sum entropy": 2.11,
    "angular second moment": 0.291,
    "contrast": 5.12,
    "inverse difference": 0.688,
    "inverse difference moment": 0.631,
    "inverse variance": 0.0574,
    "correlation": 0.183,
    "autocorrelation": 5.19,
    "cluster tendency": 7.41,
    "cluster shade": 17.4,
    "cluster prominence": 147,
    "information correlation 1": -0.0288,
    "information correlation 2": 0.269,
    "short runs emphasis": 0.729,
    "long runs emphasis": 2.76,
    "low grey level run emphasis": 0.607,
    "high grey level run emphasis": 9.64,
    "short run low grey level emphasis": 0.372,
    "short run high grey level emphasis": 8.67,
    "long run low grey level emphasis": 2.16,
    "long run high grey level emphasis": 15.6,
    "normalised grey level non-uniformity": 0.43,
    "run percentage": 0.68,
    "grey level variance": 3.48,
    "run length variance": 0.598,
    "run entropy": 2.62,
}
"""Its features in three dimensions, matrices merged over directions, to three digits."""


def test_the_features_of_the_digital_phantom_are_those_that_the_initiative_agreed_on() -> None:
    grid, inside = Grid.of(PHANTOM[None] - 1), PHANTOM[PHANTOM > 0][None]
    found = {
        **first_order(inside.astype(np.float64), inside - 1),
        **co_occurrence_features(co_occurrence(grid, 6)),
        **run_length_features(run_lengths(grid, 6), inside.size * 13),
    }
    assert {name: float(f"{found[name][0]:.3g}") for name in AGREED} == AGREED


def test_neighbours_of_four_by_four_levels_are_counted_as_by_haralick() -> None:
    # Haralick, Shanmugam and Dinstein 1973, figure 3: the sum of their matrices of 0, 90, 135 and 45 degrees
    horizontal = np.array([[4, 2, 1, 0], [2, 4, 0, 0], [1, 0, 6, 1], [0, 0, 1, 2]])
    vertical = np.array([[6, 0, 2, 0], [0, 4, 2, 0], [2, 2, 2, 2], [0, 0, 2, 0]])
    falling = np.array([[2, 1, 3, 0], [1, 2, 1, 0], [3, 1, 0, 2], [0, 0, 2, 0]])
    rising = np.array([[4, 1, 0, 0], [1, 2, 2, 0], [0, 2, 4, 1], [0, 0, 1, 0]])
    matrix = co_occurrence(Grid.of(HARALICK[None]), 4)[0]
    np.testing.assert_allclose(matrix, (horizontal + vertical + falling + rising) / 84)


def test_runs_of_stripes_are_as_long_as_the_stripes() -> None:
    stripes = np.repeat([[0], [1], [0]], 5, axis=1).astype(np.int32)  # three rows of five
    runs = run_lengths(Grid.of(stripes[None]), 2)[0]
    # Along the rows, three runs of five; in the other three directions every voxel is a run.
    assert runs[0].tolist() == [30, 0, 0, 0, 2]
    assert runs[1].tolist() == [15, 0, 0, 0, 1]


def test_a_flat_image_has_no_texture() -> None:
    flat = named_features(np.full((1, 8, 9), 0.3))
    for name in ("variance", "skewness", "entropy", "contrast", "joint entropy", "sum entropy", "cluster shade"):
        assert flat[name][0] == pytest.approx(0, abs=1e-12), name
    for name in ("uniformity", "angular second moment", "inverse difference", "correlation"):
        assert flat[name][0] == pytest.approx(1), name


@pytest.mark.parametrize("shape", [(12, 12), (6, 6, 6)])
def test_turning_and_mirroring_an_image_changes_no_feature(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, shape)
    turned = np.flip(np.rot90(image), 0)
    features = named_features(np.stack([image, turned]))
    for name, (before, after) in features.items():
        assert before == pytest.approx(after, rel=1e-9, abs=1e-12), name


def test_blur_makes_runs_longer_and_contrast_lower() -> None:
    image = torch.rand((1, 1, 32, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = named_features(torch.cat([image, torch.nn.functional.avg_pool2d(image, 3, 1, 1)])[:, 0].double().numpy())
    assert features["contrast"][1] < features["contrast"][0]
    assert features["long runs emphasis"][1] > features["long runs emphasis"][0]


def test_levels_are_equal_parts_of_the_range() -> None:
    assert grey_levels(np.array([-1.0, -0.9376, -0.9374, 0.0, 0.9999, 1.0])).tolist() == [0, 0, 1, 16, 31, 31]


def test_features_of_an_image_do_not_depend_on_its_company_and_stand_channel_by_channel() -> None:
    images = torch.rand((5, 2, 10, 9), generator=torch.Generator().manual_seed(0)) * 2 - 1
    seen: list[int] = []
    features = Radiomics()(images, step=seen.append)
    assert (Radiomics().name, features.shape, sum(seen)) == (RADIOMICS, (5, 98), 5)
    np.testing.assert_allclose(radiomics_features(images[3:4, 1:])[0], features[3, 49:], rtol=1e-12)
