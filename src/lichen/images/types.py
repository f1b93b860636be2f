"""What the other modules of this room hand to each other: an image, an image not yet decoded, and sets of both.

Axes. Voxel arrays are (C, *S). In three dimensions *S follows the NIfTI's axes turned to the closest of right,
anterior, superior (RAS+). In two dimensions *S is (rows from top to bottom, columns from left to right); of a volume
one voxel thick, its two RAS+ axes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lichen.errors import ImageError

if TYPE_CHECKING:
    import torch

SYNTHETIC_MARK = "lichen: synthetic image"
"""Stands in the description of every image file that lichen writes."""


@dataclass(frozen=True)
class Geometry:
    """How many voxels an image has along each axis (shape *S, without channels) and how far apart they are."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Image:
    """One decoded image."""

    voxels: NDArray[np.float32]
    """(C, *S), two or three spatial axes; raw intensities unless said otherwise."""
    affine: NDArray[np.float64]
    """(4, 4): voxel index (i, j, k, 1) to mm, k = 0 in two dimensions. Pictures know no mm: one pixel counts as one."""

    def __post_init__(self) -> None:
        if self.voxels.ndim not in {3, 4} or self.affine.shape != (4, 4):
            raise ValueError(
                f"voxels {self.voxels.shape} with an affine {self.affine.shape}; "
                "need (C, *S) of two or three spatial axes, and (4, 4)"
            )

    @property
    def geometry(self) -> Geometry:
        """Shape and spacing, without the voxels."""
        return Geometry(self.voxels.shape[1:], spacing_mm(self.affine, self.voxels.ndim - 1))


@dataclass(frozen=True)
class Item:
    """An image not yet decoded."""

    name: str
    """Path relative to the folder, with forward slashes; ``train_images[12]`` in an npz; ``phantom-0003-1``."""
    patient: str
    """Images of one patient never lie on both sides of a split."""
    read: Callable[[], Image]
    """Decodes the image; raises ImageError."""
    look: Callable[[], Geometry] | None = None
    """Reads the geometry without decoding, where that is possible; raises ImageError."""
    version: str | None = None
    """A text that changes whenever the image may have changed; None: the image is never cached on disk."""
    home: str = ""
    """What stands before names in messages: the folder as it was given, with its closing slash."""

    def left_out(self, error: ImageError) -> Skipped:
        """This image as one that cannot be used; what the error says, without the folder."""
        return Skipped(self.name, error.problem.replace(self.home, ""))


@dataclass(frozen=True)
class Skipped:
    """An image that was left out because it cannot be used."""

    name: str
    """As in ``Item``: no absolute path."""
    reason: str
    """What is wrong with it; no absolute path either."""


@dataclass(frozen=True)
class Source:
    """What a folder, an npz file or the phantoms hold."""

    label: str
    """Short description: the folder's name, or e.g. ``built-in phantoms (2d)``."""
    items: tuple[Item, ...]
    """Sorted by name; the images of an npz in its order."""
    spatial_dims: int
    """2 or 3."""
    is_phantom: bool
    """Phantoms are nobody's images and may be shown."""
    patients_known: bool = True
    """False where nothing says which images belong to one patient: each image then counts as a patient of its own."""
    note: str = ""
    """A sentence for the user about the source, e.g. where the patients were taken from."""
    skipped: tuple[Skipped, ...] = ()
    """What was left out when the source was opened, on request; ``items`` may still hold images that do not decode."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images decoded, normalised and brought to one grid."""

    voxels: torch.Tensor
    """(N, C, *S) float32 in [-1, 1]."""
    names: tuple[str, ...]
    patients: tuple[str, ...]
    affine: NDArray[np.float64]
    """(4, 4) of the grid: the elementwise median over the images."""
    skipped: tuple[Skipped, ...] = ()
    """What was left out, on request."""

    def sha256(self) -> str:
        """Hash of names, patients and voxels: what an audit was made of."""
        digest = hashlib.sha256(repr((self.names, self.patients, tuple(self.voxels.shape))).encode())
        digest.update(np.ascontiguousarray(self.voxels.numpy()).data)
        return digest.hexdigest()


def spacing_mm(affine: NDArray[np.float64], spatial_dims: int) -> tuple[float, ...]:
    """The distance of neighbouring voxels along each axis, in mm, from an affine (4, 4)."""
    return tuple(float(length) for length in np.linalg.norm(affine[:3, :spatial_dims], axis=0))
