"""MONAI's encoder and decoder as rows of steps, each of which can be run on a part of its input.

A step says which part of its input a part of its output is made of, and makes exactly that: inside the volume from real
neighbours, at its faces from the zeros with which the network pads. No layer is copied or changed; steps hold them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

Span = tuple[int, int]
"""(first voxel, one after the last) along an axis."""
Spans = tuple[Span, ...]
"""A box: a span for each spatial axis."""


@dataclass(frozen=True)
class Conv:
    """A convolution, with as many zeros ``before`` and ``after`` every axis."""

    layer: nn.Module
    before: int
    after: int

    @property
    def kernel(self) -> int:
        """Voxels along an axis."""
        return int(self.layer.kernel_size[0])  # type: ignore[index]  # of a convolution, not of any nn.Module

    @property
    def stride(self) -> int:
        """Voxels from one output to the next."""
        return int(self.layer.stride[0])  # type: ignore[index]  # as above

    def side(self, side: int) -> int:
        """Voxels along an axis that come of ``side`` voxels."""
        return (side + self.before + self.after - self.kernel) // self.stride + 1

    def needs(self, span: Span, side: int) -> Span:
        """Which of ``side`` voxels make those of ``span``."""
        first, end = self._reach(span)
        return max(first, 0), min(end, side)

    def __call__(self, x: Tensor, have: Spans, want: Spans) -> Tensor:
        """The part ``want`` of the output from the part ``have`` of the input."""
        x = _with_zeros(x, have, tuple(self._reach(span) for span in want))
        return _convolve(x, self.layer.weight, self.layer.bias, self.stride)

    def _reach(self, span: Span) -> Span:
        return span[0] * self.stride - self.before, (span[1] - 1) * self.stride - self.before + self.kernel


@dataclass(frozen=True)
class Up:
    """Upsampling by two by a transposed convolution of kernel two, which makes 2 x 2 (x 2) voxels of each."""

    layer: nn.Module

    def side(self, side: int) -> int:
        """Voxels along an axis that come of ``side`` voxels."""
        return 2 * side

    def needs(self, span: Span, side: int) -> Span:
        """Which of ``side`` voxels make those of ``span``."""
        del side
        return span[0] // 2, (span[1] + 1) // 2

    def __call__(self, x: Tensor, have: Spans, want: Spans) -> Tensor:
        """The part ``want`` of the output from the part ``have`` of the input."""
        return cut(self.layer(x), tuple((2 * start, 2 * stop) for start, stop in have), want)


@dataclass(frozen=True)
class UpConv:
    """Nearest neighbours upsampled by two, then a convolution of kernel three, without the volume in between.

    Of three neighbours after upsampling two are the same voxel, so the output at even and at odd places is a
    convolution of kernel two each, with two of the three weights added: in three dimensions 8 multiplications in place
    of 27 (Shi et al., arXiv 1609.07009).
    """

    layer: nn.Module
    kernel: int = 2

    def side(self, side: int) -> int:
        """Voxels along an axis that come of ``side`` voxels."""
        return 2 * side

    def needs(self, span: Span, side: int) -> Span:
        """Which of ``side`` voxels make those of ``span``."""
        return max((span[0] - 1) // 2, 0), min(span[1] // 2 + 1, side)

    def __call__(self, x: Tensor, have: Spans, want: Spans) -> Tensor:
        """The part ``want`` of the output from the part ``have`` of the input."""
        reach = tuple(((start - 1) // 2, stop // 2 + 1) for start, stop in want)
        x = _with_zeros(x, have, reach)
        size = [stop - start for start, stop in want]
        layout = torch.contiguous_format
        if x.stride(1) == 1:
            layout = torch.channels_last if len(size) == 2 else torch.channels_last_3d
        y = torch.empty(1, len(self.layer.weight), *size, dtype=x.dtype, device=x.device, memory_format=layout)  # type: ignore[arg-type]
        for odd in product((0, 1), repeat=len(want)):
            # output 2 i + f, for f = 0 or 1, is made of the inputs i - 1 + f and i + f
            inner = [((start - f + 1) // 2, (stop - f + 1) // 2) for (start, stop), f in zip(want, odd, strict=True)]
            if all(first < end for first, end in inner):
                source = tuple((first - 1 + f, end + f) for (first, end), f in zip(inner, odd, strict=True))
                places = (slice((start - f) % 2, None, 2) for (start, _), f in zip(want, odd, strict=True))
                y[(slice(None), slice(None), *places)] = _convolve(
                    cut(x, reach, source), _folded(self.layer.weight, odd), self.layer.bias
                )
        return y


def _folded(weight: nn.Module | Tensor, odd: Sequence[int]) -> Tensor:
    """Weights of kernel two for the outputs that are ``odd`` (1) or even (0) along each axis."""
    folded = cast("Tensor", weight)
    for axis, f in enumerate(odd, start=2):
        first, middle, last = folded.unbind(axis)
        folded = torch.stack((first + middle, last) if f else (first, middle + last), dim=axis)
    return folded


class _InPlace:
    """A step that changes no shape."""

    def side(self, side: int) -> int:
        """As many voxels as before."""
        return side

    def needs(self, span: Span, side: int) -> Span:
        """The same voxels."""
        del side
        return span


@dataclass(frozen=True)
class Norm(_InPlace):
    """A group normalisation by the statistics of the whole, with SiLU where one follows."""

    layer: nn.GroupNorm
    activated: bool

    def __call__(self, x: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
        """``x`` times the first of ``affine`` plus the second, both (C,)."""
        scale, shift = (each.view(1, -1, *(1,) * (x.ndim - 2)) for each in affine)
        y = torch.addcmul(shift, x, scale)
        return functional.silu(y, inplace=True) if self.activated else y


class Fork(_InPlace):
    """Here a residual block begins."""


@dataclass(frozen=True)
class Join(_InPlace):
    """Here a residual block ends: what came in is added, through a convolution where the channels differ."""

    shortcut: Conv | None

    def __call__(self, x: Tensor, entered: Tensor, spans: Spans) -> Tensor:
        """``x`` plus the same part of what ``entered`` the block; ``x`` is overwritten."""
        return x.add_(entered if self.shortcut is None else self.shortcut(entered, spans, spans))


Step = Conv | Up | UpConv | Norm | Fork | Join


def steps_of(blocks: Sequence[nn.Module]) -> tuple[Step, ...]:
    """The steps of an encoder's or a decoder's ``blocks``.

    Raises:
        TypeError: a block is of a kind, such as attention, whose output depends on the whole input at every voxel.
    """
    return tuple(step for block in blocks for step in _steps(block))


def _steps(block: nn.Module) -> Iterator[Step]:
    from monai.networks.blocks import Convolution, Upsample
    from monai.networks.nets.autoencoderkl import AEKLDownsample, AEKLResBlock

    if isinstance(block, AEKLResBlock):
        shortcut = block.nin_shortcut
        yield Fork()
        yield Norm(block.norm1, activated=True)
        yield _padded(block.conv1)
        yield Norm(block.norm2, activated=True)
        yield _padded(block.conv2)
        yield Join(None if isinstance(shortcut, nn.Identity) else _padded(shortcut))
    elif isinstance(block, AEKLDownsample):
        yield Conv(block.conv.conv, before=0, after=1)  # MONAI pads the far side alone
    elif isinstance(block, Upsample):
        layer, *convolution = block.children()
        yield UpConv(_padded(*convolution).layer) if convolution else Up(layer)
    elif isinstance(block, nn.GroupNorm):
        yield Norm(block, activated=False)
    elif isinstance(block, Convolution):
        yield _padded(block)
    else:
        raise TypeError(f"{type(block).__name__} cannot be run in tiles")


def _padded(block: nn.Module) -> Conv:
    layer: nn.Module = block.conv  # type: ignore[assignment]  # MONAI's Convolution has one, of this name
    padding = int(layer.padding[0])  # type: ignore[index]
    return Conv(layer, padding, padding)


def cut(x: Tensor, have: Spans, want: Spans) -> Tensor:
    """The part ``want`` of ``x`` (B, C, *s), which is the part ``have`` of something larger; a view."""
    pairs = zip(have, want, strict=True)
    return x[(slice(None), slice(None), *(slice(start - first, stop - first) for (first, _), (start, stop) in pairs))]


def _with_zeros(x: Tensor, have: Spans, want: Spans) -> Tensor:
    """``x``, the part ``have`` of a volume, as the part ``want`` that reaches over the faces, where there are zeros."""
    pads = [(start - first, end - stop) for (start, stop), (first, end) in zip(have, want, strict=True)]
    flat = [zeros for pair in reversed(pads) for zeros in pair]
    return functional.pad(x, flat) if any(flat) else x


def _convolve(x: Tensor, weight: nn.Module | Tensor, bias: nn.Module | Tensor, stride: int = 1) -> Tensor:
    """A convolution without padding.

    On a CPU oneDNN is named, because PyTorch leaves it aside where batch x channels x depth x height is 20,480 or less,
    whatever the width: a small tile then takes more than twice as long as in a batch of two.
    """
    axes = x.ndim - 2
    arguments = x, cast("Tensor", weight), cast("Tensor", bias)
    if x.device.type == "cpu" and x.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        y: Tensor = torch.mkldnn_convolution(*arguments, (0,) * axes, (stride,) * axes, (1,) * axes, 1)
        return y
    return (functional.conv2d if axes == 2 else functional.conv3d)(*arguments, stride=stride)
