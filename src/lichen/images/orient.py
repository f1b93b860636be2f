"""Turning the axes of a volume to the closest of right, anterior, superior."""

from __future__ import annotations

from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from lichen.images.types import Geometry, Image, spacing_mm


def turned_to_ras(values: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """``values`` (X, Y, Z) or (X, Y, Z, C) with axes swapped and flipped to the closest of RAS+, and their affine.

    No voxel changes: an oblique volume stays oblique.
    """
    turn = nib.io_orientation(affine)
    turned_affine: NDArray[np.float64] = affine @ nib.orientations.inv_ornt_aff(turn, values.shape[:3])
    return nib.apply_orientation(values, turn), turned_affine


def turned_geometry(shape: tuple[int, ...], affine: NDArray[np.float64]) -> Geometry:
    """What ``turned_to_ras`` and ``flattened`` make of shape and spacing, without the voxels."""
    order = np.argsort(nib.io_orientation(affine)[:, 0])
    turned = Geometry(tuple(int(shape[axis]) for axis in order), tuple(spacing_mm(affine, 3)[axis] for axis in order))
    if (thin := _thin_axis(turned.shape)) is None:
        return turned
    kept = [axis for axis in range(3) if axis != thin]
    return Geometry(tuple(turned.shape[axis] for axis in kept), tuple(turned.spacing_mm[axis] for axis in kept))


def flattened(image: Image) -> Image:
    """A volume one voxel thick as a two-dimensional image; its affine's third column keeps the thickness."""
    if (thin := _thin_axis(image.voxels.shape[1:])) is None:
        return image
    columns = [axis for axis in range(3) if axis != thin] + [thin, 3]
    return Image(np.ascontiguousarray(image.voxels.squeeze(thin + 1)), image.affine[:, columns])


def _thin_axis(shape: tuple[int, ...]) -> int | None:
    """The one axis that is a single voxel thick, if there is just one."""
    thin = [axis for axis, count in enumerate(shape) if count == 1]
    return thin[0] if len(thin) == 1 else None
