"""Axial slices of volumes as images of two dimensions, each of its volume's patient.

A slice is seen as radiologists look at it: rows run from anterior to posterior, columns from the patient's right to
left; its affine says so. Its intensities are normalised as those of the whole volume, so that a slice with little in it
is not stretched. To choose slices takes headers and label maps; no volume is decoded before its slices are.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

import numpy as np

from lichen.errors import ImageError
from lichen.images.normalise import intensity_ranges
from lichen.images.types import Geometry, Image, Item, Skipped, Source
from lichen.slice_rule import SliceRule


def sliced(source: Source, rule: SliceRule, *, skip_bad: bool = False) -> Source:
    """The slices of the volumes of ``source`` that ``rule`` takes, named ``case[z=17]`` by their place from inferior.

    With ``skip_bad`` volumes that cannot be read are left out. Raises ImageError if the images are not volumes, if a
    label map has other voxels than its image, or if no slice fits the rule.
    """
    if source.spatial_dims != 3:
        raise ImageError(
            f"images.slices is for volumes, and the images of {source.label} have two dimensions",
            fix="leave --images.slices out",
        )
    items: list[Item] = []
    skipped: list[Skipped] = []
    largest = 0.0
    for volume in source.items:
        try:
            geometry, shares = _look(volume, rule)
        except ImageError as error:
            if not skip_bad:
                raise
            skipped.append(volume.left_out(error))
            continue
        largest = max((largest, *shares))
        items += [_slice(volume, number, geometry) for number in rule.kept(geometry.shape[2], shares)]
    if not items and rule.least_share is not None and not skipped:
        share = np.format_float_positional(largest / 2, precision=2, fractional=False, trim="-")
        raise ImageError(
            f"no slice of {source.label} has labels above 0 in {rule.least_share:g} of its voxels; "
            f"the most is {largest:.3g}",
            fix=f"give a smaller share, e.g. --images.slices 'label>={share}'"
            if largest
            else "name other label maps with --images.label, or give another rule, e.g. --images.slices middle:20",
        )
    return replace(source, items=tuple(items), spatial_dims=2, skipped=(*source.skipped, *skipped))


def _look(volume: Item, rule: SliceRule) -> tuple[Geometry, tuple[float, ...]]:
    """The geometry of a volume, and the share of each slice that is labelled, if the rule asks for it."""
    geometry = volume.read().geometry if volume.look is None else volume.look()
    if len(geometry.shape) != 3:
        raise ImageError(f"{volume.name} is no volume, and is to be cut into slices", fix="leave it out of the folder")
    if not rule.needs_label or volume.scan_label is None:
        return geometry, ()
    scan = volume.scan_label()
    if scan.geometry.shape != geometry.shape or not np.allclose(scan.geometry.spacing_mm, geometry.spacing_mm, 1e-3):
        raise ImageError(
            f"{volume.name} has voxels {geometry} and its label map {scan.geometry}",
            fix="resample the label map to the image, by nearest neighbour",
        )
    return geometry, scan.shares


def _slice(volume: Item, number: int, geometry: Geometry) -> Item:
    (columns, rows, _), (across_mm, down_mm, _) = geometry.shape, geometry.spacing_mm
    flat = Geometry((rows, columns), (down_mm, across_mm))
    return replace(
        volume,
        name=f"{volume.name}[z={number}]",
        is_slice=True,
        read=partial(_read, volume, number),
        look=lambda: flat,
        version=None if volume.version is None else f"{volume.version}|z={number}",
    )


def _read(volume: Item, number: int) -> Image:
    image = _decoded(volume)
    columns, rows, _ = image.geometry.shape
    # (row, column) = (rows - 1 - j, columns - 1 - i) of voxel (i, j, number)
    to_voxel = np.array([[0, -1, 0, columns - 1], [-1, 0, 0, rows - 1], [0, 0, 1, number], [0, 0, 0, 1.0]])
    plane = image.voxels[..., number].swapaxes(1, 2)[:, ::-1, ::-1]
    return Image(np.ascontiguousarray(plane), image.affine @ to_voxel, image.ranges)


@lru_cache(maxsize=1)
def _decoded(volume: Item) -> Image:
    """The volume whose slices are read one after the other, with the ranges of its channels: decoded once."""
    image = volume.read()
    return replace(image, ranges=intensity_ranges(image.voxels))
