"""Small grey pictures of samples as PNG data URIs: a 2D picture whole, a volume as its three middle slices."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def thumbnail(path: Path) -> Thumbnail:
    """The picture of a ``.png``, ``.nii`` or ``.nii.gz`` file.

    Raises:
        ThumbnailError: the file cannot be decoded, or is too large to be a sample.
    """
    if path.name.endswith((".nii", ".nii.gz")):
        return _encode(_three_slices(path), "three middle slices: axial, coronal, sagittal", 3 * MAX_SIDE)
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


def _three_slices(path: Path) -> NDArray[np.uint8]:
    """(H, W): the middle axial, coronal and sagittal slice side by side, head up, in the proportions of the body."""
    volume, spacing_mm = _volume(path)
    low, high = np.percentile(volume, (0.5, 99.5))
    grey = ((volume - low) / max(float(high - low), 1e-12)).clip(0, 1)
    x, y, z = (size // 2 for size in grey.shape)
    dx, dy, dz = spacing_mm
    # one scale for all three, in pixels per mm, so that the slices fit together
    longest_mm = max(size * step for size, step in zip(grey.shape, spacing_mm, strict=True))
    scale = min(1 / min(spacing_mm), MAX_SIDE / longest_mm)
    panes = [
        _upright(grey[:, :, z], dx * scale, dy * scale),
        _upright(grey[:, y, :], dx * scale, dz * scale),
        _upright(grey[x, :, :], dy * scale, dz * scale),
    ]
    height = max(pane.shape[0] for pane in panes)
    framed = []
    for pane in panes:
        above = (height - pane.shape[0]) // 2
        framed.append(np.pad(pane, ((above, height - pane.shape[0] - above), (_GAP, _GAP))))
    return np.concatenate(framed, axis=1)


def _volume(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """(X, Y, Z) in RAS+ order, and its spacing in mm."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    try:
        image: Any = nib.Nifti1Image.from_filename(str(path))
        # before any voxel is touched: a header of a few bytes can promise terabytes
        if len(image.shape) < 3 or min(image.shape) < 1 or np.prod(image.shape, dtype=np.float64) > _MAX_VOXELS:
            raise ThumbnailError(f"not a volume of a size that can be shown: {image.shape}")
        image = nib.as_closest_canonical(image)
        voxels = np.asarray(image.dataobj, dtype=np.float32)
        spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    except (OSError, EOFError, ValueError, ImageFileError, HeaderDataError, WrapStructError) as error:
        raise error if isinstance(error, ThumbnailError) else ThumbnailError("not a readable NIfTI file") from error
    voxels = np.nan_to_num(voxels.reshape(*voxels.shape[:3], -1)[..., 0], posinf=0.0, neginf=0.0)
    dx, dy, dz = (size if 0.01 <= size <= 100 else 1.0 for size in spacing)
    return voxels, (dx, dy, dz)


def _upright(plane: NDArray[np.float32], across: float, up: float) -> NDArray[np.uint8]:
    """(across, up) -> (H, W) picture with the second axis upwards; ``across`` and ``up`` are pixels per voxel."""
    from PIL import Image

    picture = Image.fromarray((np.flipud(plane.T) * 255).round().astype(np.uint8))
    size = (max(1, round(plane.shape[0] * across)), max(1, round(plane.shape[1] * up)))
    return np.asarray(picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR))


def _encode(pixels: NDArray[np.uint8], shows: str, longest: int) -> Thumbnail:
    from PIL import Image

    picture = Image.fromarray(pixels)
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)  # written anew: no metadata of the file travels along
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/png;base64,{text}", picture.width, picture.height, shows)
