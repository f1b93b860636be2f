"""The seam for similarity scores: what a score is given, what it gives back, and which scores there are by name.

A score is given the training images once (``prepare``) and returns a ``Search``; the same search then answers for the
synthetic images and for the held-out images. Both query the same pool in the same direction, so their similarities are
comparable; a threshold learned on a pool of another size would not be (the nearest of N rises with N).

A score may find candidates with another score and verify them, or make its similarity relative to the next nearest
training patients: that is its own affair, as long as larger means closer and every query is treated alike.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from lichen.errors import AuditError

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.scratch import Scratch
    from lichen.progress import Step

NEIGHBOURS = 6
"""Training patients returned per query: the nearest, and five more for scores that are relative to the next ones."""


@dataclass(frozen=True)
class Nearest:
    """The nearest images of the pool for each of Q queries, best first, at most one image of each training patient."""

    similarity: Tensor
    """(Q, k) float32, larger is closer; -inf where there is nothing to compare (a constant image, fewer patients)."""
    index: Tensor
    """(Q, k) int64, position in the pool; -1 where the similarity is -inf."""


class Search(Protocol):
    """A prepared pool of training images that can be asked for the nearest ones."""

    def __call__(self, queries: Tensor, *, k: int, step: Step) -> Nearest:
        """Find for ``queries`` (Q, C, *S) the ``k`` nearest training patients; ``step`` counts finished queries."""


@dataclass(frozen=True)
class Pool:
    """The training images that a score is made ready for."""

    images: Tensor
    """(M, C, *S); may be mapped from a file and larger than memory: to be read in blocks."""
    patients: Tensor
    """(M,) int64, equal numbers for images of one patient."""
    spacing: tuple[float, ...] | None = None
    """How far apart voxels are along each axis, in any unit; None: equally."""
    scratch: Scratch | None = None
    """Where to keep what memory should not hold; None: everything is held in memory."""


class Prepare(Protocol):
    """Makes a ``Search`` from a pool of training images."""

    def __call__(self, pool: Pool) -> Search:
        """Make the images of ``pool`` ready; a score may ignore ``spacing``, and hold all in memory."""


@dataclass(frozen=True)
class Score:
    """A named way to say how similar two images are."""

    name: str
    prepare: Prepare
    blind_spots: str
    """A sentence for the report: the copies that this score does not find."""


_SCORES: dict[str, Score] = {}


def register(score: Score) -> None:
    """Make ``score`` available under its name; a name taken by another score raises ``AuditError``."""
    if _SCORES.setdefault(score.name, score) is not score:
        raise AuditError(f"a score named {score.name} exists already", fix="register it under another name")


def score_names() -> tuple[str, ...]:
    """The names of all registered scores, sorted."""
    return tuple(sorted(_SCORES))


def find_score(name: str) -> Score:
    """The score of that name; an unknown name raises ``AuditError`` with the nearest known one."""
    if name in _SCORES:
        return _SCORES[name]
    near = difflib.get_close_matches(name, _SCORES, n=1) or list(score_names())[:1]
    raise AuditError(
        f"audit.scores names {name!r}; there is no such score (known: {', '.join(score_names())})",
        fix=f"use --audit.scores {near[0]}",
    )


def _prepare_pearson(pool: Pool) -> Search:
    from lichen.audit.pearson import prepare, prepare_within  # loads torch, which naming a score must not

    if pool.scratch is None:
        return prepare(pool.images, pool.patients)
    return prepare_within(pool.images, pool.patients, pool.scratch)


register(
    Score(
        name="pearson",
        prepare=_prepare_pearson,
        blind_spots=(
            "pearson: mirrored, rotated, shifted or zoomed copies, and copies under strong noise, "
            "are not found by pixel correlation"
        ),
    )
)


def _prepare_aligned(pool: Pool) -> Search:
    from lichen.audit.aligned import prepare  # as above

    return prepare(pool.images, pool.patients, spacing=pool.spacing, scratch=pool.scratch)


register(
    Score(
        name="aligned",
        prepare=_prepare_aligned,
        blind_spots=(
            "aligned: copies turned by more than 10 degrees, shifted by more than 10 % of the field, zoomed beyond 0.9 "
            "to 1.11, bent, or with inverted grey values are not found by aligned correlation"
        ),
    )
)


def _prepare_ssim(pool: Pool) -> Search:
    from lichen.audit.ssim import prepare  # as above

    return prepare(pool.images, pool.patients)


register(
    Score(
        name="ssim",
        prepare=_prepare_ssim,
        blind_spots=(
            "ssim: nothing is aligned, so mirrored, rotated, shifted or zoomed copies are mostly not found by "
            "structural similarity, nor are copies under strong noise or blur"
        ),
    )
)


def _prepare_embedding(pool: Pool) -> Search:
    from lichen.audit.embedding import prepare  # as above

    return prepare(pool.images, pool.patients)


register(
    Score(
        name="embedding",
        prepare=_prepare_embedding,
        blind_spots=(
            "embedding: copies changed in ways that the encoder was not trained to see through are not found, "
            "such as inverted grey values, parts of an image and rotations by more than 10 degrees"
        ),
    )
)


def _prepare_akbar(pool: Pool) -> Search:
    from lichen.audit.classics import prepare_akbar  # as above

    return prepare_akbar(pool.images, pool.patients)


register(
    Score(
        name="akbar",
        prepare=_prepare_akbar,
        blind_spots=(
            "akbar: mirrored, rotated, shifted or zoomed copies, and copies under strong noise, are not found by pixel "
            "correlation, and a common background makes all images resemble each other"
        ),
    )
)
