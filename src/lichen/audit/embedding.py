"""Correlation of embeddings learned on the pool that is searched, relative to the next nearest patients.

Each query is embedded as it is and mirrored, and the nearer of both counts: an encoder that must see through the mirror
by itself finds fewer copies after the same training.

Who may be known to the encoder. It is trained on the pool (``encoder``), never on anything that will query it: neither
held-out patients nor synthetic images. The search is then a function of the pool and a seed alone. If a synthetic image
is no nearer to the training patients than an image of a new patient is, it and the held-out images are exchangeable as
queries of that search, whatever the encoder has learned, and conformal p-values hold. That the encoder knows the pool
by heart is no error here, it is what makes copies stand out: a pool image pulls its own views close and pushes all
else away, and all that query it are strangers.

What would be an error: to let images that the encoder knows query it and compare them with images that it does not
know, e.g. a threshold from training images among each other, or an encoder that has also seen the calibration patients
(they would lie further from the pool than new images do, and innocent images would be flagged).

In a competition between two pools neither must be known better than the other: train one encoder on both together
and give it to both searches,

    encoder = train_encoder(torch.cat([pool, withheld]), torch.cat([patients, other_patients]))
    searches = prepare(pool, patients, encoder=encoder), prepare(withheld, other_patients, encoder=encoder)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.encoder import NUMBERS, Encoder, train_encoder
from lichen.audit.pearson import unit_rows
from lichen.audit.relative import relative_to_next
from lichen.audit.scores import NEIGHBOURS, Nearest
from lichen.audit.topk import RunningBest
from lichen.audit.warp import mirrored
from lichen.progress import Step, silent

if TYPE_CHECKING:
    from torch import Tensor

QUERY_ROWS, POOL_ROWS = 256, 4096
"""Queries and training images per block of the product."""


@dataclass(frozen=True)
class EmbeddingSearch:
    """Embeddings of the training images as unit rows; a ``Search``."""

    encoder: Encoder
    rows: Tensor
    """(M', ``NUMBERS``) float32: images with contrast only."""
    index: Tensor
    """(M',) int64: position of each row in the pool that was given."""
    patient: Tensor
    """(M',) int64."""

    def __call__(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> Nearest:
        """The ``k`` nearest training patients of each of ``queries`` (Q, C, *S), relative to the next nearest ones."""
        parts = [self._block(queries[at : at + QUERY_ROWS], max(k, NEIGHBOURS), step) for at in _starts(queries)]
        similarity, index = (torch.cat(column) for column in zip(*parts, strict=True))
        return Nearest(relative_to_next(similarity, NEIGHBOURS - 1)[:, :k], index[:, :k])

    def _block(self, queries: Tensor, k: int, step: Step) -> tuple[Tensor, Tensor]:
        """The highest correlations of a block of queries, or of their mirror images, and whose they are, (Q, k)."""
        plain, contrast = _unit(self.encoder.embed(queries))
        mirror, _ = _unit(self.encoder.embed(mirrored(queries)))
        best = RunningBest.empty(len(queries), k, self.rows.device)
        for start in range(0, len(self.rows), POOL_ROWS):
            pool = slice(start, start + POOL_ROWS)
            product = torch.maximum(plain @ self.rows[pool].T, mirror @ self.rows[pool].T)
            product[~contrast] = -torch.inf
            best.update(product, self.patient[pool], self.index[pool])
        step(len(queries))
        return best.similarity.clamp(max=1.0), best.index  # rounding may leave 1 + 1e-7


def prepare(pool: Tensor, patients: Tensor, *, encoder: Encoder | None = None, seed: int = 0) -> EmbeddingSearch:
    """Make training images ``pool`` (M, C, *S) of ``patients`` (M,) int64 ready for ``EmbeddingSearch``.

    Trains an encoder on the pool unless one is given.
    """
    encoder = encoder or train_encoder(pool, patients, seed=seed)
    rows, contrast = _unit(encoder.embed(pool))
    kept = contrast.nonzero().squeeze(1)
    return EmbeddingSearch(encoder, rows[kept], kept, patients.to(rows.device)[kept])


def _unit(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    return unit_rows(embeddings, torch.ones(NUMBERS, dtype=torch.bool, device=embeddings.device))


def _starts(queries: Tensor) -> range:
    """Where the blocks of queries begin; one empty block where there is none."""
    return range(0, max(1, len(queries)), QUERY_ROWS)
