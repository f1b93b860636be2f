"""Structural similarity of a query with the patients that resemble it most by plain correlation.

SSIM compares, in a small window about each voxel, the means, the variances and the covariance of two images (Wang,
Bovik, Sheikh and Simoncelli, IEEE TIP 2004, equation 13, with K1 = 0.01, K2 = 0.03 and a Gaussian window of standard
deviation 1.5 and 11 voxels). Here its map is averaged over the voxels that are not background, channel by channel, and
then over the channels. Every pair would cost too much: ``pearson`` names the ``SHORTLIST`` nearest patients of all, and
only these are compared, each by the image that ``pearson`` liked best. Nothing is aligned.

Images larger than ``SIDE`` are averaged down first, as Wang et al. advise for images seen from afar.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.contrast import averaged
from lichen.audit.pearson import PearsonSearch
from lichen.audit.pearson import prepare as prepare_pearson
from lichen.audit.relative import relative_to_next
from lichen.audit.scores import NEIGHBOURS, Nearest
from lichen.audit.warp import Frame
from lichen.progress import Step, silent

if TYPE_CHECKING:
    from torch import Tensor

SHORTLIST = 32
"""Training patients taken from the correlation, and compared by SSIM."""
SIDE = {2: 128, 3: 48}
"""Voxels along the longest side of the grid, by the number of axes; smaller images keep their own."""
DEVIATION, RADIUS = 1.5, 5
"""Of the window, in voxels of the grid."""
K1, K2 = 0.01, 0.03
BLOCK_BYTES = 64 * 2**20
"""Working memory of one block of queries with their candidates; a block holds one query at least."""


@dataclass(frozen=True)
class Local:
    """Images and what a window about each voxel sees of them."""

    values: Tensor
    """(B, C, *S)."""
    mean: Tensor
    """(B, C, *S)."""
    variance: Tensor
    """(B, C, *S)."""

    @staticmethod
    def of(values: Tensor) -> Local:
        """Of images (B, C, *S), each axis at least 1 long."""
        mean = windowed(values)
        return Local(values, mean, (windowed(values.square()) - mean.square()).clamp(min=0))

    def repeat(self, times: int) -> Local:
        """Each image ``times`` times in a row, (B * times, C, *S)."""
        return Local(*(part.repeat_interleave(times, 0) for part in (self.values, self.mean, self.variance)))


def windowed(images: Tensor) -> Tensor:
    """The mean of ``images`` (B, C, *S) in a Gaussian window about each voxel; at the edges, of what is there."""
    for axis, side in enumerate(images.shape[2:], 2):
        at = torch.arange(side, device=images.device, dtype=torch.float64)
        apart = (at[:, None] - at).abs()
        weight = (-0.5 * (apart / DEVIATION).square()).exp() * (apart <= RADIUS)
        weight = (weight / weight.sum(1, keepdim=True)).to(images)
        images = (images.movedim(axis, -1) @ weight.T).movedim(-1, axis)
    return images


def ssim_map(one: Local, other: Local, value_range: float = 1.0) -> Tensor:
    """SSIM about each voxel, (B, C, *S), from -1 to 1; ``value_range``: the largest minus the smallest value possible.

    Wang et al. 2004, equation 13.
    """
    c1 = (K1 * value_range) ** 2
    luminance = (2 * one.mean * other.mean + c1) / (one.mean.square() + other.mean.square() + c1)
    return luminance * contrast_structure(one, other, value_range)


def contrast_structure(one: Local, other: Local, value_range: float = 1.0) -> Tensor:
    """SSIM about each voxel without the comparison of means, (B, C, *S), from -1 to 1."""
    c2 = (K2 * value_range) ** 2
    covariance = windowed(one.values * other.values) - one.mean * other.mean
    return (2 * covariance + c2) / (one.variance + other.variance + c2)


@dataclass(frozen=True)
class SsimSearch:
    """Training images on the grid; a ``Search``. Holds 4 bytes per voxel of the grid beside those of ``candidates``."""

    candidates: PearsonSearch
    images: Tensor
    """(M, C, *size) float32, the values of the pool brought to [0, 1]."""
    weight: Tensor
    """(C, *size) float32, adds up to 1: an equal share for each channel, and in it for each voxel not background."""
    frame: Frame
    low: float
    """The smallest value of the pool."""
    span: float
    """The largest minus the smallest."""

    def __call__(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> Nearest:
        """The ``k`` nearest training patients of each of ``queries`` (Q, C, *S), relative to the next nearest ones."""
        similarity, index = self.compare(queries, k=max(k, NEIGHBOURS), step=step)
        return Nearest(relative_to_next(similarity, NEIGHBOURS - 1)[:, :k], index[:, :k])

    def compare(self, queries: Tensor, *, k: int = NEIGHBOURS, step: Step = silent) -> tuple[Tensor, Tensor]:
        """The highest SSIM of each of ``queries`` (Q, C, *S) and whose it is, (Q, k) each, best first.

        -inf and -1 where there is nothing to compare: a constant image, fewer patients.
        """
        wide = max(k, SHORTLIST)
        size = max(1, BLOCK_BYTES // (4 * 12 * wide * self.weight.numel()))
        parts = [self._block(queries[at : at + size], wide, k, step) for at in range(0, len(queries), size)]
        empty = (torch.empty((0, k)), torch.empty((0, k), dtype=torch.int64))
        return tuple(torch.cat(column) for column in zip(*(parts or [empty]), strict=True))  # type: ignore[return-value]

    def _block(self, queries: Tensor, wide: int, k: int, step: Step) -> tuple[Tensor, Tensor]:
        index = self.candidates(queries, k=wide).index
        images = (averaged(queries.to(self.images), self.frame) - self.low) / self.span
        asked = Local.of(images).repeat(wide)
        maps = ssim_map(asked, Local.of(self.images[index.flatten().clamp(min=0)]))
        similarity = (maps * self.weight).flatten(1).sum(1).reshape(index.shape).masked_fill(index < 0, -torch.inf)
        order = similarity.argsort(dim=1, descending=True, stable=True)[:, :k]
        step(len(queries))
        return similarity.gather(1, order), index.gather(1, order)


def prepare(pool: Tensor, patients: Tensor) -> SsimSearch:
    """Make training images ``pool`` (M, C, *S) of ``patients`` (M,) int64 ready for ``SsimSearch``."""
    candidates = prepare_pearson(pool, patients)
    frame = Frame(tuple(pool.shape[2:]), (1.0,) * (pool.ndim - 2)).coarser(SIDE[pool.ndim - 2])
    low, span = float(pool.min()), max(float(pool.max() - pool.min()), 1e-12)
    kept = averaged(candidates.mask.reshape(1, *pool.shape[1:]).float(), frame)[0] >= 0.5
    kept = kept if bool(kept.any()) else torch.ones_like(kept)
    voxels = kept.flatten(1).sum(1)
    weight = kept / (voxels.clamp(min=1) * (voxels > 0).sum()).reshape(-1, *[1] * frame.dims)
    return SsimSearch(candidates, (averaged(pool.float(), frame) - low) / span, weight, frame, low, span)
