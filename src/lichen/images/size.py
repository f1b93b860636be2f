"""The model's grid, chosen from the images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from lichen.errors import ConfigError, ImageError
from lichen.images.types import Geometry, Item, Source

STEP = 8
"""Every axis is a multiple of this unless the networks need another one: they halve it up to three times."""
PICTURE_SIDE = 64
"""The side of the default grid in two dimensions, unless the pictures are smaller."""
MOST_VOXELS = 48**3
"""The largest default grid in three dimensions: what trains on two CPU cores."""
MOST_LOOKED_AT = 500
"""The median of this many headers is as good as that of all."""
MOST_DECODED = 25
"""The same where a shape is only known after decoding the image."""


def choose_size(
    source: Source,
    size: tuple[int, ...] | None,
    *,
    multiple: int = STEP,
    spacing_mm: tuple[float, ...] | None = None,
    skip_bad: bool = False,
) -> tuple[int, ...]:
    """The model's grid in voxels: ``size`` if it is given and fits, else chosen from the images.

    Pictures get 64 x 64, or, if they are smaller than that, their own median sides rounded up to a multiple.
    Volumes get their median extent, in voxels of the median finest spacing, scaled down to ``MOST_VOXELS`` and rounded
    to a multiple. With ``spacing_mm`` both get what holds their median extent at that spacing. Raises ConfigError if
    ``size`` has another number of axes than the images or an axis that is no multiple of ``multiple``, or if the
    spacing has another number of axes or makes a grid of more than ``MOST_VOXELS``; ImageError if an image cannot be
    read, or, with ``skip_bad``, none of those looked at.
    """
    if spacing_mm is not None and len(spacing_mm) != source.spatial_dims:
        raise ConfigError(
            f"images.spacing is {' '.join(f'{mm:g}' for mm in spacing_mm)}, {len(spacing_mm)} axes; "
            f"the images of {source.label} have {source.spatial_dims}",
            fix=f"give one number per axis, e.g. --images.spacing {' '.join(['1'] * source.spatial_dims)}",
        )
    if size is not None:
        return _checked(source, size, multiple)
    if not source.items:
        raise ImageError(f"{source.label} has no images", fix="give a folder with images")
    most = MOST_DECODED if source.items[0].look is None else MOST_LOOKED_AT
    stride = math.ceil(len(source.items) / most)
    geometries = list(look_at(source.items[::stride], source.spatial_dims, skip_bad=skip_bad))
    extents_mm = np.median([np.multiply(geometry.shape, geometry.spacing_mm) for geometry in geometries], axis=0)
    if spacing_mm is not None:
        return _at_spacing(tuple(extents_mm), spacing_mm, multiple)
    if source.spatial_dims == 2:
        sides = np.median([geometry.shape for geometry in geometries], axis=0)
        if sides.max() > PICTURE_SIDE - multiple and PICTURE_SIDE % multiple == 0:
            return (PICTURE_SIDE, PICTURE_SIDE)
        return tuple(multiple * math.ceil(min(side, PICTURE_SIDE) / multiple) for side in sides)
    finest_mm = float(np.median([min(geometry.spacing_mm) for geometry in geometries]))
    return _rounded(tuple(float(extent) / finest_mm for extent in extents_mm), multiple)


def _at_spacing(extents_mm: tuple[float, ...], spacing_mm: tuple[float, ...], multiple: int) -> tuple[int, ...]:
    """What holds the extent at this spacing, in multiples of ``multiple``; a tenth of a voxel may be cut off."""
    sides = [
        multiple * max(1, math.ceil((mm / step - 0.1) / multiple))
        for mm, step in zip(extents_mm, spacing_mm, strict=True)
    ]
    if math.prod(sides) > MOST_VOXELS:
        raise ConfigError(
            f"images.spacing {' '.join(f'{mm:g}' for mm in spacing_mm)} needs a grid of {' x '.join(map(str, sides))} "
            f"for the median image, more than the {MOST_VOXELS} voxels that are chosen without being asked for",
            fix=f"name a grid, e.g. --images.size {' '.join(map(str, sides))} or a part of that, or a wider spacing",
        )
    return tuple(sides)


def _rounded(extent: tuple[float, ...], multiple: int) -> tuple[int, ...]:
    """The extent in voxels as multiples of ``multiple``, shrunk as little as needed to stay within MOST_VOXELS."""
    shrink = 1.0
    while True:
        size = tuple(multiple * max(1, round(side * shrink / multiple)) for side in extent)
        if math.prod(size) <= MOST_VOXELS or max(size) == multiple:
            return size
        shrink *= 0.99


def look_at(items: Sequence[Item], spatial_dims: int, *, skip_bad: bool = False) -> Iterator[Geometry]:
    """The geometry of each item, most of them from headers alone.

    Raises ImageError for one that cannot be read or has other axes, or, with ``skip_bad``, if all are such.
    """
    is_bare = True
    for item in items:
        try:
            geometry = _look(item, spatial_dims)
        except ImageError:
            if not skip_bad or (item is items[-1] and is_bare):
                raise
        else:
            is_bare = False
            yield geometry


def _look(item: Item, spatial_dims: int) -> Geometry:
    geometry = item.read().geometry if item.look is None else item.look()
    if len(geometry.shape) != spatial_dims:
        raise wrong_axes(item.name, len(geometry.shape), spatial_dims)
    return geometry


def wrong_axes(name: str, axes: int, expected: int) -> ImageError:
    """The error for an image with another number of spatial axes than the rest."""
    return ImageError(
        f"{name} has {axes} spatial axes and the others have {expected}",
        fix="keep two- and three-dimensional images in folders of their own",
    )


def _checked(source: Source, size: tuple[int, ...], multiple: int) -> tuple[int, ...]:
    words = " ".join(map(str, size))
    if len(size) != source.spatial_dims:
        raise ConfigError(
            f"images.size is {words}, {len(size)} axes; the images of {source.label} have {source.spatial_dims}",
            fix=f"give one number per axis, e.g. --images.size {'64 64' if source.spatial_dims == 2 else '48 48 48'}",
        )
    if any(side < multiple or side % multiple for side in size):
        near = " ".join(str(multiple * max(1, round(side / multiple))) for side in size)
        raise ConfigError(
            f"images.size is {words}; every axis must be a multiple of {multiple}", fix=f"give --images.size {near}"
        )
    return size
