"""Intensities to [-1, 1], per image and channel, whatever the scanner's scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lichen.errors import ImageError

PERCENTILES = (0.5, 99.5)
"""A few burned-in markers, hot pixels or metal must not set the scale."""


def normalise(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Map the 0.5th to 99.5th percentile of each channel of ``voxels`` (C, *S) linearly to [-1, 1], and clip.

    A constant channel becomes -1 throughout. If the two percentiles agree although the channel is not constant (a
    small bright object on an empty background), its minimum and maximum take their place. Raises ImageError if a
    voxel is NaN or infinite.
    """
    refuse_non_finite(voxels, "the image")
    return np.stack([_normalise_channel(channel) for channel in voxels])


def refuse_non_finite(voxels: NDArray[np.float32], name: str) -> None:
    """Raise ImageError that names the image if a voxel is NaN or infinite."""
    if (bad := int(voxels.size - np.count_nonzero(np.isfinite(voxels)))) > 0:
        raise ImageError(
            f"{name} has {bad} of {voxels.size} voxels that are NaN or infinite",
            fix="replace them by the background's intensity, e.g. with numpy.nan_to_num, and save the image again",
        )


def _normalise_channel(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    # float64: with a large offset and a small range, float32 would lose the range in the subtraction
    exact = channel.astype(np.float64)
    low, high = np.percentile(exact, PERCENTILES)
    if not low < high:
        low, high = exact.min(), exact.max()
    if not low < high:
        return np.full(channel.shape, -1.0, np.float32)
    exact -= low
    exact *= 2 / (high - low)
    exact -= 1
    return np.clip(exact, -1.0, 1.0).astype(np.float32)
