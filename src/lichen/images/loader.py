"""From items to one tensor: decode, normalise, bring to the grid, once."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.files import replacing, write_json
from lichen.images.grid import Fit, to_grid
from lichen.images.normalise import normalise
from lichen.images.size import wrong_axes
from lichen.images.types import Image, ImageSet, Item
from lichen.progress import Step, silent

CACHE_FOLDER = "patient-images-cache"
"""Says in its name what it holds: real images of patients, decoded."""
CACHE_VERSION = 1
"""Raised whenever decoding, normalising or gridding changes what comes out."""


def load_set(
    items: Sequence[Item],
    size: tuple[int, ...],
    fit: Fit = "resize",
    *,
    cache_dir: Path | None = None,
    step: Step = silent,
) -> ImageSet:
    """Decode and normalise ``items`` and bring them to the grid ``size``; ``step`` is told of each image finished.

    With ``cache_dir`` the result is kept in ``cache_dir/patient-images-cache`` under the SHA-256 of all that
    determines it, and the next call maps that file and decodes nothing; changing the tensor in place never changes
    the file. Raises ImageError if there are no items, if an image cannot be read or has another number of channels or
    axes than the others, or if the set fits neither into memory nor on the disk of ``cache_dir``.
    """
    if not items:
        raise ImageError("there are no images to load", fix="give a folder with images, or hold out fewer patients")
    cache = None if cache_dir is None else _cache_file(cache_dir, items, size, fit)
    cached = None if cache is None else _read_cache(cache, len(items), size)
    if cached is None:  # even one image may be too large to bring to the grid
        _refuse_too_large((1, 1, *size), psutil.virtual_memory().available, "of memory are free", "free some memory")
    if cached is not None:
        voxels, affine = cached
        step(len(items))
    elif cache is not None:
        voxels, affine = _fill_cache(cache, items, size, fit, step)
    else:
        first = _prepare(items[0], size, fit)
        shape = (len(items), *first.voxels.shape)
        _refuse_too_large(shape, psutil.virtual_memory().available, "of memory are free", "give --images.cache-dir")
        voxels = np.empty(shape, np.float32)
        affine = _fill(voxels, first, items, size, fit, step)
    import torch

    return ImageSet(
        torch.from_numpy(voxels), tuple(item.name for item in items), tuple(item.patient for item in items), affine
    )


def _prepare(item: Item, size: tuple[int, ...], fit: Fit) -> Image:
    image = item.read()
    if image.voxels.ndim - 1 != len(size):
        raise wrong_axes(item.name, image.voxels.ndim - 1, len(size))
    # first the intensities: on the grid, the padding would have a say in the percentiles
    return to_grid(Image(normalise(image.voxels), image.affine), size, fit)


def _fill(
    voxels: NDArray[np.float32], first: Image, items: Sequence[Item], size: tuple[int, ...], fit: Fit, step: Step
) -> NDArray[np.float64]:
    """Decode all items into ``voxels`` (N, C, *size); returns the median affine (4, 4)."""
    affines = []
    for index, item in enumerate(items):
        image = first if index == 0 else _prepare(item, size, fit)
        if image.voxels.shape != voxels.shape[1:]:
            raise ImageError(
                f"{item.name} has {len(image.voxels)} channels and {items[0].name} has {voxels.shape[1]}",
                fix="convert all images to gray, or all to colour",
            )
        voxels[index] = image.voxels
        affines.append(image.affine)
        step(1)
    return np.median(affines, axis=0)


def _refuse_too_large(shape: tuple[int, ...], free: int, where: str, fix: str) -> None:
    if (needed := 4 * math.prod(shape)) > 0.9 * free:
        raise ImageError(
            f"{shape[0]} images of {' x '.join(map(str, shape[1:]))} need {needed / 1e9:.1f} GB, "
            f"and {free / 1e9:.1f} GB {where}",
            fix=f"{fix}, or a smaller --images.size",
        )


def _cache_file(cache_dir: Path, items: Sequence[Item], size: tuple[int, ...], fit: Fit) -> Path | None:
    """Where the result belongs; None if an item cannot tell whether its image has changed."""
    versions = [item.version for item in items]
    if None in versions:
        return None
    key = json.dumps([CACHE_VERSION, list(size), fit, versions])
    return cache_dir / CACHE_FOLDER / f"{hashlib.sha256(key.encode()).hexdigest()}.npy"


def _read_cache(
    path: Path, count: int, size: tuple[int, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """The voxels, mapped, and the affine; None if they are not there or damaged, so that they are made anew."""
    try:
        # copy on write: torch needs a writable array, and the file must stay as it is
        voxels = np.load(path, mmap_mode="c", allow_pickle=False)
        affine = np.array(json.loads(path.with_suffix(".json").read_text("utf-8"))["affine"], np.float64)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        return None
    fits = voxels.dtype == np.float32 and voxels.shape[:1] == (count,) and voxels.shape[2:] == size
    return (voxels, affine) if fits and affine.shape == (4, 4) else None


def _fill_cache(
    path: Path, items: Sequence[Item], size: tuple[int, ...], fit: Fit, step: Step
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Decode all items into ``path``, which is whole or not there, and map it."""
    first = _prepare(items[0], size, fit)
    shape = (len(items), *first.voxels.shape)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # for the user alone: these are patients' images
    _refuse_too_large(shape, shutil.disk_usage(path.parent).free, f"are free in {path.parent}", "use another disk")
    with replacing(path) as temporary:
        voxels = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        affine = _fill(voxels, first, items, size, fit, step)
        voxels.flush()
        del voxels
        write_json(path.with_suffix(".json"), {"affine": affine.tolist()})
    return np.load(path, mmap_mode="c", allow_pickle=False), affine
