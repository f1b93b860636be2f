"""The nearest patients of every query among all pairs with a pool, exact, in tiles that fit a bound of memory.

Each tile is one matrix product of a block of query rows and a block of pool rows; the best of every patient are kept
while the pool passes by. A product of another shape may be rounded otherwise in its last bit, so the grid of tiles is
a function of the bound and of the length of a row alone: neither how many processes share the work nor where the rows
are kept changes a bit of the result (on one machine, with one number of threads).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.scores import Nearest
from lichen.audit.topk import RunningBest
from lichen.progress import Step, silent

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.rows import Rows

MEMORY_MB = 1024
"""Bound where nobody names one; the default of ``audit.memory_mb``."""
MOST_ROWS = 2048
"""Of either side of a tile: products of larger blocks are no faster."""


@dataclass(frozen=True)
class Grid:
    """The size of a tile."""

    query_rows: int
    pool_rows: int

    @staticmethod
    def within(memory_mb: int, voxels: int) -> Grid:
        """The tiles of rows of ``voxels`` float32 that fit ``memory_mb`` MiB; a block holds one row at least.

        Half of the memory is for query rows, because each row of the pool is read once for every block of queries. An
        eighth is for pool rows, an eighth for the product and what picking the best of it needs; the last quarter is
        the caller's, for a pool that it holds.
        """
        eighth, row = memory_mb * 2**20 // 8, 4 * max(1, voxels)
        queries = max(1, min(MOST_ROWS, 4 * eighth // row))
        pool = max(1, min(MOST_ROWS, eighth // row, eighth // (12 * queries)))
        return Grid(queries, pool)


def nearest(
    queries: Rows, pool: Rows, patient: Tensor, *, k: int, grid: Grid, device: torch.device, step: Step = silent
) -> Nearest:
    """The ``k`` nearest of distinct patients for each of Q queries, by the best row of each patient.

    ``patient`` (M,) int64 says whose row each of the pool's M rows is. The products are made on ``device``. ``step``
    counts finished queries. Rows without contrast are near to nothing: -inf, index -1.
    """
    similarity = torch.empty((len(queries), k), device=device)
    index = torch.empty((len(queries), k), dtype=torch.int64, device=device)
    for start in range(0, len(queries), grid.query_rows):
        block = slice(start, min(start + grid.query_rows, len(queries)))
        best = _pass(*_on(device, queries, block), pool, patient, k, grid.pool_rows)
        similarity[block] = best.similarity.clamp(max=1.0)  # rounding may leave 1 + 1e-7
        index[block] = best.index
        step(len(best.index))
    return Nearest(similarity, index)


def _pass(rows: Tensor, contrast: Tensor, pool: Rows, patient: Tensor, k: int, pool_rows: int) -> RunningBest:
    """The best of one block of queries, ``rows`` (n, V), over the whole pool."""
    best = RunningBest.empty(len(rows), k, rows.device)
    for start in range(0, len(pool), pool_rows):
        tile = slice(start, min(start + pool_rows, len(pool)))
        values, has_contrast = _on(rows.device, pool, tile)
        product = rows @ values.T
        if not bool(contrast.all()):
            product[~contrast] = -torch.inf
        if not bool(has_contrast.all()):
            product[:, ~has_contrast] = -torch.inf
        best.update(product, patient[tile], torch.arange(tile.start, tile.stop, device=rows.device))
    return best


def _on(device: torch.device, rows: Rows, block: slice) -> tuple[Tensor, Tensor]:
    values, contrast = rows.read(block)
    return values.to(device), contrast.to(device)
