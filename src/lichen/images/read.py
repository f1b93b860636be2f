"""Reading one image file, whatever its format."""

from __future__ import annotations

from pathlib import Path

from lichen.errors import ImageError
from lichen.images import nifti, pictures
from lichen.images.normalise import refuse_non_finite
from lichen.images.types import Geometry, Image


def is_nifti(name: str) -> bool:
    """Whether a file of this name is read as a NIfTI volume."""
    return name.lower().endswith(nifti.SUFFIXES)


def is_image(name: str) -> bool:
    """Whether a file of this name is read as an image."""
    return name.lower().endswith((*nifti.SUFFIXES, *pictures.SUFFIXES))


def read_image(path: Path) -> Image:
    """The image in ``path``; raises ImageError if it cannot be read or has voxels that are NaN or infinite."""
    image = nifti.read_nifti(path) if _kind(path) == "nifti" else pictures.read_picture(path)
    refuse_non_finite(image.voxels, str(path))
    return image


def look_image(path: Path) -> Geometry:
    """Shape and spacing of the image in ``path`` without decoding its voxels; raises ImageError."""
    return nifti.look_nifti(path) if _kind(path) == "nifti" else pictures.look_picture(path)


def _kind(path: Path) -> str:
    if not is_image(path.name):
        suffixes = " ".join((*nifti.SUFFIXES, *pictures.SUFFIXES))
        raise ImageError(f"{path} is no image that can be read here", fix=f"use one of {suffixes}")
    if not path.is_file():
        raise ImageError(f"{path} is not there", fix="check the path")
    return "nifti" if is_nifti(path.name) else "picture"
