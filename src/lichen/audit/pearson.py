"""All-pairs Pearson correlation of voxels, exact, by a blocked matrix product on unit rows.

The correlation of two images is the scalar product of their voxels after removing each image's mean and scaling it to
length 1. Rows of the pool are made once (``rows``); every pair is then one matrix product (``tiles``), which runs at
nearly the machine's full speed. This is the score of Akbar, Wang and Eklund (arXiv 2305.07644), with two additions:
background is masked, and an image without contrast has no correlation instead of NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lichen.audit.row_file import rows_on_disk
from lichen.audit.rows import HeldRows, ImageRows, unit_rows, varying_voxels
from lichen.audit.scores import NEIGHBOURS, Nearest
from lichen.audit.tiles import MEMORY_MB, Grid, nearest
from lichen.progress import Step, silent

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.rows import Rows
    from lichen.audit.scratch import Scratch

__all__ = ["PearsonSearch", "prepare", "prepare_within", "unit_rows", "varying_voxels"]


@dataclass(frozen=True)
class PearsonSearch:
    """Training images as unit rows; a ``Search``."""

    pool: Rows
    """M rows of V voxels: 4 bytes per voxel of the mask and training image, in memory or in a file."""
    patient: Tensor
    """(M,) int64, on the device that makes the products."""
    mask: Tensor
    """(C * prod(S),) bool with V voxels set, on that device too."""
    grid: Grid

    def __call__(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> Nearest:
        """The ``k`` nearest training patients of each of ``queries`` (Q, C, *S), by the best image of each."""
        rows, device = ImageRows(queries, self.mask), self.patient.device
        return nearest(rows, self.pool, self.patient, k=k, grid=self.grid, device=device, step=step)


def prepare(pool: Tensor, patients: Tensor, *, mask: Tensor | None = None, grid: Grid | None = None) -> PearsonSearch:
    """Make training images ``pool`` (M, C, *S) of ``patients`` (M,) int64 ready for ``PearsonSearch``, in memory.

    The products are made where the pool is. ``mask`` (C * prod(S),) bool: the voxels that count; None:
    ``varying_voxels``. ``grid``: the size of a tile; None: what fits ``MEMORY_MB``.
    """
    mask = varying_voxels(pool) if mask is None else mask
    grid = grid or Grid.within(MEMORY_MB, int(mask.sum()))
    return PearsonSearch(HeldRows(*unit_rows(pool, mask)), patients.to(pool.device), mask, grid)


def prepare_within(pool: Tensor, patients: Tensor, scratch: Scratch) -> PearsonSearch:
    """The same within the memory of ``scratch``: rows that do not fit a quarter of it are kept in a file there.

    The bits of what is found do not depend on where the rows are. Raises ``AuditError`` where the disk is too small.
    """
    mask = varying_voxels(pool)
    voxels = int(mask.sum())
    grid = Grid.within(scratch.memory_mb, voxels)
    device = scratch.device or pool.device
    fits = 4 * voxels * len(pool) <= scratch.bytes_held // 4
    rows = HeldRows(*(part.to(device) for part in unit_rows(pool, mask))) if fits else rows_on_disk(scratch, pool, mask)
    return PearsonSearch(rows, patients.to(device), mask.to(device), grid)
