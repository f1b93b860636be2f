"""What the other modules of this room hand to each other: an image, an image not yet decoded, and sets of both.

Axes. Voxel arrays are (C, *S). In three dimensions *S follows the NIfTI's axes turned to the closest of right,
anterior, superior (RAS+). In two dimensions *S is (rows from top to bottom, columns from left to right); of a volume
one voxel thick, its two RAS+ axes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
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

    def __str__(self) -> str:
        spacing = " x ".join(f"{mm:.4g}" for mm in self.spacing_mm)
        return f"{' x '.join(map(str, self.shape))} of {spacing} mm"


@dataclass(frozen=True, eq=False)
class Image:
    """One decoded image."""

    voxels: NDArray[np.float32]
    """(C, *S), two or three spatial axes; raw intensities unless said otherwise."""
    affine: NDArray[np.float64]
    """(4, 4): voxel index (i, j, k, 1) to mm, k = 0 in two dimensions. Pictures know no mm: one pixel counts as one."""
    ranges: NDArray[np.float64] | None = None
    """(C, 2) intensities that are to become -1 and 1, of a slice those of its volume; None: the image's own."""

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
class LabelScan:
    """What a label map says as a whole."""

    classes: frozenset[int]
    """The values that occur."""
    shares: tuple[float, ...]
    """Of each axial slice of a volume, or of a picture, the share of all its voxels whose label is above 0."""
    geometry: Geometry


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
    scan_label: Callable[[], LabelScan] | None = None
    """Reads the label map that belongs to the image, and nothing else; raises ImageError. None: there is none."""
    is_slice: bool = False
    """Whether it is one of the slices of a volume, see ``slices.py``."""
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
    channels: tuple[str, ...] = ()
    """The names of the channels, where the settings or a table give them."""
    has_label_map: bool = False
    """Whether the last channel of each image is a label map."""


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
    classes: tuple[int, ...] = ()
    """The values of the label map, which is the last channel, see ``labels.py``; empty: there is none."""
    are_slices: bool = False
    """Whether the images are slices of volumes."""

    @property
    def without_label_map(self) -> ImageSet:
        """The same images without their label maps; voxels are shared."""
        return replace(self, voxels=self.voxels[:, :-1], classes=()) if self.classes else self

    def sha256(self) -> str:
        """Hash of names, patients and voxels: what an audit was made of."""
        digest = hashlib.sha256(repr((self.names, self.patients, tuple(self.voxels.shape))).encode())
        digest.update(np.ascontiguousarray(self.voxels.numpy()).data)
        return digest.hexdigest()


def spacing_mm(affine: NDArray[np.float64], spatial_dims: int) -> tuple[float, ...]:
    """The distance of neighbouring voxels along each axis, in mm, from an affine (4, 4)."""
    return tuple(float(length) for length in np.linalg.norm(affine[:3, :spatial_dims], axis=0))
