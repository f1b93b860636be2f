"""Where the points of a training image lie in a query that was mirrored, shifted, rotated or zoomed.

A transformation is a row of P numbers: the shift along each axis as a share of the field, the rotation in radians (an
angle in 2D, a rotation vector in 3D) and the logarithm of the zoom. It takes a point x of the training image, measured
from the centre of the field, to zoom * R x + shift in the query. Lengths are true lengths: where voxels are longer
along one axis, a rotation still keeps every distance. Mirrors are no rotation; they are tried apart, by ``mirrored``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from lichen.audit.motion import left_right

if TYPE_CHECKING:
    from torch import Tensor

MAX_SHIFT = 0.1
"""Largest shift along each axis, as a share of the field along that axis."""
MAX_ROTATION_DEG = 10.0
"""Largest rotation, in 3D about each axis."""
MIN_ZOOM = 0.9
"""Smallest zoom; the largest is its inverse, 1.11, so that query and training image are treated alike."""


@dataclass(frozen=True)
class Frame:
    """A grid of V = prod(S) voxels with the origin in its centre; lengths in units of half its longest side."""

    size: tuple[int, ...]
    """Voxels along each of d = 2 or 3 axes."""
    spacing: tuple[float, ...]
    """Length of a voxel along each axis, in any unit."""

    @property
    def dims(self) -> int:
        """The number of axes, d."""
        return len(self.size)

    @cached_property
    def extent(self) -> tuple[float, ...]:
        """Length of the field along each axis; the longest is 2."""
        lengths = [count * step for count, step in zip(self.size, self.spacing, strict=True)]
        return tuple(2 * length / max(lengths) for length in lengths)

    def points(self, device: torch.device) -> Tensor:
        """Centres of the voxels, (V, d) float32."""
        axes = [
            (torch.arange(count, device=device) - (count - 1) / 2) * (length / count)
            for count, length in zip(self.size, self.extent, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, self.dims)

    def coarser(self, side: int) -> Frame:
        """The same field on a grid with about ``side`` voxels along the longest side, cubic where that coarsens."""
        size = tuple(
            min(count, max(1, math.ceil(side * length / 2 - 1e-6)))
            for count, length in zip(self.size, self.extent, strict=True)
        )
        return Frame(size, tuple(length / count for length, count in zip(self.extent, size, strict=True)))


def limits(dims: int, device: torch.device) -> Tensor:
    """The largest absolute value of each of the P numbers of a transformation, (P,): 4 numbers in 2D, 7 in 3D."""
    angles = 1 if dims == 2 else 3
    values = [MAX_SHIFT] * dims + [math.radians(MAX_ROTATION_DEG)] * angles + [-math.log(MIN_ZOOM)]
    return torch.tensor(values, device=device)


def matrices(transforms: Tensor, frame: Frame) -> tuple[Tensor, Tensor]:
    """Zoom times rotation, (B, d, d), and shift, (B, d), of ``transforms`` (B, P)."""
    turned = torch.einsum("bi,ijk->bjk", transforms[:, frame.dims : -1], generators(frame.dims, transforms.device))
    shift = transforms[:, : frame.dims] * torch.tensor(frame.extent, device=transforms.device)
    return transforms[:, -1].exp()[:, None, None] * torch.linalg.matrix_exp(turned), shift


def generators(dims: int, device: torch.device) -> Tensor:
    """Antisymmetric matrices whose exponentials are the rotations, (angles, d, d)."""
    planes = [(0, 1)] if dims == 2 else [(1, 2), (2, 0), (0, 1)]
    made = torch.zeros((len(planes), dims, dims), device=device)
    for number, (first, second) in enumerate(planes):
        made[number, first, second], made[number, second, first] = -1.0, 1.0
    return made


def locate(transforms: Tensor, frame: Frame) -> Tensor:
    """Where each voxel of the training image lies in the query, (B, V, d), -1 to 1 across the field along each axis."""
    matrix, shift = matrices(transforms, frame)
    moved = frame.points(transforms.device) @ matrix.transpose(1, 2) + shift[:, None]
    return moved / (torch.tensor(frame.extent, device=transforms.device) / 2)


def locate_back(transforms: Tensor, frame: Frame) -> Tensor:
    """Where each voxel of the query lies in the training image, (B, V, d) in the units of ``locate``: its inverse."""
    matrix, shift = matrices(transforms, frame)
    moved: Tensor = (frame.points(transforms.device) - shift[:, None]) @ torch.linalg.inv(matrix).transpose(1, 2)
    return moved / (torch.tensor(frame.extent, device=transforms.device) / 2)


def inside(located: Tensor) -> Tensor:
    """Which of the points ``located`` (B, V, d) lie in the field of the query, (B, V) bool."""
    return (located.abs() <= 1).all(-1)


def sample(images: Tensor, located: Tensor, *, padding: Literal["border", "zeros"] = "border") -> Tensor:
    """``images`` (B, C, *S) read at points (B, V, d) by linear interpolation, (B, C, V); edges continue outside.

    With ``padding`` "zeros" there is 0 outside.
    """
    grid = located.flip(-1).reshape(len(images), located.shape[1], *[1] * (images.ndim - 3), images.ndim - 2)
    return functional.grid_sample(images, grid, padding_mode=padding, align_corners=False).flatten(2)


def mirrored(images: Tensor) -> Tensor:
    """``images`` (N, C, *S) with left and right exchanged: the columns of a picture, the first axis of a volume."""
    return images.flip(2 + left_right(images.ndim - 2))


def moved_onto(query: Tensor, transform: Tensor, *, mirror: bool, frame: Frame) -> Tensor:
    """``query`` (C, *S) brought onto the training image it was aligned with, (C, *S), for looking at the two together.

    ``transform`` (P,) and ``mirror`` as the alignment found them; ``frame`` is the grid of ``query``, of any fineness.
    Where the query shows nothing it is NaN.
    """
    images = query[None]
    where = locate(transform[None].to(query.device), frame)
    moved = sample(mirrored(images) if mirror else images, where)
    return moved.masked_fill(~inside(where)[:, None], torch.nan).reshape(query.shape)
