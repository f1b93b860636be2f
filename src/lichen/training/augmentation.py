"""Training images slightly moved, otherwise each time they are seen: shifted, turned and scaled.

How far, is drawn from the numbers of the step, so that step k stays a function of (seed, images seen). The bounds lie
within those in which the audit aligns images: a copy of an image as it was shown is found like one of the image itself.
Nothing is mirrored, because anatomy has sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.training.draws import Draws
from lichen.training.loop import Loss

Transform = Callable[[Tensor, Draws], Tensor]
"""(batch (B, ...), random numbers for its images) -> what the network is shown of it, (B, ...)."""

SHIFT = 0.05
"""Largest shift along each axis, as a share of the field along that axis."""
ROTATION_DEG = 8.0
"""Largest rotation, in 3D about each axis."""
ZOOM = 1.08
"""Largest zoom; the smallest is its inverse."""


def affine(spacing: Sequence[float], *, label_map: bool = False) -> Transform:
    """Moves images (B, C, *S) in [-1, 1], each otherwise, all its channels alike; shift, angles and log zoom uniform.

    ``spacing``: length of a voxel along each axis, in any unit; a rotation keeps every true distance. Intensities are
    interpolated, in 2D by cubic convolution, which blurs less (PyTorch has none in 3D). With a ``label_map``, the last
    channel, that one takes the value of the nearest voxel, so that no class comes to be. Beyond its border an image
    goes on mirrored.
    """
    smooth = "bicubic" if len(spacing) == 2 else "bilinear"

    def moved(images: Tensor, draws: Draws) -> Tensor:
        motions = _motions(images.shape[2:], spacing, draws)
        points = functional.affine_grid(motions, list(images.shape), align_corners=False)

        def read(channels: Tensor, mode: str) -> Tensor:
            return functional.grid_sample(channels, points, mode, padding_mode="reflection", align_corners=False)

        if label_map:
            return torch.cat([read(images[:, :-1], smooth).clamp(-1, 1), read(images[:, -1:], "nearest")], dim=1)
        return read(images, smooth).clamp(-1, 1)

    return moved


def transformed(loss: Loss, transform: Transform) -> Loss:
    """``loss`` of what ``transform`` makes of a batch, without a gradient through it and in full precision."""

    def of_transformed(network: nn.Module, examples: Tensor, draws: Draws) -> Tensor:
        with torch.no_grad(), torch.autocast(examples.device.type, enabled=False):
            shown = transform(examples, draws)
        return loss(network, shown, draws)

    return of_transformed


def _motions(size: Sequence[int], spacing: Sequence[float], draws: Draws) -> Tensor:
    """Where each point of a moved image lies in the image, (b, d, d + 1) for ``affine_grid``.

    Points go from -1 to 1 across the field, the last axis first. Each law is that of its inverse, so none is inverted.
    """
    dims, planes = len(size), list(combinations(range(len(size)), 2))
    device = draws.generator.device
    most = [2 * SHIFT] * dims + [math.radians(ROTATION_DEG)] * len(planes) + [math.log(ZOOM)]
    numbers = (2 * draws.uniform((len(most),)) - 1) * torch.tensor(most, device=device)
    shift, angles, log_zoom = numbers.split([dims, len(planes), 1], dim=1)
    turns = torch.zeros(len(planes), dims, dims, device=device)  # antisymmetric: their exponentials are the rotations
    for turn, (one, other) in zip(turns, planes, strict=True):
        turn[one, other], turn[other, one] = -1.0, 1.0
    rotation = torch.linalg.matrix_exp(torch.einsum("bp,pij->bij", angles, turns))
    extent = torch.tensor([count * length for count, length in zip(size, spacing, strict=True)], device=device)
    linear = log_zoom.exp()[:, :, None] * rotation * (extent / extent[:, None])
    return torch.cat([linear.flip(1, 2), shift.flip(1)[:, :, None]], dim=2)
