"""Invertible resampling: voxels become channels and channels voxels again, and nothing is lost."""

from __future__ import annotations

import torch
from torch import Tensor

from lichen.models.reversible.chain import State, Step


def space_to_depth(x: Tensor) -> Tensor:
    """x (B, C, *S) -> (B, C 2^d, *S/2): the 2^d voxels of every block become channels."""
    dims = x.ndim - 2
    blocks = x.reshape(*x.shape[:2], *(part for size in x.shape[2:] for part in (size // 2, 2)))
    coarse, fine = range(2, 2 + 2 * dims, 2), range(3, 3 + 2 * dims, 2)
    moved: Tensor = blocks.permute(0, 1, *fine, *coarse).flatten(1, 1 + dims)
    return moved.contiguous()


def depth_to_space(x: Tensor) -> Tensor:
    """The inverse: x (B, C 2^d, *S) -> (B, C, *2S)."""
    dims = x.ndim - 2
    blocks: Tensor = x.unflatten(1, (-1, *(2,) * dims))
    order = (axis for i in range(dims) for axis in (2 + dims + i, 2 + i))
    moved: Tensor = blocks.permute(0, 1, *order)
    return moved.reshape(x.shape[0], -1, *(2 * size for size in x.shape[2:]))


class Descent(Step):
    """Takes the last ``channels`` of both streams through ``below`` at half the size; the others wait for them.

    Those that wait are the skip connection of an invertible U-Net (iUNet, arXiv 2005.05220).
    """

    def __init__(self, channels: int, below: Step) -> None:
        super().__init__()
        self.channels = channels
        self.below = below

    def forward(self, state: State, embedding: Tensor) -> State:
        """The state after ``below`` has changed what goes down."""
        waiting, down = self._divide(state)
        return _unite(waiting, self.below(down, embedding))

    def undo(self, state: State, towards: State, embedding: Tensor) -> tuple[State, State]:
        """The state before ``below``, with the gradient; what waits stays where it is."""
        below = self.below.undo(self._divide(state)[1], self._divide(towards)[1], embedding)
        for whole, parts in zip((state, towards), below, strict=True):
            for stream, part in zip(whole, parts, strict=True):
                stream[:, -self.channels :] = depth_to_space(part)
        return state, towards

    def _divide(self, state: State) -> tuple[State, State]:
        """The channels that wait, and those that go down, at half the size."""
        a, b = state
        kept = a.shape[1] - self.channels
        return (a[:, :kept], b[:, :kept]), (space_to_depth(a[:, kept:]), space_to_depth(b[:, kept:]))


def _unite(waiting: State, down: State) -> State:
    a, b = (torch.cat((w, depth_to_space(d)), dim=1) for w, d in zip(waiting, down, strict=True))
    return a, b
