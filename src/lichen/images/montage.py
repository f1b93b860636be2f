"""A contact sheet of real images, made on request alone and named for what it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.files import replacing
from lichen.images.grid import to_grid
from lichen.images.labels import background_class
from lichen.images.normalise import normalise, window_ranges
from lichen.images.types import Image, Item
from lichen.palette import coloured

MOST_TILES = 24
TILE = 160
"""Pixels along each side of a view."""
COLUMNS = 8
GAP = 2


def check_name(path: Path) -> None:
    """Raise ImageError unless ``path`` is a PNG whose name says what is in it."""
    if "patient" not in path.name.lower() or path.suffix.lower() != ".png":
        raise ImageError(
            f"{path} would hold images of patients, and its name does not say so",
            fix=f"give a PNG file with 'patient' in its name, e.g. --montage {path.with_name('patient-images.png')}",
        )


def write_montage(
    path: Path, items: Sequence[Item], window: tuple[float, ...] | None = None, classes: tuple[int, ...] = ()
) -> int:
    """Write up to ``MOST_TILES`` images, evenly chosen, as one PNG that only the user can read; return how many.

    A volume is shown by its middle axial, coronal and sagittal slices, the patient's right on the left, as radiologists
    look at them. Channels are beside each other; with ``classes`` the last is a label map, in colours. Raises
    ImageError if the name does not say what it holds, or if no image can be read.
    """
    check_name(path)
    chosen = sorted({round(index) for index in np.linspace(0, len(items) - 1, min(MOST_TILES, len(items)))})
    tiles = []
    for index in chosen:
        try:
            tiles.append(_tile(items[index].read(), window, classes))
        except ImageError:  # listed as a problem
            continue
    if not tiles:
        raise ImageError(f"no image can be shown in {path}", fix="see the problems that lichen images lists")
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    columns = min(len(tiles), max(1, COLUMNS * TILE // width))
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * (height + GAP), columns * (width + GAP), 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + GAP), number % columns * (width + GAP)
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    with replacing(path) as temporary:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
        PIL.Image.fromarray(sheet).save(temporary, format="PNG")
    return len(tiles)


def views(voxels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """One channel (*S) as shown: a picture itself, or the middle slices of a RAS+ volume, (rows, columns)."""
    if voxels.ndim == 2:
        return [voxels]
    middle = [count // 2 for count in voxels.shape]
    planes = voxels[:, :, middle[2]], voxels[:, middle[1], :], voxels[middle[0], :, :]
    return [plane.T[::-1, ::-1] for plane in planes]


def _tile(image: Image, window: tuple[float, ...] | None, classes: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H, W, 3): a column for each channel."""
    pictures = Image(image.voxels[:-1], image.affine) if classes else image
    ranges = None if image.ranges is None else image.ranges[: len(pictures.voxels)]
    if window is not None:
        ranges = window_ranges(window, len(pictures.voxels))
    size = (TILE,) * (image.voxels.ndim - 1)
    unit = to_grid(replace(pictures, voxels=normalise(pictures.voxels, ranges)), size)
    columns = [
        np.vstack([((view + 1) * 127.5).round().astype(np.uint8)[..., None].repeat(3, 2) for view in views(channel)])
        for channel in unit.voxels
    ]
    if classes:
        label = to_grid(Image(image.voxels[-1:], image.affine), size, outside=background_class(classes))
        columns.append(np.vstack([coloured(view, classes) for view in views(label.voxels[0])]))
    if len(columns) == 3 and len(size) == 2 and not classes:  # a colour picture
        return np.stack([column[..., 0] for column in columns], axis=2)
    return np.hstack(columns)
