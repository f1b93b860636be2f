"""Images as unit rows: background masked, mean removed, length 1, so that a scalar product of two is a correlation.

Rows are read in blocks, from wherever they are: held in memory, made from images when asked for, or in a file
(``row_file``). Whoever multiplies them (``tiles``) need not know which.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = 0.05
"""A voxel is background if its standard deviation over the training images is at most this share of the largest."""
BLOCK_BYTES = 64 * 2**20
"""Working memory of one block of images being standardised; a block holds one image at least."""
FLAT = 1e-6
"""An image whose standard deviation is at most this share of its largest value has no contrast: rounding remains."""


class Rows(Protocol):
    """N unit rows of V voxels that are read in blocks."""

    def __len__(self) -> int:
        """N."""

    def read(self, block: slice) -> tuple[Tensor, Tensor]:
        """Rows ``block``: (n, V) float32, and which of the images have contrast: (n,) bool; the others' rows are 0."""


@dataclass(frozen=True)
class HeldRows:
    """Rows in memory."""

    rows: Tensor
    """(N, V) float32."""
    contrast: Tensor
    """(N,) bool."""

    def __len__(self) -> int:
        """N."""
        return len(self.rows)

    def read(self, block: slice) -> tuple[Tensor, Tensor]:
        """A view of rows ``block``."""
        return self.rows[block], self.contrast[block]


@dataclass(frozen=True)
class ImageRows:
    """Rows made from ``images`` each time they are read; the images may be mapped from a file."""

    images: Tensor
    """(N, C, *S)."""
    mask: Tensor
    """(C * prod(S),) bool, on the device where the rows are wanted."""

    def __len__(self) -> int:
        """N."""
        return len(self.images)

    def read(self, block: slice) -> tuple[Tensor, Tensor]:
        """Standardise images ``block``."""
        return unit_rows(self.images[block].to(self.mask.device), self.mask)


def varying_voxels(images: Tensor) -> Tensor:
    """Which voxels are not background: (C * prod(S),) bool for ``images`` (N, C, *S).

    Background is where the images hardly differ from each other. Left in, the common black around a body makes all
    images resemble each other. The mask comes from the training images alone, so that it treats synthetic and held-out
    images alike. Where no voxel varies (one training image, or equal ones) all voxels count.
    """
    flat = images.flatten(1)
    first = flat[:1].double()
    total = torch.zeros_like(first[0])
    squares = torch.zeros_like(first[0])
    for block in image_blocks(images):
        # Relative to the first image, so that a constant voxel gives exactly 0 and not a rounding error.
        shifted = flat[block].double() - first
        total += shifted.sum(0)
        squares += shifted.square().sum(0)
    variance = (squares / len(flat) - (total / len(flat)).square()).clamp(min=0)
    varies = variance > BACKGROUND**2 * variance.max()
    return varies if bool(varies.any()) else torch.ones_like(varies)


def unit_rows(images: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Rows whose scalar products are correlations: (N, V) float32, and which images have contrast: (N,) bool.

    ``images`` (N, C, *S), ``mask`` (C * prod(S),) bool with V voxels set. The row of an image without contrast is 0.
    The mean is removed in float64: CT values around 1000 leave too few digits otherwise.
    """
    flat = images.flatten(1)
    voxels = int(mask.sum())
    rows = torch.empty((len(flat), voxels), dtype=torch.float32, device=flat.device)
    contrast = torch.empty(len(flat), dtype=torch.bool, device=flat.device)
    for block in image_blocks(images):
        values = flat[block][:, mask].double()
        largest = values.abs().amax(1, keepdim=True)
        values -= values.mean(1, keepdim=True)
        length = values.norm(dim=1, keepdim=True)
        has_contrast = length > FLAT * largest * voxels**0.5
        contrast[block] = has_contrast.squeeze(1)
        rows[block] = (values / length.where(has_contrast, torch.inf)).float()
    return rows, contrast


def image_blocks(images: Tensor) -> Iterator[slice]:
    """Slices over ``images`` (N, C, *S), small enough that float64 copies of a block fit ``BLOCK_BYTES``."""
    count, voxels = len(images), images[:1].numel()
    size = max(1, min(1024, BLOCK_BYTES // (24 * max(1, voxels))))
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
