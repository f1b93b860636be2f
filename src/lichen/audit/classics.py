"""Two published ways to look for memorised images, for comparison beside the audit's verdict; they never decide it.

Akbar, Wang and Eklund (arXiv 2305.07644): the highest plain pixel correlation of each synthetic image with the training
images. Dar et al. (arXiv 2402.01054; Nature Biomedical Engineering 2025): a contrastive embedding; a copy is a
synthetic image whose correlation with a training image exceeds the 95th percentile of the training images' correlations
with their nearest validation images. Both written from the papers.

The nearest of a larger pool is nearer. As published, synthetic images search the training images, while the threshold
comes from a search of the validation images, usually fewer: too low a threshold. ``dar(..., matched=True)`` compares
only searches in one direction through pools of one size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lichen.audit.encoder import Encoder, train_encoder
from lichen.audit.pearson import PearsonSearch, prepare
from lichen.errors import AuditError
from lichen.progress import silent
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.images.types import ImageSet

PERCENTILE = 0.95
"""Of the nearest validation images: Dar et al.'s threshold."""


@dataclass(frozen=True)
class Classic:
    """What a published method says of a synthetic set."""

    name: str
    threshold: float | None
    """The correlation above which a synthetic image is flagged; None: the method has no threshold."""
    flagged_share: float | None
    """Of the synthetic images."""
    memorised_share: float | None
    """Of the training images."""
    words: str
    """What was compared, and the figures in a sentence."""


@dataclass(frozen=True)
class Highest:
    """The highest correlation of each of Q images with any training image, as Akbar et al. report it."""

    values: Tensor
    """(Q,) float32; -inf where there is nothing to compare (a constant image)."""

    @property
    def mean(self) -> float | None:
        """Over the images that could be compared; None if there is none."""
        there = self.values[self.values.isfinite()]
        return float(there.double().mean()) if len(there) else None

    @property
    def largest(self) -> float | None:
        """The highest of all; None if no image could be compared."""
        there = self.values[self.values.isfinite()]
        return float(there.max()) if len(there) else None


@dataclass(frozen=True)
class Dar:
    """What the rule of Dar et al. says."""

    threshold: float
    """A synthetic image is flagged if its correlation with the nearest training image is higher."""
    flagged_share: float
    """Of the synthetic images."""
    train_threshold: float
    """A training image counts as memorised if its correlation with the nearest synthetic image is higher; as published
    the same as ``threshold``."""
    memorised_share: float
    """Of the training images."""


def prepare_akbar(pool: Tensor, patients: Tensor) -> PearsonSearch:
    """Make training images ``pool`` (M, C, *S) of ``patients`` (M,) int64 ready: all voxels, no mask."""
    everything = torch.ones(pool[0].numel(), dtype=torch.bool, device=pool.device)
    return prepare(pool, patients, mask=everything)


def highest_correlation(queries: Tensor, train: Tensor) -> Highest:
    """The highest plain pixel correlation of each of ``queries`` (Q, C, *S) with ``train`` (M, C, *S)."""
    search = prepare_akbar(train, torch.arange(len(train)))
    return Highest(search(queries, k=1, step=silent).similarity[:, 0])


def dar(synthetic: Tensor, train: Tensor, validation: Tensor, *, matched: bool, seed: int = 0) -> Dar:
    """The rule of Dar et al. on embeddings (m, D), (n, D) and (v, D): as published, or with its pools ``matched``.

    Published: one threshold, the 95th percentile of training -> nearest of the v validation images; synthetic images
    search n training images, and training images m synthetic ones. Matched: the threshold for synthetic images is that
    of validation images searching the same n training images; that for training images is taken from min(m, v)
    validation images, and as many synthetic images are searched, both drawn by ``seed``.
    Raises ``AuditError`` if a set is empty.
    """
    for name, rows in (("synthetic", synthetic), ("training", train), ("validation", validation)):
        if not len(rows):
            raise AuditError(f"there are no {name} images to compare", fix=f"give at least one {name} image")
    if matched:
        size = min(len(synthetic), len(validation))
        threshold = _percentile(_nearest(validation, train))
        train_threshold = _percentile(_nearest(train, _drawn(validation, size, seed, "validation")))
        searched = _drawn(synthetic, size, seed, "synthetic")
    else:
        threshold = train_threshold = _percentile(_nearest(train, validation))
        searched = synthetic
    return Dar(
        threshold=threshold,
        flagged_share=float((_nearest(synthetic, train) > threshold).double().mean()),
        train_threshold=train_threshold,
        memorised_share=float((_nearest(train, searched) > train_threshold).double().mean()),
    )


def classics(
    synthetic: ImageSet, train: ImageSet, reference: ImageSet, seed: int = 0, *, encoder: Encoder | None = None
) -> tuple[Classic, ...]:
    """What the published methods say; ``reference`` are the validation images.

    ``encoder``: one trained on exactly the training images, e.g. that of an ``EmbeddingSearch``; None: trains one.
    """
    if encoder is None:
        numbers: dict[str, int] = {}
        patients = torch.tensor([numbers.setdefault(patient, len(numbers)) for patient in train.patients])
        encoder = train_encoder(train.voxels, patients, seed=seed)
    rows = [encoder.embed(images.voxels) for images in (synthetic, train, reference)]
    published, matched = (dar(*rows, matched=matched, seed=seed) for matched in (False, True))
    return (
        _akbar(synthetic, train, reference),
        _classic("dar, as published", published, "thresholds from training images searching the validation images"),
        _classic("dar, pools matched", matched, "thresholds from searches in the same direction, pools of equal size"),
    )


def _akbar(synthetic: ImageSet, train: ImageSet, reference: ImageSet) -> Classic:
    found, usual = (highest_correlation(images.voxels, train.voxels) for images in (synthetic, reference))
    return Classic(
        name="akbar",
        threshold=None,
        flagged_share=None,
        memorised_share=None,
        words=(
            "highest plain pixel correlation with any training image (Akbar et al., arXiv 2305.07644): "
            f"synthetic images {_figures(found)}; held-out images {_figures(usual)}"
        ),
    )


def _classic(name: str, found: Dar, thresholds: str) -> Classic:
    return Classic(
        name=name,
        threshold=found.threshold if math.isfinite(found.threshold) else None,
        flagged_share=found.flagged_share,
        memorised_share=found.memorised_share,
        words=(
            f"rule of Dar et al. (arXiv 2402.01054) with the encoder of this audit in place of theirs, {thresholds}: "
            f"{found.flagged_share:.1%} of the synthetic images are nearer to a training image than "
            f"{found.threshold:.3f}, {found.memorised_share:.1%} of the training images nearer to a synthetic one than "
            f"{found.train_threshold:.3f}"
        ),
    )


def _figures(highest: Highest) -> str:
    if highest.mean is None:
        return "cannot be compared"
    return f"mean {highest.mean:.3f}, largest {highest.largest:.3f}"


def _nearest(queries: Tensor, pool: Tensor) -> Tensor:
    """Pearson correlation of each of ``queries`` (Q, D) with the nearest of ``pool`` (M, D), (Q,)."""
    return highest_correlation(queries, pool).values


def _percentile(values: Tensor) -> float:
    """Of the values there are; infinite where there are none, so that nothing is flagged."""
    there = values[values.isfinite()]
    return float(np.quantile(there.double().cpu().numpy(), PERCENTILE)) if len(there) else math.inf


def _drawn(rows: Tensor, size: int, seed: int, what: str) -> Tensor:
    """``size`` of ``rows`` (N, D) at random."""
    generator = torch.Generator().manual_seed(mix_seed(seed, "dar", what))
    return rows[torch.randperm(len(rows), generator=generator)[:size].to(rows.device)]
