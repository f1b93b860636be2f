"""The k best of distinct patients, kept up to date while the pool passes by in blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


CANDIDATES = 4
"""Times k entries of a block are looked at closely; more are for pools with many images of each patient."""


@dataclass(frozen=True)
class RunningBest:
    """For each of Q queries its k best patients so far, best first; (Q, k) tensors, updated in place."""

    similarity: Tensor
    """float32; -inf where fewer than k patients were seen."""
    patient: Tensor
    """int64; -1 where empty."""
    index: Tensor
    """int64, position of the patient's best image in the pool; -1 where empty."""

    @staticmethod
    def empty(queries: int, k: int, device: torch.device) -> RunningBest:
        """Nothing seen yet."""
        nothing = torch.full((queries, k), -1, dtype=torch.int64, device=device)
        return RunningBest(torch.full((queries, k), -torch.inf, device=device), nothing, nothing.clone())

    def update(self, similarity: Tensor, patient: Tensor, index: Tensor) -> None:
        """Take in a block of the pool: ``similarity`` (Q, n) to images of ``patient`` (n,) at ``index`` (n,).

        Exact for every split into blocks. Of equal similarities the one seen first stays.
        """
        # Most blocks improve few rows once the pool has been passing for a while, and a maximum is far cheaper than
        # picking; so only rows whose k-th best is beaten are touched.
        rows = (similarity.amax(1) > self.similarity[:, -1]).nonzero().squeeze(1)
        if not len(rows):
            return
        wide = (len(rows), len(index))
        block = _best_of_distinct(similarity[rows], patient.expand(wide), index.expand(wide), self.similarity.shape[1])
        old = (self.similarity[rows], self.patient[rows], self.index[rows])
        merged = [torch.cat(pair, 1) for pair in zip(old, block, strict=True)]
        best = _best_of_distinct(merged[0], merged[1], merged[2], self.similarity.shape[1])
        self.similarity[rows], self.patient[rows], self.index[rows] = best


def _best_of_distinct(similarity: Tensor, patient: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Per row of (Q, n) the best entry of each of the k best patients, as (Q, k) tensors; consumes ``similarity``.

    One pass over a row finds its ``CANDIDATES * k`` largest entries, and the picking happens among them. That is exact
    wherever the k-th patient found lies above the last candidate; the few other rows (one patient has many of the best
    images, or entries are equal) are picked from whole.
    """
    width = CANDIDATES * k
    if similarity.shape[1] <= 2 * width:
        return _pick(similarity, patient, index, k)
    values, at = similarity.topk(width, dim=1, sorted=False)
    # In the order of the pool, so that of equal entries the one seen first is picked.
    at, order = at.sort(dim=1)
    values, last = values.gather(1, order), values.amin(1)
    best = _pick(values, patient.gather(1, at), index.gather(1, at), k)
    unsure = ((best[0][:, -1] <= last) & (last > -torch.inf)).nonzero().squeeze(1)
    if len(unsure):
        whole = _pick(similarity[unsure], patient[unsure], index[unsure], k)
        for part, row in zip(best, whole, strict=True):
            part[unsure] = row
    return best


def _pick(similarity: Tensor, patient: Tensor, index: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same by k passes over each row; consumes ``similarity``."""
    picked = []
    for _ in range(min(k, similarity.shape[1])):
        value, at = similarity.max(1, keepdim=True)
        who = patient.gather(1, at)
        found = value > -torch.inf
        picked.append((value, who.where(found, -1), index.gather(1, at).where(found, -1)))
        similarity.masked_fill_(patient == who, -torch.inf)
    value, who, where = (torch.cat(column, 1) for column in zip(*picked, strict=True))
    return value, who, where
