"""From the image's own voxel grid to the model's, with the affine kept exact.

Grid index k and image index x of one axis are joined by x = scale * k + offset, so the affine of the result is the
image's affine times one small matrix: every grid voxel keeps its true place in mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lichen.errors import ImageError
from lichen.images.types import Image

Fit = Literal["resize", "crop-pad"]

_SAME = 1e-3
"""A shift that no image shows, in voxels: affines of files are rounded to seven digits."""


def to_grid(
    image: Image,
    size: tuple[int, ...],
    fit: Fit = "resize",
    *,
    spacing_mm: tuple[float, ...] | None = None,
    outside: float | None = None,
) -> Image:
    """Bring an image (C, *S) to (C, *size); its centre becomes the centre of the grid.

    ``resize`` keeps the aspect in mm: the image is scaled by one factor until it just fits, averaged where it
    shrinks, interpolated linearly where it grows. ``crop-pad`` keeps the spacing and moves by whole voxels only. With
    ``spacing_mm`` the image is resampled in the same way to that spacing, then cropped and padded, whatever ``fit``
    says; an axis that has this spacing already moves by whole voxels only.
    Voxels outside the image get the image's smallest value, per channel. With ``outside`` the image is a label map:
    each grid voxel takes the value of the nearest image voxel, and what lies outside the image this one. Raises
    ImageError if the image has not as many axes as the grid.
    """
    if len(size) != image.voxels.ndim - 1:
        raise ImageError(
            f"an image has {image.voxels.ndim - 1} spatial axes; the grid {' '.join(map(str, size))} has {len(size)}",
            fix="give the grid one number per axis of the images",
        )
    if spacing_mm is not None:
        return _respace(image, size, spacing_mm, outside)
    return _resize(image, size, outside) if fit == "resize" else _crop_pad(image, size, outside)


def from_grid(gridded: Image, original: Image) -> Image:
    """The way back: a gridded image (C, *size) on the voxels of ``original`` (C, *S), as the affines join the two.

    Where the grid has the spacing of the original this undoes ``to_grid`` bit for bit, elsewhere up to what the coarser
    of the two cannot hold. Voxels outside the grid get the gridded image's smallest value, per channel. Raises
    ImageError if the axes of the two are not parallel.
    """
    dims = original.voxels.ndim - 1
    between = np.linalg.inv(gridded.affine) @ original.affine
    scales, offsets = np.diag(between)[:dims], between[:dims, 3]
    if gridded.voxels.ndim != original.voxels.ndim or not np.allclose(
        between[:dims, :dims], np.diag(scales), atol=1e-4
    ):
        raise ImageError(
            "the axes of the grid and of the image are not parallel", fix="give the image that was brought to this grid"
        )
    # what was moved by whole voxels must come back by whole voxels, whatever inverting a matrix rounds
    near = [round(offset) if abs(offset - round(offset)) < _SAME else offset for offset in offsets]
    shape = original.geometry.shape
    steps = [_snapped(scale, count) for scale, count in zip(scales, shape, strict=True)]
    return Image(_resample(gridded, shape, steps, near), original.affine.copy())


def _respace(image: Image, size: tuple[int, ...], spacing_mm: tuple[float, ...], outside: float | None) -> Image:
    shape = image.geometry.shape
    if len(spacing_mm) != len(shape):
        raise ImageError(
            f"an image has {len(shape)} spatial axes; the spacing {' '.join(map(str, spacing_mm))} has "
            f"{len(spacing_mm)}",
            fix="give --images.spacing one number per axis of the images",
        )
    scales = [
        _snapped(wanted / own, count)
        for wanted, own, count in zip(spacing_mm, image.geometry.spacing_mm, shape, strict=True)
    ]
    offsets = [
        float((count - target) // 2) if scale == 1 else (count - 1) / 2 - scale * (target - 1) / 2
        for count, target, scale in zip(shape, size, scales, strict=True)
    ]
    return Image(_resample(image, size, scales, offsets, outside), image.affine @ _index_map(scales, offsets))


def _snapped(scale: float, count: int) -> float:
    """``scale``, or 1 if it moves no voxel of the image by more than a thousandth of a voxel."""
    return 1.0 if abs(scale - 1) * count < _SAME else float(scale)


def _resize(image: Image, size: tuple[int, ...], outside: float | None) -> Image:
    shape, spacing_mm = image.geometry.shape, image.geometry.spacing_mm
    grid_mm = max(count * mm / target for count, mm, target in zip(shape, spacing_mm, size, strict=True))
    scales = [grid_mm / mm for mm in spacing_mm]
    offsets = [
        (count - 1) / 2 - scale * (target - 1) / 2 for count, target, scale in zip(shape, size, scales, strict=True)
    ]
    return Image(_resample(image, size, scales, offsets, outside), image.affine @ _index_map(scales, offsets))


def _resample(
    image: Image,
    size: tuple[int, ...],
    scales: Sequence[float],
    offsets: Sequence[float],
    outside: float | None = None,
) -> NDArray[np.float32]:
    """(C, *size): grid voxel k of an axis is read at image voxel scale * k + offset; ``outside`` as in ``to_grid``."""
    shape = image.geometry.shape
    voxels = image.voxels
    covered = []
    for axis, (count, target, scale, offset) in enumerate(zip(shape, size, scales, offsets, strict=True), start=1):
        weights, inside = _weights(count, target, scale, offset, nearest=outside is not None)
        rows = np.moveaxis(voxels, axis, 0)
        resampled = (weights @ rows.reshape(count, -1)).reshape(target, *rows.shape[1:])
        voxels = np.moveaxis(resampled, 0, axis)
        covered.append(inside)
    padded = _background(image, size, outside)
    padded[:, *covered] = voxels[:, *covered]
    return padded


def _background(image: Image, size: tuple[int, ...], outside: float | None) -> NDArray[np.float32]:
    """(C, *size) filled with ``outside``, or else the smallest value of each channel of the image."""
    if outside is not None:
        return np.full((len(image.voxels), *size), outside, np.float32)
    smallest = image.voxels.min(axis=tuple(range(1, image.voxels.ndim)), keepdims=True)
    return np.broadcast_to(smallest, (len(image.voxels), *size)).copy()


@lru_cache(maxsize=256)
def _weights(count: int, target: int, scale: float, offset: float, *, nearest: bool) -> tuple[csr_array, slice]:
    """Sparse matrix (target, count) that resamples one axis, and the range of grid voxels whose centre is in the image.

    A grid voxel is the mean of the linearly interpolated image over a width of min(scale, 2 (scale - 1)) voxels:
    nothing for scale <= 1, the grid voxel's own footprint from scale 2 on. So an unscaled image stays as it is, a
    shrunk one has no aliasing, and a linear ramp stays the same ramp in mm at any scale. Of an image thinner than a
    grid voxel the one or two grid voxels that it lies in are kept. With ``nearest`` it is the nearest voxel instead, of
    two that are equally near the one of even number.
    """
    centre = scale * np.arange(target)[:, None] + offset
    reached = np.flatnonzero(np.abs(centre[:, 0] - (count - 1) / 2) <= max(count, scale) / 2 + 1e-9)
    kept = slice(int(reached[0]), int(reached[-1]) + 1) if len(reached) else slice(0)
    if nearest:
        index = np.rint(centre[:, 0]).astype(int).clip(0, count - 1)
        chosen = (np.ones(target, np.float32), (np.arange(target), index))
        return csr_array(chosen, shape=(target, count)), kept
    width = min(scale, 2 * (scale - 1))
    reach = int(np.ceil(max(width, 0.0) / 2)) + 2
    index = np.arange(-reach, count + reach)[None, :]
    if width > 1e-3:
        spread = (
            _integral_of_triangle(centre + width / 2 - index) - _integral_of_triangle(centre - width / 2 - index)
        ) / width
    else:
        spread = np.maximum(0.0, 1.0 - np.abs(centre - index))
    # beyond its border the image goes on with the border's value
    weights = spread[:, reach : reach + count].copy()
    weights[:, 0] += spread[:, :reach].sum(axis=1)
    weights[:, -1] += spread[:, reach + count :].sum(axis=1)
    return csr_array(weights.astype(np.float32)), kept


def _integral_of_triangle(x: NDArray[Any]) -> NDArray[Any]:
    """The integral of max(0, 1 - |u|) from minus infinity to ``x``."""
    x = np.clip(x, -1.0, 1.0)
    return np.asarray(0.5 + x * (1 - np.abs(x) / 2))


def _crop_pad(image: Image, size: tuple[int, ...], outside: float | None) -> Image:
    starts, source, target = [], [], []
    for count, wanted in zip(image.geometry.shape, size, strict=True):
        start, kept = (count - wanted) // 2, min(count, wanted)
        starts.append(float(start))
        source.append(slice(max(start, 0), max(start, 0) + kept))
        target.append(slice(max(-start, 0), max(-start, 0) + kept))
    voxels = _background(image, size, outside)
    voxels[:, *target] = image.voxels[:, *source]
    return Image(voxels, image.affine @ _index_map([1.0] * len(size), starts))


def _index_map(scales: Sequence[float], offsets: Sequence[float]) -> NDArray[np.float64]:
    """The matrix (4, 4) from grid index to image index; axes that the image does not have stay as they are."""
    matrix = np.eye(4)
    for axis, (scale, offset) in enumerate(zip(scales, offsets, strict=True)):
        matrix[axis, axis] = scale
        matrix[axis, 3] = offset
    return matrix
