"""Intensities to [-1, 1] and back: by percentiles of each image, or by a window that is the same for all.

A range is a pair (low, high) per channel, (C, 2): what becomes -1 and what becomes 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lichen.errors import ImageError

PERCENTILES = (0.5, 99.5)
"""A few burned-in markers, hot pixels or metal must not set the scale."""


def normalise(voxels: NDArray[np.float32], ranges: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """Map each channel of ``voxels`` (C, *S) linearly from its range (C, 2) to [-1, 1], and clip.

    Without ``ranges``, whatever the scanner's scale, those of ``intensity_ranges``. A constant channel then becomes -1
    throughout. Raises ImageError if a voxel is NaN or infinite.
    """
    refuse_non_finite(voxels, "the image")
    ranges = intensity_ranges(voxels) if ranges is None else ranges
    return np.stack([_to_unit(channel, *pair) for channel, pair in zip(voxels, ranges, strict=True)])


def denormalise(voxels: NDArray[np.float32], ranges: NDArray[np.float64]) -> NDArray[np.float32]:
    """The inverse of ``normalise`` for intensities inside their range: (C, *S) in [-1, 1] -> intensities (C, *S)."""
    low, high = (ranges[:, side].reshape(-1, *[1] * (voxels.ndim - 1)) for side in (0, 1))
    return np.asarray(low + (voxels.astype(np.float64) + 1) / 2 * (high - low), np.float32)


def intensity_ranges(voxels: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 0.5th and 99.5th percentile of each channel of ``voxels`` (C, *S), as (C, 2).

    If the two agree although the channel is not constant (a small bright object on an empty background), its minimum
    and maximum take their place.
    """
    return np.array([_percentiles(channel) for channel in voxels])


def window_ranges(window: Sequence[float], channels: int, name: str = "the image") -> NDArray[np.float64]:
    """A window as ranges (C, 2): two numbers for all channels, or two for each; raises ImageError for others."""
    if len(window) not in {2, 2 * channels}:
        raise ImageError(
            f"images.window has {len(window)} numbers, and {name} has {channels} channels",
            fix="give two numbers for all channels, e.g. --images.window -160 240, or two for each",
        )
    return np.broadcast_to(np.array(window, np.float64).reshape(-1, 2), (channels, 2))


def refuse_non_finite(voxels: NDArray[np.float32], name: str) -> None:
    """Raise ImageError that names the image if a voxel is NaN or infinite."""
    if (bad := int(voxels.size - np.count_nonzero(np.isfinite(voxels)))) > 0:
        raise ImageError(
            f"{name} has {bad} of {voxels.size} voxels that are NaN or infinite",
            fix="replace them by the background's intensity, e.g. with numpy.nan_to_num, and save the image again",
        )


def _percentiles(channel: NDArray[np.float32]) -> tuple[float, float]:
    exact = channel.astype(np.float64)
    low, high = np.percentile(exact, PERCENTILES)
    return (float(low), float(high)) if low < high else (float(exact.min()), float(exact.max()))


def _to_unit(channel: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    if not low < high:
        return np.full(channel.shape, -1.0, np.float32)
    # float64: with a large offset and a small range, float32 would lose the range in the subtraction
    exact = channel.astype(np.float64)
    exact -= low
    exact *= 2 / (high - low)
    exact -= 1
    return np.clip(exact, -1.0, 1.0).astype(np.float32)
