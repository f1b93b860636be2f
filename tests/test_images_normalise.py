"""Intensities to [-1, 1], whatever the scanner's scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichen.errors import ImageError
from lichen.images import normalise


def test_the_half_percent_at_each_end_is_clipped_and_the_rest_is_linear() -> None:
    voxels = np.random.default_rng(0).permutation(1001).astype(np.float32).reshape(1, 7, 11, 13)
    # of 0 ... 1000, the 0.5th percentile is 5 and the 99.5th 995
    np.testing.assert_allclose(normalise(voxels), np.clip((voxels - 5) / 495 - 1, -1, 1), atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(gain=st.floats(1e-3, 1e6), offset=st.floats(-1e4, 1e4), seed=st.integers(0, 100))
def test_gain_and_offset_of_the_scanner_do_not_matter(gain: float, offset: float, seed: int) -> None:
    voxels = np.random.default_rng(seed).normal(size=(2, 12, 9))
    scaled = (gain * voxels + offset).astype(np.float32)
    rounding = 2e-7 * (1 + abs(offset) / gain)
    np.testing.assert_allclose(normalise(scaled), normalise(voxels.astype(np.float32)), atol=2e-6 + rounding)


def test_each_channel_has_its_own_scale() -> None:
    channel = np.random.default_rng(0).normal(size=(1, 20, 20)).astype(np.float32)
    both = normalise(np.concatenate([channel, 1e5 * channel - 3]))
    np.testing.assert_allclose(both[0], both[1], atol=1e-5)


@pytest.mark.parametrize("value", [0.0, -1024.0, 3.0e38])
def test_a_constant_image_is_background_throughout(value: float) -> None:
    assert (normalise(np.full((1, 8, 8), value, np.float32)) == -1).all()


def test_a_single_bright_voxel_on_an_empty_background_survives() -> None:
    voxels = np.zeros((1, 64, 64), np.float32)
    voxels[0, 3, 4] = 9
    result = normalise(voxels)
    assert result[0, 3, 4] == 1
    assert np.count_nonzero(result == -1) == 64 * 64 - 1


def test_the_whole_range_of_float32_is_no_overflow() -> None:
    limit = float(np.finfo(np.float32).max)
    result = normalise(np.linspace(-limit, limit, 1001).astype(np.float32).reshape(1, 7, 143))
    np.testing.assert_allclose(result.reshape(-1)[[0, 500, 1000]], [-1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_no_number_is_refused(bad: float) -> None:
    voxels = np.ones((1, 4, 4), np.float32)
    voxels[0, 2, 2] = bad
    with pytest.raises(ImageError, match="1 of 16 voxels that are NaN or infinite"):
        normalise(voxels)
