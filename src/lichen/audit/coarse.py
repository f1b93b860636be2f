"""Candidates: the training patients nearest to a query over a grid of transformations, on a coarse grid of voxels.

Exact in this sense: for every training image and every transformation of the grid the correlation over the voxels that
both images show is computed, by one matrix product; nothing is skipped, so the candidates are the best ones of this
coarse score. It is no promise about the fine score: a patient who is not among the candidates is never aligned.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.topk import RunningBest
from lichen.audit.warp import inside, limits, locate, mirrored, sample

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.warp import Frame

PICTURE_SHIFTS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Shifts tried along each axis of a picture, as shares of the largest."""
PICTURE_ROTATIONS = (-1.0, -0.5, 0.0, 0.5, 1.0)
VOLUME_SHIFTS = (-0.7, 0.0, 0.7)
"""Fewer for volumes, whose shifts and rotations have three axes each."""
VOLUME_ROTATIONS = (-0.7, 0.7)
"""About one axis at a time, beside none."""
ZOOMS = (-0.9, 0.0, 0.9)
"""As shares of the largest logarithm."""


def transformations(dims: int, device: torch.device) -> Tensor:
    """The grid of transformations, (T, P); T = 375 in 2D, 567 in 3D."""
    shifts = itertools.product(PICTURE_SHIFTS if dims == 2 else VOLUME_SHIFTS, repeat=dims)
    rotations: Sequence[tuple[float, ...]] = [(turn,) for turn in PICTURE_ROTATIONS]
    if dims == 3:
        rotations = [(0.0, 0.0, 0.0)] + [
            tuple(turn if axis == about else 0.0 for axis in range(3))
            for about in range(3)
            for turn in VOLUME_ROTATIONS
        ]
    grid = [shift + turn + (zoom,) for shift, turn, zoom in itertools.product(shifts, rotations, ZOOMS)]
    return torch.tensor(grid, device=device) * limits(dims, device)


def slots(patient: Tensor, each: int) -> Tensor:
    """Numbers (M,) in place of ``patient`` (M,): the images of a patient share ``each`` numbers in turn.

    Where a search gives the best image of each number, up to ``each`` images of one patient stay candidates.
    """
    turns: dict[int, int] = {}
    numbers = []
    for number in patient.tolist():
        turns[number] = turn = turns.get(number, -1) + 1
        numbers.append(number * each + turn % each)
    return torch.tensor(numbers, dtype=torch.int64, device=patient.device)


@dataclass(frozen=True)
class Coarse:
    """Training images on the coarse grid of voxels, and the grid of transformations."""

    frame: Frame
    rows: Tensor
    """(M, C * V) float32, even contrast."""
    patient: Tensor
    """(M,) int64."""
    located: Tensor
    """(T, V, d) float32: where each voxel lies in the query under each transformation."""
    shown: Tensor
    """(T, C * V) float32: 1 for a voxel that is no background and lies in the query's field."""
    transforms: Tensor
    """(T, P) float32."""

    @staticmethod
    def prepare(images: Tensor, mask: Tensor, patient: Tensor, frame: Frame) -> Coarse:
        """``images`` (M, C, *S) with even contrast, ``mask`` (C, V) bool, ``patient`` (M,) int64."""
        transforms = transformations(frame.dims, images.device)
        located = locate(transforms, frame)
        shown = (inside(located)[:, None] & mask).flatten(1).float()
        return Coarse(frame, images.flatten(1), patient, located, shown, transforms)

    def variants(self, queries: Tensor) -> Tensor:
        """``queries`` (Q, C, *S) plain and mirrored under every transformation, as unit rows (Q, 2 T, C * V)."""
        both = torch.stack([queries, mirrored(queries)], 1)
        count, channels = len(queries), queries.shape[1]
        # All images as channels of one: the places and weights of the interpolation are worked out only once.
        read = sample(both.reshape(1, -1, *self.frame.size), self.located.flatten(0, 1)[None])
        read = read.reshape(count, 2, channels, len(self.transforms), -1).movedim(2, 3).flatten(3)
        read = read - ((read * self.shown).sum(-1) / self.shown.sum(-1).clamp(min=1))[..., None]
        read = read * self.shown
        rows: Tensor = read / read.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        return rows.flatten(1, 2)

    def best(self, variants: Tensor, k: int, pool_rows: int) -> RunningBest:
        """The ``k`` nearest patients of queries whose ``variants`` are (Q, 2 T, C * V), in blocks of ``pool_rows``."""
        found = RunningBest.empty(len(variants), k, variants.device)
        for start in range(0, len(self.rows), pool_rows):
            block = slice(start, start + pool_rows)
            values = self.rows[block]
            product = (variants.flatten(0, 1) @ values.T).reshape(-1, 2, len(self.transforms), len(values))
            nearest = product.amax(1).mul_(self._inverse_length(values)).amax(1)
            index = torch.arange(start, start + len(values), device=values.device)
            found.update(nearest, self.patient[block], index)
        return found

    def starts(self, variants: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The best transformation of each pair, (Q, k, P), and whether it mirrors the query, (Q, k) bool.

        ``variants`` (Q, 2 T, C * V) of the queries, ``index`` (Q, k) rows of the pool.
        """
        values = self.rows[index]
        product = variants @ values.transpose(1, 2)
        lengths = self._inverse_length(values.flatten(0, 1)).reshape(-1, *index.shape).movedim(0, 1)
        at = (product * lengths.repeat(1, 2, 1)).argmax(1)
        return self.transforms[at % len(self.transforms)], at >= len(self.transforms)

    def _inverse_length(self, values: Tensor) -> Tensor:
        """One over the length of rows (n, C * V) after removing the mean, over the voxels shown: (T, n)."""
        count = self.shown.sum(1, keepdim=True).clamp(min=1)
        square = self.shown @ values.square().T - (self.shown @ values.T).square() / count
        return square.clamp(min=1e-6).rsqrt()
