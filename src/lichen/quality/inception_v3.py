"""Inception v3 as a network of features, without any weights of its own.

Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer vision" (arXiv
1512.00567), table 1 and figures 5 to 10. Weights have the names under which they are published for PyTorch, so that
a file that somebody has can be read. Two networks go by these names, and differ in their pooling alone:

- with 1000 classes, as it is usually trained for PyTorch;
- with 1008 classes, the TensorFlow graph of 5 December 2015 on which the Frechet Inception distance and the Inception
  score rest (Heusel et al., arXiv 1706.08500): averages do not count the border, and the last block takes the largest
  value in place of the average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 2048
SIDE = 299
"""Of the square that the network was trained on."""
GRAPH_CLASSES = 1008
"""Of the TensorFlow graph; some of them are empty."""

Pool = Literal["average", "average inside", "largest", "halve"]
"""3 x 3; 'average inside' does not count what lies beyond the border, 'halve' is the largest of every other place."""


@dataclass(frozen=True)
class _Conv:
    """A convolution, its normalisation and what of it is positive."""

    name: str
    channels: int
    kernel: tuple[int, int]
    stride: int = 1

    @property
    def padding(self) -> tuple[int, int]:
        """Halving convolutions lose the border, the others keep the size."""
        return (0, 0) if self.stride > 1 else (self.kernel[0] // 2, self.kernel[1] // 2)


@dataclass(frozen=True)
class _Fork:
    """Convolutions of the same input, beside each other."""

    convs: tuple[_Conv, ...]


_Path = tuple["_Conv | _Fork | Pool", ...]


def _conv(name: str, channels: int, kernel: int | tuple[int, int], stride: int = 1) -> _Conv:
    return _Conv(name, channels, kernel if isinstance(kernel, tuple) else (kernel, kernel), stride)


def _block_a(pooled: int, pool: Pool) -> tuple[_Path, ...]:
    return (
        (_conv("branch1x1", 64, 1),),
        (_conv("branch5x5_1", 48, 1), _conv("branch5x5_2", 64, 5)),
        (_conv("branch3x3dbl_1", 64, 1), _conv("branch3x3dbl_2", 96, 3), _conv("branch3x3dbl_3", 96, 3)),
        (pool, _conv("branch_pool", pooled, 1)),
    )


def _block_b() -> tuple[_Path, ...]:
    return (
        (_conv("branch3x3", 384, 3, 2),),
        (_conv("branch3x3dbl_1", 64, 1), _conv("branch3x3dbl_2", 96, 3), _conv("branch3x3dbl_3", 96, 3, 2)),
        ("halve",),
    )


def _block_c(inner: int, pool: Pool) -> tuple[_Path, ...]:
    row, column = (1, 7), (7, 1)
    return (
        (_conv("branch1x1", 192, 1),),
        (_conv("branch7x7_1", inner, 1), _conv("branch7x7_2", inner, row), _conv("branch7x7_3", 192, column)),
        (
            _conv("branch7x7dbl_1", inner, 1),
            _conv("branch7x7dbl_2", inner, column),
            _conv("branch7x7dbl_3", inner, row),
            _conv("branch7x7dbl_4", inner, column),
            _conv("branch7x7dbl_5", 192, row),
        ),
        (pool, _conv("branch_pool", 192, 1)),
    )


def _block_d() -> tuple[_Path, ...]:
    return (
        (_conv("branch3x3_1", 192, 1), _conv("branch3x3_2", 320, 3, 2)),
        (
            _conv("branch7x7x3_1", 192, 1),
            _conv("branch7x7x3_2", 192, (1, 7)),
            _conv("branch7x7x3_3", 192, (7, 1)),
            _conv("branch7x7x3_4", 192, 3, 2),
        ),
        ("halve",),
    )


def _block_e(pool: Pool) -> tuple[_Path, ...]:
    def fork(name: str) -> _Fork:
        return _Fork((_conv(f"{name}a", 384, (1, 3)), _conv(f"{name}b", 384, (3, 1))))

    return (
        (_conv("branch1x1", 320, 1),),
        (_conv("branch3x3_1", 384, 1), fork("branch3x3_2")),
        (_conv("branch3x3dbl_1", 448, 1), _conv("branch3x3dbl_2", 384, 3), fork("branch3x3dbl_3")),
        (pool, _conv("branch_pool", 192, 1)),
    )


class _Normed(nn.Module):
    """``conv`` and ``bn``, and what of their result is positive."""

    def __init__(self, inputs: int, channels: int, kernel: tuple[int, int], stride: int, padding: tuple[int, int]):
        super().__init__()
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Paths of the same input, whose results are stacked as channels."""

    def __init__(self, inputs: int, paths: Sequence[_Path]) -> None:
        super().__init__()
        self.paths, self.channels = tuple(paths), 0
        for path in self.paths:
            width = inputs
            for part in path:
                if isinstance(part, str):
                    continue
                convs = part.convs if isinstance(part, _Fork) else (part,)
                for conv in convs:
                    self.add_module(conv.name, _Normed(width, conv.channels, conv.kernel, conv.stride, conv.padding))
                width = sum(conv.channels for conv in convs)
            self.channels += width

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._follow(path, x) for path in self.paths], 1)

    def _follow(self, path: _Path, x: Tensor) -> Tensor:
        for part in path:
            if isinstance(part, str):
                x = _pooled(x, part)
            else:
                convs = part.convs if isinstance(part, _Fork) else (part,)
                x = torch.cat([self.get_submodule(conv.name)(x) for conv in convs], 1)
        return x


def _pooled(x: Tensor, pool: Pool) -> Tensor:
    if pool == "halve":
        return functional.max_pool2d(x, 3, 2)
    if pool == "largest":
        return functional.max_pool2d(x, 3, 1, 1)
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=pool == "average")


class Inception(nn.Module):
    """Images (B, 3, 299, 299) in [-1, 1] to features (B, 2048): the last block, averaged over space."""

    def __init__(self, classes: int) -> None:
        """``classes`` of the classifier that is published with the weights."""
        super().__init__()
        self.is_graph = classes == GRAPH_CLASSES
        inside: Pool = "average inside" if self.is_graph else "average"
        self.Conv2d_1a_3x3 = _Normed(3, 32, (3, 3), 2, (0, 0))
        self.Conv2d_2a_3x3 = _Normed(32, 32, (3, 3), 1, (0, 0))
        self.Conv2d_2b_3x3 = _Normed(32, 64, (3, 3), 1, (1, 1))
        self.Conv2d_3b_1x1 = _Normed(64, 80, (1, 1), 1, (0, 0))
        self.Conv2d_4a_3x3 = _Normed(80, 192, (3, 3), 1, (0, 0))
        blocks = {
            "Mixed_5b": _block_a(32, inside),
            "Mixed_5c": _block_a(64, inside),
            "Mixed_5d": _block_a(64, inside),
            "Mixed_6a": _block_b(),
            "Mixed_6b": _block_c(128, inside),
            "Mixed_6c": _block_c(160, inside),
            "Mixed_6d": _block_c(160, inside),
            "Mixed_6e": _block_c(192, inside),
            "Mixed_7a": _block_d(),
            "Mixed_7b": _block_e(inside),
            "Mixed_7c": _block_e("largest" if self.is_graph else inside),
        }
        self.blocks, width = tuple(blocks), 192
        for name, paths in blocks.items():
            block = _Mixed(width, paths)
            self.add_module(name, block)
            width = block.channels
        self.fc = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 2048) of ``images`` (B, 3, 299, 299) in [-1, 1]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(_pooled(x, "halve")))
        x = _pooled(x, "halve")
        for name in self.blocks:
            x = self.get_submodule(name)(x)
        features: Tensor = x.mean((2, 3))
        return features

    def probabilities(self, features: Tensor) -> Tensor:
        """The probability of each class, (B, classes), from features (B, 2048).

        For the graph of 2015 without the classifier's bias, as the first implementation of the Inception score
        (Salimans et al., arXiv 1606.03498) has it, and so every published score.
        """
        logits = functional.linear(features, self.fc.weight, None if self.is_graph else self.fc.bias)
        return logits.softmax(1)
