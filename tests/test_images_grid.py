"""The way from an image's grid to the model's: every intensity keeps its place in mm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.images import Fit, Image, to_grid

FITS: tuple[Fit, ...] = ("resize", "crop-pad")


@st.composite
def affines(draw: st.DrawFn) -> NDArray[np.float64]:
    """Oblique affines: any rotation, spacing of 0.3 to 6 mm, any origin."""
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rotation, _ = np.linalg.qr(numbers.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.exp(numbers.uniform(np.log(0.3), np.log(6), 3))
    affine[:3, 3] = numbers.uniform(-200, 200, 3)
    return affine


def world_mm(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """(3, *shape): where the centre of each voxel lies."""
    index = np.zeros((4, *shape))
    index[: len(shape)] = np.indices(shape)
    index[3] = 1
    return np.tensordot(affine, index, axes=1)[:3]


shapes = st.one_of(st.tuples(*[st.integers(3, 40)] * 3), st.tuples(*[st.integers(3, 90)] * 2))


@settings(max_examples=80, deadline=None)
@given(affine=affines(), shape=shapes, fit=st.sampled_from(FITS), data=st.data())
def test_a_ramp_in_mm_is_the_same_ramp_on_the_grid(
    affine: NDArray[np.float64], shape: tuple[int, ...], fit: Fit, data: st.DataObject
) -> None:
    size = tuple(8 * data.draw(st.integers(1, 6)) for _ in shape)
    # the ramp runs along the image's own plane, so that in two dimensions it does not depend on the third axis
    direction = affine[:3, : len(shape)].sum(axis=1) / np.linalg.norm(affine[:3, : len(shape)])
    ramp = np.tensordot(direction, world_mm(affine, shape), axes=1)
    result = to_grid(Image(ramp[None].astype(np.float32), affine), size, fit)
    expected = np.tensordot(direction, world_mm(result.affine, size), axes=1)
    # inside: where the mean over a grid voxel does not reach beyond the outermost voxel centres of the image
    index = np.zeros((4, *size))
    index[: len(size)] = np.indices(size)
    index[3] = 1
    source = np.tensordot(np.linalg.inv(affine) @ result.affine, index, axes=1)[: len(shape)]
    half = np.abs(np.diag(np.linalg.inv(affine) @ result.affine))[: len(shape)].reshape(-1, *[1] * len(size)) / 2
    last = np.array(shape).reshape(-1, *[1] * len(size)) - 1
    inside = ((source >= half) & (source <= last - half)).all(axis=0)
    tolerance = 2e-6 * np.abs(ramp).max() + 1e-5
    np.testing.assert_allclose(result.voxels[0][inside], expected[inside], atol=float(tolerance))


@settings(max_examples=40, deadline=None)
@given(affine=affines(), seed=st.integers(0, 1000), fit=st.sampled_from(FITS))
def test_a_bright_blob_stays_where_it_is_in_mm(affine: NDArray[np.float64], seed: int, fit: Fit) -> None:
    numbers = np.random.default_rng(seed)
    shape = tuple(int(n) for n in numbers.integers(24, 40, 3))
    size = tuple(int(n) for n in 8 * numbers.integers(3, 6, 3))
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    affine = affine.copy()
    affine[:3, :3] *= np.clip(lengths, 1.0, 2.0) / lengths
    centre = np.linalg.inv(affine) @ affine @ np.array([*(np.array(shape) - 1) / 2 + numbers.uniform(-2, 2, 3), 1])
    distance2 = sum((axis - at) ** 2 for axis, at in zip(np.indices(shape), centre[:3], strict=True))
    blob = np.exp(-distance2 / (2 * 2.0**2)).astype(np.float32)
    result = to_grid(Image(blob[None], affine), size, fit)
    weights = result.voxels[0].astype(np.float64)
    found_mm = (world_mm(result.affine, size) * weights).sum(axis=(1, 2, 3)) / weights.sum()
    grid_mm = np.linalg.norm(result.affine[:3, :3], axis=0).max()
    assert np.linalg.norm(found_mm - (affine @ centre)[:3]) < 0.05 * grid_mm


@settings(max_examples=60, deadline=None)
@given(affine=affines(), shape=shapes, fit=st.sampled_from(FITS), data=st.data())
def test_the_middle_of_the_image_is_the_middle_of_the_grid(
    affine: NDArray[np.float64], shape: tuple[int, ...], fit: Fit, data: st.DataObject
) -> None:
    size = tuple(8 * data.draw(st.integers(1, 6)) for _ in shape)
    image = Image(np.zeros((1, *shape), np.float32), affine)
    result = to_grid(image, size, fit)

    def middle(of: Image) -> NDArray[np.float64]:
        index = np.zeros(4)
        index[: len(shape)] = (np.array(of.voxels.shape[1:]) - 1) / 2
        index[3] = 1
        return np.asarray(of.affine @ index)

    # crop-pad moves by whole voxels, so half a voxel per axis may remain
    slack_mm = 1e-6 if fit == "resize" else 0.5 * np.linalg.norm(affine[:3, :3], axis=0).sum() + 1e-6
    assert np.abs(middle(result) - middle(image)).max() <= slack_mm


@pytest.mark.parametrize("fit", FITS)
def test_an_image_that_has_the_grid_already_stays_bit_for_bit(fit: Fit) -> None:
    image = Image(np.random.default_rng(0).normal(size=(2, 16, 24, 8)).astype(np.float32), np.diag([1.5, 1.5, 1.5, 1]))
    result = to_grid(image, (16, 24, 8), fit)
    np.testing.assert_array_equal(result.voxels, image.voxels)
    np.testing.assert_array_equal(result.affine, image.affine)


@pytest.mark.parametrize("fit", FITS)
def test_a_constant_image_gives_a_constant_grid(fit: Fit) -> None:
    image = Image(np.full((1, 37, 11), 7.0, np.float32), np.eye(4))
    np.testing.assert_allclose(to_grid(image, (16, 24), fit).voxels, 7.0, rtol=1e-6)


def test_halving_an_image_averages_away_a_checkerboard() -> None:
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.float32)
    result = to_grid(Image(checkerboard[None], np.eye(4)), (32, 32))
    np.testing.assert_allclose(result.voxels[0, 1:-1, 1:-1], 0.5, atol=1e-6)


@pytest.mark.parametrize("factor", [2.5, 3.5, 5.5])
def test_stripes_finer_than_the_grid_leave_almost_nothing_behind(factor: float) -> None:
    count = int(16 * factor)
    stripes = np.broadcast_to(np.sin(2 * np.pi * np.arange(count) / factor)[:, None], (count, count))
    result = to_grid(Image(stripes[None].astype(np.float32), np.eye(4)), (16, 16))
    assert np.abs(result.voxels[0, 1:-1]).max() < 0.02


def test_resize_keeps_the_aspect_in_mm_and_pads_the_rest() -> None:
    # 20 x 10 voxels of 1 x 4 mm are 20 x 40 mm: on 40 x 40 the first axis fills just the middle half
    image = Image(np.full((1, 20, 10), 5.0, np.float32), np.diag([1.0, 4.0, 1.0, 1.0]))
    image.voxels[0, 0, 0] = -1.0
    result = to_grid(image, (40, 40))
    assert np.allclose(np.diag(result.affine), 1.0)
    outside = np.concatenate([result.voxels[0, :10], result.voxels[0, 30:]])
    assert (outside == -1.0).all()
    assert (result.voxels[0, 14:30] == 5.0).all()


def test_crop_pad_moves_by_whole_voxels_and_keeps_their_values() -> None:
    image = Image(np.arange(6 * 20, dtype=np.float32).reshape(1, 6, 20), np.diag([2.0, 3.0, 1.0, 1.0]))
    result = to_grid(image, (16, 8), "crop-pad")
    np.testing.assert_array_equal(result.voxels[0, 5:11], image.voxels[0, :, 6:14])
    assert (np.delete(result.voxels[0], range(5, 11), axis=0) == 0).all()
    np.testing.assert_array_equal(result.affine[:3, 3], [-10.0, 18.0, 0.0])


def test_an_image_thinner_than_a_grid_voxel_does_not_vanish() -> None:
    strip = np.ones((1, 200, 3), np.float32)
    strip[0, :, 0] = 0.0
    assert to_grid(Image(strip, np.eye(4)), (16, 16)).voxels.max() > 0.5


def test_a_volume_cannot_go_to_a_flat_grid() -> None:
    with pytest.raises(ImageError, match="3 spatial axes; the grid 64 64 has 2"):
        to_grid(Image(np.zeros((1, 8, 8, 8), np.float32), np.eye(4)), (64, 64))
