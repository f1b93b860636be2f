"""Rotating, shifting, zooming and mirroring what is planted: one affine matrix per image, one interpolation in all.

Apart from ``warp``, by which the aligned score looks for such motions: an error of its own would hide behind a test
that shares it.

A matrix A (B, D+1, D+1) float64, D spatial axes, says where the content of an image goes: what is at p, in voxels from
the centre of the grid, moves to A p. Matrices compose by ``@``, the right one first; only ``warp`` touches voxels, so a
rotation with a shift and a zoom is interpolated once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import affine_grid, grid_sample

if TYPE_CHECKING:
    from torch import Tensor

BACKGROUND = -1.0
"""What comes in from outside the image: the darkest value."""


def shift(voxels: Tensor) -> Tensor:
    """Matrices that move the content by ``voxels`` (B, D) along each axis."""
    matrix = _identity(*voxels.shape)
    matrix[:, :-1, -1] = voxels
    return matrix


def zoom(factor: Tensor, dims: int) -> Tensor:
    """Matrices that enlarge by ``factor`` (B,) about the centre of the grid; ``dims`` spatial axes."""
    matrix = _identity(len(factor), dims)
    matrix[:, :-1, :-1] *= factor.double().reshape(-1, 1, 1)
    return matrix


def mirror(count: int, dims: int) -> Tensor:
    """Matrices that swap left and right; see ``left_right``."""
    matrix = _identity(count, dims)
    axis = left_right(dims)
    matrix[:, axis, axis] = -1
    return matrix


def left_right(dims: int) -> int:
    """Which spatial axis runs between left and right: the columns of a picture, the first axis of a volume (RAS+)."""
    return 0 if dims == 3 else dims - 1


def rotation(degrees: Tensor, axis: Tensor | None = None, spacing: Sequence[float] | None = None) -> Tensor:
    """Matrices that rotate by ``degrees`` (B,) about the centre of the grid.

    In two dimensions (``axis`` None) the first axis turns towards the second. In three, ``axis`` (B, 3) are unit
    vectors to turn about (Rodrigues' formula); about (0, 0, 1) again the first axis turns towards the second.
    ``spacing`` says how far apart voxels are along each axis, in any unit, so that thick slices are turned and not
    sheared; None: equally.
    """
    angle = degrees.double().deg2rad()
    sin, cos = angle.sin().reshape(-1, 1, 1), angle.cos().reshape(-1, 1, 1)
    if axis is None:
        turn = torch.cat([torch.cat([cos, -sin], 2), torch.cat([sin, cos], 2)], 1)
    else:
        x, y, z = axis.double().unbind(1)
        none = torch.zeros_like(x)
        cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], 1).reshape(-1, 3, 3)
        turn = torch.eye(3, dtype=torch.float64) + sin * cross + (1 - cos) * cross @ cross
    dims = turn.shape[1]
    scale = torch.tensor([1.0] * dims if spacing is None else list(spacing), dtype=torch.float64)
    matrix = _identity(len(turn), dims)
    matrix[:, :-1, :-1] = turn * scale / scale.reshape(-1, 1)
    return matrix


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """The ``images`` (B, C, *S) moved by ``matrix`` (B, D+1, D+1), interpolated linearly, -1 coming in from outside."""
    size = torch.tensor(images.shape[2:], dtype=torch.float64)
    back = matrix.inverse()  # where the content of each voxel comes from
    # grid_sample counts axes backwards, each from -1 to 1 between the outer faces of the outermost voxels
    linear = (back[:, :-1, :-1] * size / size.reshape(-1, 1)).flip(1, 2)
    offset = (back[:, :-1, -1] * 2 / size).flip(1)
    theta = torch.cat([linear, offset.unsqueeze(2)], 2).to(images.device)
    grid = affine_grid(theta, list(images.shape), align_corners=False).to(images.dtype)
    return grid_sample(images - BACKGROUND, grid, padding_mode="zeros", align_corners=False) + BACKGROUND


def _identity(count: int, dims: int) -> Tensor:
    return torch.eye(dims + 1, dtype=torch.float64).repeat(count, 1, 1)
