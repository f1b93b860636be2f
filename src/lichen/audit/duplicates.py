"""Images of two patients that are one image after all: near-duplicates inside training, and across to the held-out.

What anatomy does not share is fine detail. So local contrast is made even first (``contrast``); then come an exact pass
over all pairs by correlation, and for those that it finds likely an alignment (``refine``). Recompressed, resized,
brightened, blurred or slightly moved copies of one image still correlate above ``LEAST_CORRELATION``, and are far
nearer than the next nearest patients: a ratio of squared distances, as Lowe (IJCV 2004, section 7.1) uses to tell a
match from a look-alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.aligned import BAND, FINE_SIDE
from lichen.audit.checks import count_duplicates, with_many_images
from lichen.audit.contrast import even_contrast
from lichen.audit.pearson import prepare
from lichen.audit.refine import climb
from lichen.audit.result import Duplicates, SamePair
from lichen.audit.scores import NEIGHBOURS
from lichen.audit.warp import Frame, limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lichen.images.types import ImageSet

LIKELY = 0.6
"""Correlation before alignment from which two images are aligned; shifts of 3 % of the field leave about as much."""
LEAST_CORRELATION = 0.9
"""Of two near-duplicates after alignment."""
LARGEST_RATIO = 0.3
"""Squared distance to a near-duplicate over that to the last of the ``NEIGHBOURS`` nearest other patients."""
STEPS = 6
"""Of the alignment, which starts at none: near-duplicates lie nearly in place."""
LEAST_SIDE = {2: 64, 3: 24}
"""Voxels along the longest side, by the number of axes; smaller images show too little detail."""
BLOCK_BYTES = 64 * 2**20
"""Working memory of one block of images or pairs; one at least."""


@dataclass(frozen=True)
class Look:
    """The nearest images of other patients for each of Q queries, best first, seen closely."""

    correlation: Tensor
    """(Q, k) float32 of even local contrast, after alignment where likely; -inf where there is nothing to compare."""
    index: Tensor
    """(Q, k) int64, position in the pool; -1 where the correlation is -inf."""

    def duplicates(self) -> list[tuple[int, int, float]]:
        """(query, position in the pool, correlation) of each near-duplicate."""
        there = self.correlation.isfinite()
        # the last one found; where there is only one other patient, an image that has nothing in common with the query
        last = self.correlation.where(there, torch.inf).amin(1, keepdim=True)
        last = last.where(there.sum(1, keepdim=True) > 1, torch.zeros_like(last))
        is_same = (self.correlation >= LEAST_CORRELATION) & (1 - self.correlation <= LARGEST_RATIO * (1 - last))
        return [
            (query, int(self.index[query, place]), float(self.correlation[query, place]))
            for query, place in is_same.nonzero().tolist()
        ]


def look(pool: Tensor, patients: Tensor, queries: Tensor, owners: Tensor, *, k: int = NEIGHBOURS) -> Look:
    """Look closely at the ``k`` patients in ``pool`` (M, C, *S) whose images are nearest to each of the queries.

    ``queries`` (Q, C, *S) of ``owners`` (Q,) int64 are not compared with images of the same number in ``patients``
    (M,) int64: the training images may be asked for each other. Holds 8 bytes per voxel of the fine grid, channel
    and image.
    """
    dims = pool.ndim - 2
    frame = Frame(tuple(pool.shape[2:]), (1.0,) * dims).coarser(FINE_SIDE[dims])
    detail = _detail(pool, frame)
    asked = detail if queries is pool else _detail(queries, frame)
    search = prepare(detail, patients)
    found = search(asked, k=k + 1)
    foreign = (found.index >= 0) & (patients[found.index.clamp(min=0)] != owners[:, None])
    # of k + 1 patients at most one is the query's own: those of others come first, in their order
    order = (~foreign).to(torch.uint8).argsort(dim=1, stable=True)[:, :k]
    index = found.index.where(foreign, -1).gather(1, order)
    correlation = found.similarity.where(foreign, -torch.inf).gather(1, order)

    mask = search.mask.reshape(detail.shape[1], -1)
    # The nearest one first; the others only where it is so near that they have to say how much nearer than them.
    is_first = torch.arange(k)[None] == 0
    for asked_of, least in ((is_first, LIKELY), (~is_first, LEAST_CORRELATION)):
        pairs = (asked_of & (correlation[:, :1] >= least) & (index >= 0)).nonzero()
        size = max(1, BLOCK_BYTES // (64 * mask.numel()))
        for start in range(0, len(pairs), size):
            query, place = pairs[start : start + size].unbind(1)
            none = torch.zeros((len(query), len(limits(dims, pool.device))), device=pool.device)
            _, aligned = climb(detail[index[query, place]], asked[query], mask, frame, none, STEPS)
            correlation[query, place] = aligned.clamp(max=1.0)
    order = correlation.argsort(dim=1, descending=True, stable=True)
    return Look(correlation.gather(1, order), index.gather(1, order))


def _detail(images: Tensor, frame: Frame) -> Tensor:
    """``images`` (N, C, *S) with even local contrast on the grid of ``frame``, (N, C, *size) float32."""
    made = images.new_empty((len(images), images.shape[1], *frame.size), dtype=torch.float32)
    band = BAND[frame.dims]
    size = max(1, BLOCK_BYTES // (64 * images.shape[1:].numel()))
    for at in range(0, len(images), size):
        block = slice(at, at + size)
        made[block] = even_contrast(images[block], frame, blur=band.blur, window=band.window)
    return made


def shows_detail(images: Tensor) -> bool:
    """Whether ``images`` (N, C, *S) are large enough for near-duplicates to be told from look-alikes."""
    return max(images.shape[2:]) >= LEAST_SIDE[images.ndim - 2]


def find_duplicates(train: ImageSet, reference: ImageSet, prints: Sequence[str | None]) -> Duplicates:
    """Images of two patients that are one: within ``train``, and of ``reference`` in ``train``.

    Of images that are too small (``LEAST_SIDE``) only identical ones are found.
    ``prints`` are the ``fingerprints`` of the training images. Both sets on one grid, and apart: see ``check_apart``.
    """
    near, across = {}, []
    if shows_detail(train.voxels):
        numbers: dict[str, int] = {}
        patients = torch.tensor([numbers.setdefault(patient, len(numbers)) for patient in train.patients])
        strangers = torch.full((len(reference.names),), -1)
        across = look(train.voxels, patients, reference.voxels, strangers).duplicates()
        for a, b, correlation in look(train.voxels, patients, train.voxels, patients).duplicates():
            near[min(a, b), max(a, b)] = correlation
    within = {**near, **_repeats(train, prints)}
    return Duplicates(
        repeated=count_duplicates(list(prints)),
        within_training=tuple(
            SamePair(
                train.names[a],
                train.patients[a],
                train.names[b],
                train.patients[b],
                correlation,
                prints[a] is not None and prints[a] == prints[b],
            )
            for (a, b), correlation in sorted(within.items())
        ),
        with_held_out=tuple(
            SamePair(train.names[b], train.patients[b], reference.names[a], reference.patients[a], correlation, False)
            for a, b, correlation in across
        ),
        many_images=with_many_images(train.patients),
    )


def _repeats(train: ImageSet, prints: Sequence[str | None]) -> dict[tuple[int, int], float]:
    """Each training image with the first identical one of another patient, if there is any."""
    first: dict[str, int] = {}
    found = {}
    for at, print_ in enumerate(prints):
        if print_ is not None and train.patients[first.setdefault(print_, at)] != train.patients[at]:
            found[first[print_], at] = 1.0
    return found
