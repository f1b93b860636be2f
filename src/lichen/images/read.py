"""Reading one image file, whatever its format."""

from __future__ import annotations

from pathlib import Path

from lichen.config import Volumes
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


def stem(name: str) -> str:
    """The name of an image without its suffixes: ``a/b_T1w`` of ``a/b_T1w.nii.gz``."""
    suffixes = sorted((*nifti.SUFFIXES, *pictures.SUFFIXES), key=len, reverse=True)
    return next((name[: -len(suffix)] for suffix in suffixes if name.lower().endswith(suffix)), name)


def read_image(path: Path, *, volumes: Volumes = "auto", number: int | None = None) -> Image:
    """The image in ``path``; of a NIfTI with several volumes the one of this ``number``.

    Raises ImageError if it cannot be read or has voxels that are NaN or infinite.
    """
    nifti_file = _kind(path) == "nifti"
    image = nifti.read_nifti(path, volumes, number) if nifti_file else pictures.read_picture(path)
    refuse_non_finite(image.voxels, str(path) if number is None else f"{path}[{number}]")
    return image


def look_image(path: Path) -> Geometry:
    """Shape and spacing of the image in ``path`` without decoding its voxels; raises ImageError."""
    return nifti.look_nifti(path) if _kind(path) == "nifti" else pictures.look_picture(path)


def _kind(path: Path) -> str:
    if not is_image(path.name):
        suffixes = " ".join((*nifti.SUFFIXES, *pictures.SUFFIXES))
        raise ImageError(f"{path} is no image that can be read here", fix=f"use one of {suffixes}")
    if path.is_symlink() and not path.exists():
        raise ImageError(f"{path} is a link that leads to nothing", fix="remove the link, or restore what it points to")
    if not path.is_file():
        raise ImageError(f"{path} is not there", fix="check the path")
    return "nifti" if is_nifti(path.name) else "picture"
