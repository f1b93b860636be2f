"""Small pictures of samples as PNG data URIs: a 2D picture whole, a volume as its three middle slices.

Of several channels each is shown, a label map in the colours of its classes.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lichen.palette import coloured

MAX_SIDE = 160
"""Longest side of a picture or of a slice, in pixels; a larger one is reduced."""
_MAX_VOXELS = 2**27
_GAP = 4


class ThumbnailError(ValueError):
    """A file is no picture that can be shown; the text says why."""


@dataclass(frozen=True)
class Thumbnail:
    """A picture to put in an ``img``: data URI, size in pixels and what it shows."""

    uri: str
    width: int
    height: int
    shows: str
    is_volume: bool = False
    """Whether it shows three planes of a volume."""
    channels: int = 1
    """How many are shown, each by itself; a colour picture is one."""


def thumbnail(path: Path, classes: Sequence[int] = ()) -> Thumbnail:
    """The picture of a ``.png``, ``.nii`` or ``.nii.gz`` file; with ``classes`` its last channel is a label map.

    Raises:
        ThumbnailError: the file cannot be decoded, or is too large to be a sample.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        return _strip(path, classes)
    return _encode(_picture(path), "whole picture", MAX_SIDE)


def _picture(path: Path) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 3)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                if image.mode.startswith("I"):
                    return (np.asarray(image).astype(np.float64) / 257).clip(0, 255).round().astype(np.uint8)
                return np.asarray(image.convert("RGB" if image.mode in {"RGB", "RGBA", "P"} else "L"))
    except UnidentifiedImageError as error:
        raise ThumbnailError("not a PNG file") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ThumbnailError("too large") from error
    except (OSError, ValueError, SyntaxError) as error:  # Pillow reports a damaged PNG as SyntaxError
        raise ThumbnailError("damaged") from error


def _strip(path: Path, classes: Sequence[int]) -> Thumbnail:
    """Every channel of a NIfTI: those of a picture beside each other, those of a volume as a row of planes each."""
    volume, spacing_mm = _volume(path)
    *sizes, channels = volume.shape
    is_volume = sizes[2] > 1
    # one scale for all planes, in pixels per mm, so that they fit together
    longest_mm = max(size * step for size, step in zip(sizes, spacing_mm, strict=True))
    scale = min(1 / min(spacing_mm), MAX_SIDE / longest_mm)
    rows = []
    for channel in range(channels):
        is_label = bool(classes) and channel == channels - 1
        shown = volume[..., channel] if is_label else _grey(volume[..., channel])
        panes = []
        for across, down, through in _PLANES if is_volume else [(1, 0, 2)]:
            plane = shown.take(sizes[through] // 2, axis=through)
            if is_volume:
                plane = plane.T[::-1, ::-1]
            picture = coloured(plane, classes) if is_label else (plane * 255).round().astype(np.uint8)
            width, height = (max(1, round(sizes[axis] * spacing_mm[axis] * scale)) for axis in (across, down))
            panes.append(_resized(picture, (width, height), smooth=not is_label))
        rows.append(_beside(panes))
    if any(row.ndim == 3 for row in rows):
        rows = [row if row.ndim == 3 else np.repeat(row[..., None], 3, axis=2) for row in rows]
    pixels = np.concatenate([_above(row) for row in rows]) if is_volume and channels > 1 else np.hstack(rows)
    shows = "three middle slices: axial, coronal, sagittal" if is_volume else "whole picture"
    if channels > 1:
        where = "below each other" if is_volume else "beside each other"
        shows += f"; {channels} channels {where}{', the last one a label map in colours' if classes else ''}"
    return _encode(pixels, shows, max(3, channels) * MAX_SIDE, is_volume=is_volume, channels=channels)


_PLANES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))
"""Axial, coronal and sagittal: axes across, upwards and through; the patient's right and front are on the left."""


def _grey(channel: NDArray[np.float32]) -> NDArray[np.float64]:
    """A channel (X, Y, Z) in [0, 1]."""
    low, high = np.percentile(channel, (0.5, 99.5))
    return np.asarray(((channel - low) / max(float(high - low), 1e-12)).clip(0, 1), np.float64)


def _beside(panes: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of different heights in a row, each in the middle, with gaps."""
    height = max(pane.shape[0] for pane in panes)
    framed = []
    for pane in panes:
        above = (height - pane.shape[0]) // 2
        edges = ((above, height - pane.shape[0] - above), (_GAP, _GAP), (0, 0))
        framed.append(np.pad(pane, edges[: pane.ndim]))
    return np.concatenate(framed, axis=1)


def _above(row: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(row, ((_GAP, _GAP), (0, 0), (0, 0))[: row.ndim])


def _volume(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """(X, Y, Z, C) in RAS+ order, or a picture (rows, columns, 1, C) as it is, and its spacing in mm."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        image: Any = nib.Nifti1Image.from_filename(str(path))
        # before any voxel is touched: a header of a few bytes can promise terabytes
        if len(image.shape) < 3 or min(image.shape) < 1 or np.prod(image.shape, dtype=np.float64) > _MAX_VOXELS:
            raise ThumbnailError(f"not a volume of a size that can be shown: {image.shape}")
        if image.shape[2] > 1:
            image = nib.as_closest_canonical(image)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    except (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, WrapStructError) as error:
        raise error if isinstance(error, ThumbnailError) else ThumbnailError("not a readable NIfTI file") from error
    voxels = np.nan_to_num(voxels.reshape(*voxels.shape[:3], -1), posinf=0.0, neginf=0.0)
    dx, dy, dz = (size if 0.01 <= size <= 100 else 1.0 for size in spacing)
    return voxels, (dx, dy, dz)


def _resized(picture: NDArray[np.uint8], size: tuple[int, int], *, smooth: bool) -> NDArray[np.uint8]:
    """A picture (H, W) in another ``size`` (W, H); a label map is not ``smooth``."""
    from PIL import Image

    whole = Image.fromarray(np.ascontiguousarray(picture))
    how = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return np.asarray(whole if whole.size == size else whole.resize(size, how))


def _encode(
    pixels: NDArray[np.uint8], shows: str, longest: int, *, is_volume: bool = False, channels: int = 1
) -> Thumbnail:
    from PIL import Image

    picture = Image.fromarray(pixels)
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)  # written anew: no metadata of the file travels along
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    uri = f"data:image/png;base64,{text}"
    return Thumbnail(uri, picture.width, picture.height, shows, is_volume=is_volume, channels=channels)
