"""All-pairs Pearson correlation of voxels, exact, by a blocked matrix product on unit rows.

The correlation of two images is the scalar product of their voxels after removing each image's mean and scaling it to
length 1. Rows are made once; every pair is then one matrix product, which runs at the machine's full speed. This is
the score of Akbar, Wang and Eklund (arXiv 2305.07644), with two additions: background is masked, and an image without
contrast has no correlation instead of NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.scores import NEIGHBOURS, Nearest
from lichen.audit.topk import RunningBest
from lichen.progress import Step, silent

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = 0.05
"""A voxel is background if its standard deviation over the training images is at most this share of the largest."""
BLOCK_BYTES = 256 * 2**20
"""Working memory of one block of images being standardised."""
FLAT = 1e-6
"""An image whose standard deviation is at most this share of its largest value has no contrast: rounding remains."""


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
    for rows in _blocks(len(flat), flat.shape[1]):
        # Relative to the first image, so that a constant voxel gives exactly 0 and not a rounding error.
        shifted = flat[rows].double() - first
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
    for block in _blocks(len(flat), flat.shape[1]):
        values = flat[block][:, mask].double()
        largest = values.abs().amax(1, keepdim=True)
        values -= values.mean(1, keepdim=True)
        length = values.norm(dim=1, keepdim=True)
        has_contrast = length > FLAT * largest * voxels**0.5
        contrast[block] = has_contrast.squeeze(1)
        rows[block] = (values / length.where(has_contrast, torch.inf)).float()
    return rows, contrast


@dataclass(frozen=True)
class PearsonSearch:
    """Training images as unit rows; a ``Search``. Holds 4 bytes per voxel of the mask and training image."""

    rows: Tensor
    """(M', V) float32: images with contrast only."""
    index: Tensor
    """(M',) int64: position of each row in the pool that was given."""
    patient: Tensor
    """(M',) int64."""
    mask: Tensor
    """(C * prod(S),) bool with V voxels set."""
    query_rows: int | None
    """Queries per block; None: as many as fit ``BLOCK_BYTES``."""
    pool_rows: int
    """Training images per block of the product."""

    def __call__(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> Nearest:
        """The ``k`` nearest training patients of each of ``queries`` (Q, C, *S), by the best image of each."""
        similarity = torch.empty((len(queries), k), device=self.rows.device)
        index = torch.empty((len(queries), k), dtype=torch.int64, device=self.rows.device)
        for block in _blocks(len(queries), queries[0].numel() if len(queries) else 1, self.query_rows):
            rows, contrast = unit_rows(queries[block].to(self.rows.device), self.mask)
            best = RunningBest.empty(len(rows), k, rows.device)
            for start in range(0, len(self.rows), self.pool_rows):
                pool = slice(start, start + self.pool_rows)
                product = rows @ self.rows[pool].T
                product[~contrast] = -torch.inf
                best.update(product, self.patient[pool], self.index[pool])
            similarity[block] = best.similarity.clamp(max=1.0)  # rounding may leave 1 + 1e-7
            index[block] = best.index
            step(len(rows))
        return Nearest(similarity, index)


def prepare(
    pool: Tensor,
    patients: Tensor,
    *,
    mask: Tensor | None = None,
    query_rows: int | None = None,
    pool_rows: int = 2048,
) -> PearsonSearch:
    """Make training images ``pool`` (M, C, *S) of ``patients`` (M,) int64 ready for ``PearsonSearch``.

    ``mask`` (C * prod(S),) bool: the voxels that count; None: ``varying_voxels``.
    """
    if mask is None:
        mask = varying_voxels(pool)
    rows, contrast = unit_rows(pool, mask)
    kept = contrast.nonzero().squeeze(1)
    if len(kept) < len(rows):
        rows = rows[kept]
    return PearsonSearch(rows, kept, patients.to(rows.device)[kept], mask, query_rows, pool_rows)


def _blocks(count: int, voxels: int, rows: int | None = None) -> Iterator[slice]:
    """Slices over ``count`` images; by default small enough that float64 copies of a block fit ``BLOCK_BYTES``."""
    size = rows or max(1, min(1024, BLOCK_BYTES // (24 * voxels)))
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
