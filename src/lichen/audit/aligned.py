"""Aligned pixel correlation: the highest over mirror, rotation, shift and zoom, after making local contrast even.

Four passes. (1) ``contrast``: images on a small grid, smoothed, local contrast even. (2) ``coarse``: for each query
the ``SHORTLIST`` of best training patients over a grid of transformations, exact on a coarse grid of voxels.
(3) ``refine``: these are aligned with the query on the coarse grid, and the best of them on finer grids. (4) ``render``
does to the ``FINALISTS`` what may have been done to a copy, and compares once more, in several ways. The score is the
highest of what ``relative`` leaves of each way's correlation. Background is masked as in ``pearson``.

A patient with several images is represented by one in the end; up to ``IMAGES`` of them are aligned. Voxels are taken
as cubic unless ``spacing`` says otherwise: rotations of volumes with unequal spacing are sheared without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from lichen.audit.coarse import Coarse, slots
from lichen.audit.contrast import averaged, even_contrast, roughness
from lichen.audit.pearson import unit_rows, varying_voxels
from lichen.audit.refine import climb
from lichen.audit.relative import relative_to_next, tempered
from lichen.audit.render import BLURS, Band, as_made, strictness
from lichen.audit.scores import NEIGHBOURS, Nearest
from lichen.audit.warp import Frame, mirrored
from lichen.progress import Step, silent

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.scratch import Scratch

IMAGES = 2
"""Images of each training patient that may be candidates beside each other."""
SHORTLIST = 64
"""Training images taken from the coarse pass, and aligned on the coarse grid."""
CANDIDATES = 16
"""Of these, the images aligned on the grid half as fine; they are of ``FINALISTS`` patients at least."""
FINALISTS = 8
"""Of these, the patients aligned on the fine grid, each by the best image."""
FINE_SIDE = {2: 64, 3: 32}
"""Voxels along the longest side of the fine grid, by the number of axes; smaller images keep their own."""
COARSE_SIDE = {2: 16, 3: 12}
"""Voxels along the longest side of the coarse grid."""
BAND = {2: Band(1.5, 4.0), 3: Band(1.0, 3.0)}
"""Noise filter and window of the contrast, in voxels of the fine grid; half as many on the grid half as fine."""
NOISY_BAND = Band(3.0, 6.0)
"""Tried as well for pictures under strong noise; a volume has voxels enough without."""
NOISY = 2.0
"""What strong noise is: so many times the ``roughness`` that only one in fifty training images surpasses."""
COARSE_BLUR, COARSE_WINDOW = 0.8, 3.0
"""The same on the coarse grid."""
COARSE_STEPS, HALF_STEPS, FINE_STEPS = 5, 6, 3
"""Steps of the alignment on the coarse grid, on the grid half as fine, and on the fine one."""
BLOCK_BYTES = 64 * 2**20
"""Working memory of one block of any pass; a block holds one pair or query at least."""


@dataclass(frozen=True)
class Pairs:
    """Training images beside each of Q queries, and how they are aligned."""

    correlation: Tensor
    """(Q, k) float32; -inf where there is nothing to compare."""
    index: Tensor
    """(Q, k) int64, position in the pool; -1 where the correlation is -inf."""
    transform: Tensor
    """(Q, k, P) float32 as in ``warp``, from the training image to the (mirrored) query."""
    mirror: Tensor
    """(Q, k) bool: the query was mirrored first."""

    def where(self, taken: Tensor, other: Pairs) -> Pairs:
        """Pair by pair this one where ``taken`` (Q, k), elsewhere the ``other``."""
        return Pairs(
            self.correlation.where(taken, other.correlation),
            self.index.where(taken, other.index),
            self.transform.where(taken[..., None], other.transform),
            self.mirror.where(taken, other.mirror),
        )

    def best(self, k: int) -> Pairs:
        """The ``k`` of each query with the highest correlation, best first; of equal ones the first."""
        return self.taken(self.correlation.argsort(dim=1, descending=True, stable=True)[:, :k])

    def taken(self, order: Tensor) -> Pairs:
        """The pairs of each query at the columns ``order`` (Q, k')."""
        return Pairs(
            self.correlation.gather(1, order),
            self.index.gather(1, order),
            self.transform.gather(1, order[..., None].expand(-1, -1, self.transform.shape[2])),
            self.mirror.gather(1, order),
        )

    def of_patients(self, patient: Tensor) -> Pairs:
        """Only the best pair of each patient; the others count as nothing. ``patient`` (M',) by position."""
        ordered = self.best(self.index.shape[1])
        who = patient[ordered.index.clamp(min=0)]
        again = (who[:, :, None] == who[:, None]).tril(-1).any(2) | (ordered.index < 0)
        correlation = ordered.correlation.masked_fill(again, -torch.inf)
        return Pairs(correlation, ordered.index.masked_fill(again, -1), ordered.transform, ordered.mirror)


@dataclass(frozen=True)
class _Level:
    """The training images on one grid of voxels."""

    frame: Frame
    images: Tensor  # (M, C, *size)
    mask: Tensor  # (C, V) bool
    blur: float
    window: float

    @staticmethod
    def prepare(
        pool: Tensor, chosen: Tensor, mask: Tensor, frame: Frame, blur: float, window: float, scratch: Scratch | None
    ) -> _Level:
        """The images ``chosen`` (M',) int64 of ``pool``, which is read in blocks."""
        level = _Level(frame, pool[:0], mask, blur, window)
        kept = averaged(mask.reshape(1, -1, *pool.shape[2:]).float(), frame).flatten(2)[0] >= 0.5
        kept = kept if bool(kept.any()) else torch.ones_like(kept)
        shape = (len(chosen), pool.shape[1], *frame.size)
        if scratch is None:
            images = pool.new_zeros(shape, dtype=torch.float32)
        else:
            images = scratch.zeros(shape, f"{len(chosen)} images on a small grid", like=pool)
        for block in _blocks(len(chosen), 64 * mask.numel()):
            images[block] = level.see(pool[chosen[block]])
        return _Level(frame, images, kept, blur, window)

    def see(self, images: Tensor) -> Tensor:
        return even_contrast(images, self.frame, blur=self.blur, window=self.window)

    def climb(self, pairs: Pairs, queries: Tensor, steps: int) -> Pairs:
        """``pairs`` aligned on this grid in ``steps`` steps; ``queries`` (Q, C, *size) as ``see`` gives them."""
        index, start, mirror = pairs.index.flatten(), pairs.transform.flatten(0, 1), pairs.mirror.flatten()
        query = torch.arange(len(queries), device=index.device).repeat_interleave(pairs.index.shape[1])
        value, transform = torch.empty(len(index), device=index.device), torch.empty_like(start)
        dims = self.frame.dims
        for block in _blocks(len(index), 4 * (4 * dims * dims + 4 * dims + 16) * queries[0].numel()):
            moving = queries[query[block]]
            flip = mirror[block].reshape(-1, *[1] * (moving.ndim - 1))
            moving = mirrored(moving).where(flip, moving)
            fixed = self.images[index[block].clamp(min=0)]
            transform[block], value[block] = climb(fixed, moving, self.mask, self.frame, start[block], steps)
        value = value.reshape(pairs.index.shape).masked_fill(pairs.index < 0, -torch.inf)
        return Pairs(value, pairs.index, transform.reshape(pairs.transform.shape), pairs.mirror)


@dataclass(frozen=True)
class AlignedSearch:
    """Training images with even contrast on three grids; a ``Search``.

    Holds about 6 bytes per voxel of the fine grid, channel and training image, beside ``BLOCK_BYTES`` and the images
    that were given, which stay in use.
    """

    coarse: Coarse
    levels: tuple[_Level, _Level, _Level]
    """Coarse, half as fine, fine."""
    index: Tensor
    """(M',) int64: position of each image in the pool that was given."""
    mask: Tensor
    """(C * prod(S),) bool: voxels that are not background."""
    pool: Tensor
    """(M, C, *S), the images that were given."""
    patient: Tensor
    """(M',) int64, whose images they are."""
    noisy: float
    """The ``roughness`` from which on an image is taken to be under strong noise."""

    def __call__(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> Nearest:
        """The ``k`` nearest training patients of each of ``queries`` (Q, C, *S), relative to the next nearest ones."""
        similarity, found = self._found(queries, k, step)
        return Nearest(similarity, found.index)

    def align(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> Pairs:
        """The same patients of ``queries`` (Q, C, *S) in the same order, with the transformations found."""
        return self._found(queries, k, step)[1]

    def _found(self, queries: Tensor, k: int, step: Step) -> tuple[Tensor, Pairs]:
        parts = [(self._empty(0, k).correlation, self._empty(0, k))]
        most = 4 * 2 * 4 * self.coarse.shown.numel() + 64 * self.mask.numel()
        for block in _blocks(len(queries), most):
            images = queries[block].to(self.index.device)
            _, contrast = unit_rows(images, self.mask)
            part = self._empty(len(contrast), k)
            similarity = part.correlation.clone()
            if len(self.index) and bool(contrast.any()):
                asked = contrast.nonzero().squeeze(1)
                relative, found = self._align(images[asked], k)
                similarity[asked, : relative.shape[1]] = relative
                for whole, own in zip(_tensors(part), _tensors(found), strict=True):
                    whole[asked, : own.shape[1]] = own
            parts.append((similarity, part))
            step(len(contrast))
        columns = zip(*(_tensors(pairs) for _, pairs in parts), strict=True)
        return torch.cat([similarity for similarity, _ in parts]), Pairs(*map(torch.cat, columns))

    def _align(self, queries: Tensor, k: int) -> tuple[Tensor, Pairs]:
        """The same for queries that all have contrast; fewer columns where there are fewer patients."""
        seen = [level.see(queries) for level in self.levels]
        pairs = self._shortlist(seen[0], min(max(k, SHORTLIST), len(self.index)))
        pairs = self._ranked(0, self.levels[0].climb(pairs, seen[0], COARSE_STEPS), seen[0])
        pairs = pairs.best(max(IMAGES * k, CANDIDATES))
        pairs = self._ranked(1, self.levels[1].climb(pairs, seen[1], HALF_STEPS), seen[1])
        pairs = pairs.of_patients(self.patient).best(max(k, FINALISTS))
        pairs = self.levels[2].climb(pairs, seen[2], FINE_STEPS)
        # An alignment that went astray is no reason to overlook a plain copy.
        plain = Pairs(pairs.correlation, pairs.index, torch.zeros_like(pairs.transform), torch.zeros_like(pairs.mirror))
        plain = self.levels[2].climb(plain, seen[2], 0)
        pairs = pairs.where(pairs.correlation >= plain.correlation, plain)
        similarity, made = self._similarity(pairs, queries, BAND[queries.ndim - 2])
        similarity = similarity.maximum(_relative(pairs.correlation[:, None])[:, 0])
        correlation = made.maximum(pairs.correlation)
        if queries.ndim == 4 and bool((rough := roughness(queries, self.levels[2].frame) > self.noisy).any()):
            part = Pairs(*(tensor[rough] for tensor in _tensors(pairs)))
            similarity[rough] = similarity[rough].maximum(self._similarity(part, queries[rough], NOISY_BAND)[0])
        similarity, order = similarity.sort(dim=1, descending=True, stable=True)
        found = Pairs(correlation, pairs.index, pairs.transform, pairs.mirror).taken(order[:, :k])
        index = self.index[found.index.clamp(min=0)].where(found.index >= 0, -1)
        # Rounding may leave 1 + 1e-7.
        return similarity[:, :k], Pairs(found.correlation.clamp(max=1.0), index, found.transform, found.mirror)

    def _ranked(self, level: int, pairs: Pairs, seen: Tensor) -> Pairs:
        """``pairs`` aligned on a ``level``; for a correlation, minus the better rank without and with dark edges.

        On a small grid the dark edges of a shrunken or shifted copy spoil so much contrast that others overtake it.
        """
        band = Band(self.levels[level].blur, self.levels[level].window)
        dark = self._as_made(level, pairs, seen, band, ())[:, 0]
        ranks = [
            ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1) for ranked in (pairs.correlation, dark)
        ]
        better = -ranks[0].minimum(ranks[1]).float()
        return replace(pairs, correlation=better.masked_fill(pairs.index < 0, -torch.inf))

    def _similarity(self, pairs: Pairs, queries: Tensor, band: Band) -> tuple[Tensor, Tensor]:
        """Relative scores (Q, k) of ``pairs`` in ``band``, the highest of all ways of ``as_made``; and correlations."""
        fine = self.levels[2].frame
        made = self._as_made(2, pairs, even_contrast(queries, fine, blur=band.blur, window=band.window), band, BLURS)
        # Each way by itself: one that suits the query suits all training images, and says nothing of one of them.
        strict = strictness(fine, band).to(made.device)[:, None]
        return tempered(_relative(made), strict).amax(1), made.amax(1)

    def _as_made(self, level: int, pairs: Pairs, seen: Tensor, band: Band, blurs: Sequence[float]) -> Tensor:
        """Correlations (Q, 1 + len(blurs), k) with done to the training image what a copy may show.

        ``seen`` (Q, C, *size): the queries with the even contrast of ``band``.
        """
        index, transform, mirror = pairs.index.flatten(), pairs.transform.flatten(0, 1), pairs.mirror.flatten()
        query = torch.arange(len(seen), device=index.device).repeat_interleave(pairs.index.shape[1])
        grid, value = self.levels[level], torch.empty((len(index), 1 + len(blurs)), device=index.device)
        for block in _blocks(len(index), 64 * self.mask.numel()):
            moving = seen[query[block]]
            moving = mirrored(moving).where(mirror[block].reshape(-1, *[1] * (seen.ndim - 1)), moving)
            images = averaged(self.pool[self.index[index[block].clamp(min=0)]].float(), grid.frame)
            value[block] = as_made(images, moving, grid.mask, transform[block], grid.frame, band, blurs)
        value = value.masked_fill((index < 0)[:, None], -torch.inf)
        return value.reshape(*pairs.index.shape, -1).movedim(2, 1)

    def _shortlist(self, queries: Tensor, k: int) -> Pairs:
        """The ``k`` nearest patients of the coarse pass, in rows of the coarse grid; correlations are not filled in."""
        variants = self.coarse.variants(queries)
        pool_rows = max(1, BLOCK_BYTES // (8 * variants.shape[0] * variants.shape[1]))
        found = self.coarse.best(variants, k, pool_rows)
        transform, mirror = self.coarse.starts(variants, found.index.clamp(min=0))
        return Pairs(found.similarity, found.index, transform, mirror)

    def _empty(self, queries: int, k: int) -> Pairs:
        device, numbers = self.index.device, self.coarse.transforms.shape[1]
        return Pairs(
            torch.full((queries, k), -torch.inf, device=device),
            torch.full((queries, k), -1, dtype=torch.int64, device=device),
            torch.zeros((queries, k, numbers), device=device),
            torch.zeros((queries, k), dtype=torch.bool, device=device),
        )


def prepare(
    pool: Tensor, patients: Tensor, *, spacing: tuple[float, ...] | None = None, scratch: Scratch | None = None
) -> AlignedSearch:
    """Make training images ``pool`` (M, C, *S) of ``patients`` (M,) int64 ready for ``AlignedSearch``.

    ``spacing``: length of a voxel along each axis, in any unit; None: equal. ``scratch``: where a grid of images is
    kept that exceeds a quarter of its memory; None: in memory.
    """
    mask = varying_voxels(pool)
    contrast = torch.cat([unit_rows(pool[block], mask)[1] for block in _blocks(len(pool), 64 * mask.numel())])
    kept = contrast.nonzero().squeeze(1)
    dims = pool.ndim - 2
    whole = Frame(tuple(pool.shape[2:]), spacing or (1.0,) * dims)
    fine = whole.coarser(FINE_SIDE[dims])
    half = fine.coarser((max(fine.size) + 1) // 2)
    coarse = whole.coarser(COARSE_SIDE[dims])
    blur, window = BAND[dims].blur, BAND[dims].window
    levels = (
        _Level.prepare(pool, kept, mask, coarse, COARSE_BLUR, COARSE_WINDOW, scratch),
        _Level.prepare(pool, kept, mask, half, blur / 2, window / 2, scratch),
        _Level.prepare(pool, kept, mask, fine, blur, window, scratch),
    )
    patient = patients.to(pool.device)[kept]
    candidates = Coarse.prepare(levels[0].images, levels[0].mask, slots(patient, IMAGES), coarse)
    rough = torch.cat(
        [pool[:0].flatten(), *(roughness(pool[kept[block]], fine) for block in _blocks(len(kept), 64 * mask.numel()))]
    )
    noisy = NOISY * float(rough.quantile(0.98)) if len(rough) else torch.inf
    return AlignedSearch(candidates, levels, kept, mask, pool, patient, noisy)


def _relative(correlation: Tensor) -> Tensor:
    """``relative_to_next`` of correlations (Q, W, k) in any order, for each of W ways by itself."""
    ordered, order = correlation.flatten(0, 1).sort(dim=1, descending=True, stable=True)
    relative = torch.empty_like(ordered).scatter_(1, order, relative_to_next(ordered, NEIGHBOURS - 1))
    return relative.reshape(correlation.shape)


def _tensors(found: Pairs) -> tuple[Tensor, ...]:
    return found.correlation, found.index, found.transform, found.mirror


def _blocks(count: int, bytes_each: int) -> Iterator[slice]:
    """Slices over ``count`` things that fit ``BLOCK_BYTES``."""
    size = max(1, BLOCK_BYTES // bytes_each)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
