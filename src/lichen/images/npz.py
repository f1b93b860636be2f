"""Reading the .npz files of MedMNIST: one array of images per split.

``train_images`` is (N, H, W), (N, H, W, 3), (N, D, H, W) or (N, D, H, W, 3); labels are not used.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import psutil
from numpy.lib import format as npy
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.images.normalise import refuse_non_finite
from lichen.images.types import Geometry, Image, Item, Source

_DAMAGED = (OSError, EOFError, ValueError, KeyError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)
"""What numpy and zipfile raise for a damaged file; RuntimeError for one that is encrypted or uses unknown features."""


def open_npz(path: Path, split: str = "train") -> Source:
    """The images of one split of the .npz file ``path``, each a patient of its own, in the file's order.

    The array is decoded once, when the first image is read, and then shared. Raises ImageError for a missing split, a
    damaged file, an array of another shape or of Python objects, or one that memory cannot hold.
    """
    key = f"{split}_images"
    shape, kind = _read_header(path, key)
    spatial, channels = _axes(path, key, shape)
    if kind.kind not in "biuf":
        raise ImageError(f"{path} holds {key} of the type {kind}", fix="save the images as uint8 or float32")
    if (needed := math.prod(shape) * kind.itemsize) > (available := psutil.virtual_memory().available):
        raise ImageError(
            f"{path} needs {needed / 1e9:.1f} GB for {key}, and {available / 1e9:.1f} GB of memory are free",
            fix="use a smaller size of the data set",
        )

    @lru_cache(maxsize=1)
    def load() -> NDArray[np.generic]:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                images: NDArray[np.generic] = arrays[key]
        except _DAMAGED as error:
            raise _unreadable(path, error) from error
        images = images if channels > 1 else images.reshape(*images.shape[: spatial + 1], 1)
        gray = channels > 1 and bool((images == images[..., :1]).all())
        return images[..., :1] if gray else images

    def reader(index: int) -> Callable[[], Image]:
        def read() -> Image:
            voxels = np.ascontiguousarray(np.moveaxis(load()[index], -1, 0), np.float32)
            refuse_non_finite(voxels, f"{path}: {key}[{index}]")
            return Image(voxels, np.eye(4))

        return read

    state = path.stat()
    geometry = Geometry(shape[1 : spatial + 1], (1.0,) * spatial)
    items = []
    for index in range(shape[0]):
        name = f"{key}[{index}]"
        version = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{name}"
        items.append(Item(name, name, reader(index), lambda: geometry, version))
    return Source(
        path.name,
        tuple(items),
        spatial,
        is_phantom=False,
        patients_known=False,
        note=f"{path.name} names no patients: each image counts as a patient of its own",
    )


def _read_header(path: Path, key: str) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of one array, without decoding it."""
    try:
        with zipfile.ZipFile(path) as archive:
            splits = sorted(name.removesuffix("_images.npy") for name in archive.namelist() if "_images.npy" in name)
            if f"{key}.npy" not in archive.namelist():
                raise ImageError(
                    f"{path} has no array {key}" + (f"; it has images of: {', '.join(splits)}" if splits else ""),
                    fix=f"give --images.npz-split {splits[0]}" if splits else "name the array of images train_images",
                )
            size = archive.getinfo(f"{key}.npy").file_size
            with archive.open(f"{key}.npy") as file:
                read = npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
                shape, _, kind = read(file)
    except _DAMAGED as error:
        raise _unreadable(path, error) from error
    if not kind.hasobject and math.prod(shape) * kind.itemsize > size:
        raise ImageError(
            f"{path} claims {' x '.join(map(str, shape))} values in {key}, more than its {size} bytes can hold",
            fix="the file is damaged or cut short: download it again",
        )
    return shape, kind


def _axes(path: Path, key: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Spatial axes and channels of an array of images; a last axis of three values is colour."""
    if len(shape) in {3, 4, 5} and min(shape) > 0:
        channels = 3 if len(shape) > 3 and shape[-1] == 3 else 1
        spatial = len(shape) - 1 - (channels > 1)
        if spatial in {2, 3}:
            return spatial, channels
    raise ImageError(
        f"{path} has {key} of shape {' x '.join(map(str, shape))}",
        fix="save the images as (N, H, W), (N, H, W, 3), (N, D, H, W) or (N, D, H, W, 3)",
    )


def _unreadable(path: Path, error: Exception) -> ImageError:
    return ImageError(
        f"{path} cannot be read as npz: {' '.join(str(error).split()) or type(error).__name__}",
        fix="the file is damaged, cut short or holds Python objects: download it again, or save plain arrays",
    )
