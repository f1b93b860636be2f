"""Correlation of embeddings learned on the pool that is searched, relative to the next nearest patients.

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
from lichen.audit.pearson import PearsonSearch
from lichen.audit.pearson import prepare as prepare_pearson
from lichen.audit.relative import relative_to_next
from lichen.audit.scores import NEIGHBOURS, Nearest
from lichen.progress import Step, silent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EmbeddingSearch:
    """Embeddings of the training images; a ``Search``."""

    encoder: Encoder
    embedded: PearsonSearch
    """Its images are embeddings."""

    def __call__(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> Nearest:
        """The ``k`` nearest training patients of each of ``queries`` (Q, C, *S), relative to the next nearest ones."""
        found = self.embedded(self.encoder.embed(queries), k=max(k, NEIGHBOURS), step=step)
        return Nearest(relative_to_next(found.similarity, NEIGHBOURS - 1)[:, :k], found.index[:, :k])


def prepare(pool: Tensor, patients: Tensor, *, encoder: Encoder | None = None, seed: int = 0) -> EmbeddingSearch:
    """Make training images ``pool`` (M, C, *S) of ``patients`` (M,) int64 ready for ``EmbeddingSearch``.

    Trains an encoder on the pool unless one is given.
    """
    encoder = encoder or train_encoder(pool, patients, seed=seed)
    everything = torch.ones(NUMBERS, dtype=torch.bool, device=encoder.weight.device)
    return EmbeddingSearch(encoder, prepare_pearson(encoder.embed(pool), patients, mask=everything))
