"""Label maps: a channel of whole numbers that say what each voxel is, always the last channel of an image.

The C classes of a set are its values in order; on the model's side class c is the point -1 + 2 c / (C - 1) of [-1, 1].
What a model draws there is brought to the nearest of these points, so that a map that comes out is discrete again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lichen.bounds import MOST_CLASSES
from lichen.errors import ImageError
from lichen.images.read import read_image
from lichen.images.types import Item, LabelScan

LARGEST = 2**24
"""Whole numbers up to this one are exact in float32, as which voxels are kept."""


def scan_label(path: Path) -> LabelScan:
    """What a label map says as a whole; raises ImageError for what is none. Remembered until the file changes."""
    try:
        state = path.stat()
    except OSError:  # reading says it better
        return _scan(path, -1, -1)
    return _scan(path, state.st_size, state.st_mtime_ns)


def find_classes(items: Iterable[Item], *, skip_bad: bool = False) -> tuple[int, ...]:
    """The values of all label maps of ``items``, in order; none if they have no label maps.

    With ``skip_bad`` a label map that cannot be read is passed over. Raises ImageError for more than ``MOST_CLASSES``.
    """
    found: set[int] = set()
    for item in items:
        if item.scan_label is None:
            return ()
        try:
            found |= item.scan_label().classes
        except ImageError:
            if not skip_bad:
                raise
    _refuse_many(found, "the label maps together")
    return tuple(sorted(found))


def spread(values: NDArray[np.float32], classes: Sequence[int], name: str = "the label map") -> NDArray[np.float32]:
    """The ``values`` of a label map as points of [-1, 1]; raises ImageError for a value that is no class."""
    refuse_fractions(values, name)
    table = np.array(classes, np.float32)
    number = np.searchsorted(table, values).clip(max=len(table) - 1)
    if (other := table[number] != values).any():
        raise ImageError(
            f"{name} has the label {values[other].flat[0]:g}; the classes are {' '.join(map(str, classes))}",
            fix="correct the label map, or train with its images too",
        )
    return np.asarray(2 * number / max(1, len(table) - 1) - 1, np.float32)


def nearest_class(unit: NDArray[np.float32], classes: Sequence[int]) -> NDArray[np.float32]:
    """The inverse of ``spread``; of points between two classes the nearest, as the whole number that it stands for."""
    number = np.rint((unit.astype(np.float64) + 1) / 2 * (len(classes) - 1)).astype(np.int64)
    return np.asarray(np.array(classes, np.float32)[number.clip(0, len(classes) - 1)])


def background_class(classes: Sequence[int]) -> int:
    """What lies outside a label map: 0, or the smallest class where there is no 0."""
    return 0 if 0 in classes else min(classes)


def refuse_fractions(values: NDArray[np.float32], name: str) -> None:
    """Raise ImageError that names the label map if a value is no whole number, or one too large to be kept."""
    if (odd := (values != np.rint(values)) | (np.abs(values) > LARGEST)).any():
        raise ImageError(
            f"{name} is to be a label map and has the value {values[odd].flat[0]:g}, which is no whole number"
            + (f" up to {LARGEST}" if np.abs(values).max() > LARGEST else ""),
            fix="name the label map with --images.label; one that was resampled needs nearest-neighbour interpolation",
        )


@cache
def _scan(path: Path, size: int, mtime_ns: int) -> LabelScan:  # noqa: ARG001 (part of the key)
    image = read_image(path)
    if len(image.voxels) != 1:
        raise ImageError(
            f"{path} is to be a label map and has {len(image.voxels)} channels", fix="save one number per voxel"
        )
    refuse_fractions(image.voxels, str(path))
    values = image.voxels[0].astype(np.int64)
    low, high = int(values.min()), int(values.max())
    # counting is a tenth of the time of sorting, where there is room to count
    counted = high - low < values.size
    found = np.flatnonzero(np.bincount((values - low).ravel())) + low if counted else np.unique(values)
    classes = frozenset(found.tolist())
    _refuse_many(classes, str(path))
    labelled = (values > 0).mean(axis=(0, 1))
    return LabelScan(classes, tuple(np.atleast_1d(labelled).tolist()), image.geometry)


def _refuse_many(classes: Iterable[int], name: str) -> None:
    if (count := len(set(classes))) > MOST_CLASSES:
        raise ImageError(
            f"{name} has {count} different values; a label map has {MOST_CLASSES} classes at most",
            fix="name the file that holds the labels with --images.label, or join classes",
        )
