"""The transformation under which two images correlate best, climbed to from a start.

The correlation of f and g after centring both and scaling them to length 1 is 1 - |f - g|^2 / 2, so the highest
correlation is a least-squares problem, solved by Levenberg-Marquardt steps (Marquardt 1963) whose derivative follows
the chain rule through centring, scaling and the transformation; compare Evangelidis and Psarakis, IEEE TPAMI 2008
(enhanced correlation coefficient). A step is kept only if the correlation rises: the result is never below its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.warp import generators, inside, limits, locate, matrices, sample

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.warp import Frame

DAMPING = 0.01
"""Of the first step; divided or multiplied by ``CHANGE`` after a step that was kept or not."""
CHANGE = 5.0


@dataclass(frozen=True)
class _Local:
    """The correlation of B pairs at a transformation, and the normal equations of the next step."""

    correlation: Tensor  # (B,)
    curvature: Tensor  # (B, P, P), J^T J
    gradient: Tensor  # (B, P), J^T (f - g)

    def where(self, taken: Tensor, other: _Local) -> _Local:
        """Row by row this one where ``taken`` (B,), elsewhere the ``other``."""
        return _Local(
            self.correlation.where(taken, other.correlation),
            self.curvature.where(taken[:, None, None], other.curvature),
            self.gradient.where(taken[:, None], other.gradient),
        )


def climb(
    fixed: Tensor, moving: Tensor, mask: Tensor, frame: Frame, start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """The best transformation of each of B pairs, (B, P), and the correlation there, (B,).

    ``fixed`` (B, C, *S) are training images, ``moving`` (B, C, *S) queries, ``mask`` (C, V) bool says which voxels of
    the training images count, ``start`` (B, P). Stays within ``limits``; takes ``steps`` steps for all pairs alike.
    """
    limit = limits(frame.dims, start.device)
    best = start.clamp(-limit, limit)
    if not steps:
        return best, correlation(fixed, moving, mask, frame, best)
    slopes = torch.cat([moving, *_slopes(moving, frame)], 1)
    here = _local(fixed, slopes, mask, frame, best)
    damping = torch.full_like(here.correlation, DAMPING)
    for _ in range(steps - 1):
        trial = _onward(best, here, damping).clamp(-limit, limit)
        there = _local(fixed, slopes, mask, frame, trial)
        better = there.correlation > here.correlation
        best = trial.where(better[:, None], best)
        here = there.where(better, here)
        damping = (damping / CHANGE).where(better, damping * CHANGE)
    # No step follows the last one, so it needs no slopes, and they are most of the work.
    trial = _onward(best, here, damping).clamp(-limit, limit)
    last = correlation(fixed, moving, mask, frame, trial)
    better = last > here.correlation
    return trial.where(better[:, None], best), last.where(better, here.correlation)


def _onward(best: Tensor, here: _Local, damping: Tensor) -> Tensor:
    """Where a step damped by ``damping`` (B,) leads from ``best`` (B, P)."""
    diagonal = here.curvature.diagonal(dim1=1, dim2=2)
    damped = here.curvature + torch.diag_embed(damping[:, None] * diagonal + 1e-6)
    # Stripes or a disc leave a direction open: such a step may fail, and is then no step.
    move: Tensor = torch.linalg.solve_ex(damped, here.gradient).result
    return best + move.nan_to_num(0.0, 0.0, 0.0)


def correlation(fixed: Tensor, moving: Tensor, mask: Tensor, frame: Frame, transforms: Tensor) -> Tensor:
    """The correlation of B pairs at ``transforms`` (B, P), over the voxels that both show, (B,); else as ``climb``."""
    located = locate(transforms, frame)
    shown = (inside(located)[:, None] & mask).flatten(1)
    return correlation_of(fixed.flatten(1), sample(moving, located).flatten(1), shown)


def correlation_of(one: Tensor, other: Tensor, shown: Tensor) -> Tensor:
    """The correlation (B,) of rows (B, C * V) over the voxels ``shown`` (B, C * V) bool; 0 without contrast."""
    return (_unit(one, shown)[0] * _unit(other, shown)[0]).sum(1)


def _local(fixed: Tensor, slopes: Tensor, mask: Tensor, frame: Frame, transforms: Tensor) -> _Local:
    channels, dims = fixed.shape[1], frame.dims
    located = locate(transforms, frame)
    shown = (inside(located)[:, None] & mask).flatten(1)
    read = sample(slopes, located).reshape(len(fixed), 1 + dims, -1)  # (B, 1 + d, C * V)
    one, _ = _unit(fixed.flatten(1), shown)
    other, length = _unit(read[:, 0], shown)
    points = frame.points(fixed.device)
    points = torch.cat([points, torch.ones_like(points[:, :1])], 1).T.repeat(1, channels)  # (d + 1, C * V)
    # Slope along axis a times coordinate b: the derivative by entry (a, b) of the affine map (matrix, shift). What
    # centring, scaling and the transformation make of it needs only its sums and products, not the P derivatives.
    affine = ((read[:, 1:] * shown[:, None])[:, :, None] * points).flatten(1, 2)  # (B, d (d + 1), C * V)
    sums = affine.sum(2) / shown.sum(1, keepdim=True).clamp(min=1).sqrt()
    along = (affine @ torch.stack([one, other], 2)).unbind(2)  # both centred, so that the slopes need not be
    correlation = (one * other).sum(1)
    products = affine @ affine.transpose(1, 2) - _outer(sums) - _outer(along[1])
    by_transform = _by_transform(transforms, frame) / length[:, None, None]
    return _Local(
        correlation,
        by_transform @ products @ by_transform.transpose(1, 2),
        (by_transform @ (along[0] - correlation[:, None] * along[1])[..., None]).squeeze(2),
    )


def _outer(rows: Tensor) -> Tensor:
    """Each row (B, n) times itself, (B, n, n)."""
    return rows[:, :, None] * rows[:, None]


def _by_transform(transforms: Tensor, frame: Frame) -> Tensor:
    """Derivative of the affine map (matrix, shift) by the P numbers of a transformation, (B, P, d (d + 1)).

    In 3D the derivative of the rotation is that of a turn made after it, equal to first order in the angles.
    """
    dims, (matrix, _) = frame.dims, matrices(transforms, frame)
    turns = generators(dims, transforms.device)
    made = transforms.new_zeros((*transforms.shape, dims, dims + 1))
    for axis, extent in enumerate(frame.extent):
        made[:, axis, axis, dims] = extent
    made[:, dims:-1, :, :dims] = turns @ matrix[:, None]
    made[:, -1, :, :dims] = matrix
    return made.flatten(2)


def _slopes(images: Tensor, frame: Frame) -> list[Tensor]:
    """Derivative of ``images`` (B, C, *S) along each axis, in the lengths of ``frame``."""
    return [
        torch.gradient(images, spacing=extent / count, dim=axis)[0] if count > 1 else torch.zeros_like(images)
        for axis, (count, extent) in enumerate(zip(frame.size, frame.extent, strict=True), 2)
    ]


def _centred(values: Tensor, shown: Tensor) -> Tensor:
    mean = (values * shown).sum(-1, keepdim=True) / shown.sum(-1, keepdim=True).clamp(min=1)
    return (values - mean) * shown


def _unit(values: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (B, C * V) centred over the voxels shown and scaled to length 1, and what the length was, (B,)."""
    values = _centred(values, shown)
    length = values.norm(dim=1).clamp(min=1e-6)
    return values / length[:, None], length
