"""From items to one tensor: decode, normalise, bring to the grid, once."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.files import replacing, write_json
from lichen.images.grid import Fit, to_grid
from lichen.images.labels import background_class, spread
from lichen.images.normalise import normalise, window_ranges
from lichen.images.size import wrong_axes
from lichen.images.types import Image, ImageSet, Item, Skipped
from lichen.plurals import plural
from lichen.progress import Step, silent

CACHE_FOLDER = "patient-images-cache"
"""Says in its name what it holds: real images of patients, decoded."""
CACHE_VERSION = 3
"""Raised whenever decoding, normalising or gridding changes what comes out."""
MOST_PEEKED = 5
"""Images that vote on the number of channels, where single ones may be bad: the first may be the odd one out."""


@dataclass(frozen=True)
class _Recipe:
    """All that decides what becomes of the items; each field is in the key of the cache."""

    size: tuple[int, ...]
    fit: Fit
    spacing_mm: tuple[float, ...] | None
    window: tuple[float, ...] | None
    channels: int | None
    classes: tuple[int, ...]
    skip_bad: bool


@dataclass(frozen=True)
class _Filled:
    """What was found while filling an array; its first rows are the items that are not in ``bad``."""

    affine: NDArray[np.float64]
    bad: tuple[tuple[int, str], ...]
    """Number of the item, and the reason."""


def load_set(
    items: Sequence[Item],
    size: tuple[int, ...],
    fit: Fit = "resize",
    *,
    spacing_mm: tuple[float, ...] | None = None,
    window: tuple[float, ...] | None = None,
    channels: int | None = None,
    classes: tuple[int, ...] = (),
    skip_bad: bool = False,
    cache_dir: Path | None = None,
    step: Step = silent,
) -> ImageSet:
    """Decode and normalise ``items`` and bring them to the grid ``size``; ``step`` is told of each image finished.

    ``fit`` and ``spacing_mm`` are those of ``to_grid``, ``window`` that of ``window_ranges``. ``channels``, if given,
    is how many each image must have. With ``classes`` (``find_classes``) the last channel of each image is a label map:
    its values become points of [-1, 1] as in ``labels.py``, and it comes to the grid by nearest neighbour. With
    ``skip_bad`` an image that cannot be used is left out and listed in ``skipped``; most of the first images that
    decode then say how many channels the others must have.

    With ``cache_dir`` the result is kept in ``cache_dir/patient-images-cache`` under the SHA-256 of all that
    determines it, and the next call maps that file and decodes nothing; changing the tensor in place never changes
    the file. Raises ImageError if there are no items, if an image cannot be read or has another number of channels or
    axes than the others (with ``skip_bad``: if no image is left), or if the set fits neither into memory nor on the
    disk of ``cache_dir``.
    """
    if not items:
        raise ImageError("there are no images to load", fix="give a folder with images, or hold out fewer patients")
    recipe = _Recipe(size, fit, spacing_mm, window, channels, classes, skip_bad)
    cache = None if cache_dir is None else _cache_file(cache_dir, items, recipe)
    cached = None if cache is None else _read_cache(cache, len(items), size)
    if cached is None:  # even one image may be too large to bring to the grid
        _refuse_too_large((1, 1, *size), psutil.virtual_memory().available, "of memory are free", "free some memory")
    if cached is not None:
        voxels, filled = cached
        step(len(items))
    elif cache is not None:
        voxels, filled = _fill_cache(cache, items, recipe, step)
    else:
        peeked = _peek(items, recipe)
        shape = (len(items), *_shape(peeked, recipe))
        _refuse_too_large(shape, psutil.virtual_memory().available, "of memory are free", "give --images.cache-dir")
        voxels = np.empty(shape, np.float32)
        filled = _fill(voxels, peeked, items, recipe, step)
    import torch

    bad = dict(filled.bad)
    kept = [item for number, item in enumerate(items) if number not in bad]
    return ImageSet(
        torch.from_numpy(voxels[: len(kept)]),
        tuple(item.name for item in kept),
        tuple(item.patient for item in kept),
        filled.affine,
        tuple(Skipped(items[number].name, reason) for number, reason in filled.bad),
        classes,
        are_slices=all(item.is_slice for item in items),
    )


def _prepare(item: Item, recipe: _Recipe) -> Image:
    image = item.read()
    if image.voxels.ndim - 1 != len(recipe.size):
        raise wrong_axes(item.name, image.voxels.ndim - 1, len(recipe.size))
    if not recipe.classes:
        return _gridded(image, item.name, recipe)
    if len(image.voxels) < 2:
        raise ImageError(
            f"{item.name} has one channel, which cannot be both image and label map",
            fix="give images with their label map as the last channel",
        )
    spread_out = spread(image.voxels[-1:], recipe.classes, item.name)
    outside = float(spread(np.array([background_class(recipe.classes)], np.float32), recipe.classes)[0])
    label = to_grid(
        Image(spread_out, image.affine), recipe.size, recipe.fit, spacing_mm=recipe.spacing_mm, outside=outside
    )
    others = _gridded(replace(image, voxels=image.voxels[:-1]), item.name, recipe)
    return Image(np.concatenate([others.voxels, label.voxels]), others.affine)


def _gridded(image: Image, name: str, recipe: _Recipe) -> Image:
    """An image without a label map, normalised and brought to the grid."""
    channels = len(image.voxels)
    ranges = None if image.ranges is None else image.ranges[:channels]
    if recipe.window is not None:
        ranges = window_ranges(recipe.window, channels, name)
    # first the intensities: on the grid, the padding would have a say in the percentiles
    normal = Image(normalise(image.voxels, ranges), image.affine)
    return to_grid(normal, recipe.size, recipe.fit, spacing_mm=recipe.spacing_mm)


def _peek(items: Sequence[Item], recipe: _Recipe) -> dict[int, Image]:
    """The first image by its number, or, where single ones may be bad, the first few that can be used."""
    if not recipe.skip_bad:
        return {0: _prepare(items[0], recipe)}
    peeked: dict[int, Image] = {}
    reason = ""
    for number, item in enumerate(items):
        try:
            peeked[number] = _prepare(item, recipe)
        except ImageError as error:
            reason = reason or error.problem
        if len(peeked) == MOST_PEEKED:
            break
    if not peeked:
        raise ImageError(
            f"none of {plural(len(items), 'image')} can be used; the first: {reason}", fix="export them again"
        )
    return peeked


def _shape(peeked: dict[int, Image], recipe: _Recipe) -> tuple[int, ...]:
    """(C, *size), with the number of channels that most of the images looked at have, unless it is given."""
    usual = Counter(len(image.voxels) for image in peeked.values()).most_common(1)[0][0]
    return (recipe.channels or usual, *recipe.size)


def _fill(
    voxels: NDArray[np.float32], peeked: dict[int, Image], items: Sequence[Item], recipe: _Recipe, step: Step
) -> _Filled:
    """Decode all items into the first rows of ``voxels`` (N, C, *size)."""
    affines: list[NDArray[np.float64]] = []
    bad: list[tuple[int, str]] = []
    beside = "the others have"
    for number, item in enumerate(items):
        try:
            image = peeked.pop(number, None) or _prepare(item, recipe)
            _refuse_other_channels(item, len(image.voxels), voxels.shape[1], beside)
        except ImageError as error:
            if not recipe.skip_bad:
                raise
            bad.append((number, item.left_out(error).reason))
        else:
            voxels[len(affines)] = image.voxels
            affines.append(image.affine)
            beside = f"{item.name} has"
        step(1)
    if not affines:
        raise ImageError(
            f"none of {plural(len(items), 'image')} can be used; the first: {bad[0][1]}", fix="export them again"
        )
    return _Filled(np.median(affines, axis=0), tuple(bad))


def _refuse_other_channels(item: Item, channels: int, expected: int, beside: str) -> None:
    if channels != expected:
        raise ImageError(
            f"{item.name} has {channels} channels and {beside} {expected}",
            fix="convert all images to gray, or all to colour",
        )


def _refuse_too_large(shape: tuple[int, ...], free: int, where: str, fix: str) -> None:
    if (needed := 4 * math.prod(shape)) > 0.9 * free:
        raise ImageError(
            f"{shape[0]} images of {' x '.join(map(str, shape[1:]))} need {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB {where}",
            fix=f"{fix}, or a smaller --images.size",
        )


def _cache_file(cache_dir: Path, items: Sequence[Item], recipe: _Recipe) -> Path | None:
    """Where the result belongs; None if an item cannot tell whether its image has changed."""
    versions = [item.version for item in items]
    if None in versions:
        return None
    key = json.dumps([CACHE_VERSION, astuple(recipe), versions])
    return cache_dir / CACHE_FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()}.npy"


def _read_cache(path: Path, count: int, size: tuple[int, ...]) -> tuple[NDArray[np.float32], _Filled] | None:
    """The voxels, mapped, and the rest; None if they are not there or damaged, so that they are made anew."""
    try:
        # copy on write: torch needs a writable array, and the file must stay as it is
        voxels = np.load(path, mmap_mode="c", allow_pickle=False)
        about = json.loads(path.with_suffix(".json").read_text("utf-8"))
        filled = _Filled(
            np.array(about["affine"], np.float64), tuple((int(number), str(reason)) for number, reason in about["bad"])
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    fits = voxels.dtype == np.float32 and voxels.shape[:1] == (count,) and voxels.shape[2:] == size
    return (voxels, filled) if fits and filled.affine.shape == (4, 4) else None


def _fill_cache(path: Path, items: Sequence[Item], recipe: _Recipe, step: Step) -> tuple[NDArray[np.float32], _Filled]:
    """Decode all items into ``path``, which is whole or not there, and map it."""
    peeked = _peek(items, recipe)
    shape = (len(items), *_shape(peeked, recipe))
    for folder in (path.parent.parent, path.parent):  # for the user alone: these are patients' images
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_too_large(shape, shutil.disk_usage(path.parent).free, f"are free in {path.parent}", "use another disk")
    with replacing(path) as temporary:
        voxels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        filled = _fill(voxels, peeked, items, recipe, step)
        voxels.flush()
        del voxels
        write_json(path.with_suffix(".json"), {"affine": filled.affine.tolist(), "bad": filled.bad})
    return np.load(path, mmap_mode="c", allow_pickle=False), filled
