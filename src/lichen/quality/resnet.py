"""Residual networks in 2D and 3D as networks of features, without any weights of their own.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition" (arXiv 1512.03385), table 1; the 3D ones as in
Chen, Ma and Zheng, "Med3D" (arXiv 1904.00625), which keep the size in their last two stages and dilate instead.
Weights have the names under which they are published for PyTorch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = 4
DEPTHS: dict[tuple[bool, tuple[int, ...]], int] = {
    (False, (1, 1, 1, 1)): 10,
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
    (True, (3, 24, 36, 3)): 200,
}
"""(bottlenecks, blocks in each stage) -> the usual name of that depth."""


@dataclass(frozen=True)
class Plan:
    """Which residual network."""

    dims: int
    """2 or 3."""
    channels: int
    """Of the input."""
    blocks: tuple[int, ...]
    """In each of the four stages."""
    has_bottlenecks: bool
    """Blocks of three convolutions, 1, 3, 1; otherwise of two of size 3."""
    projects: bool = True
    """Where a block changes the size, its shortcut is a convolution; otherwise zeros are added as channels."""
    dilated: bool = False
    """The last two stages keep the size and dilate by 2 and 4."""
    width: int = 64
    """Channels of the first stage, before the factor 4 of bottlenecks."""

    @property
    def depth(self) -> int | None:
        """The usual name, e.g. 50; None for a plan that has none."""
        return DEPTHS.get((self.has_bottlenecks, self.blocks))


def plan_of(tensors: Mapping[str, Tensor], *, dims: int, channels: int, dilated: bool = False) -> Plan:
    """The plan that the names of weights tell, of those that go with ``dims`` and the others; it may not fit them."""
    return Plan(
        dims,
        channels,
        tuple(_blocks(tensors, stage) for stage in range(1, STAGES + 1)),
        has_bottlenecks="layer1.0.conv3.weight" in tensors,
        projects=any(".downsample." in name for name in tensors),
        dilated=dilated,
        width=len(tensors["conv1.weight"]) if "conv1.weight" in tensors else Plan.width,
    )


def _blocks(names: Collection[str], stage: int) -> int:
    count = 0
    while f"layer{stage}.{count}.conv1.weight" in names:
        count += 1
    return count


class ResNet(nn.Module):
    """Images (B, C, *S) to features (B, d): the last stage, averaged over space."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        conv, norm = _kinds(plan.dims)
        self.dims = plan.dims
        self.conv1 = conv(plan.channels, plan.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(plan.width)
        expansion, inputs = 4 if plan.has_bottlenecks else 1, plan.width
        for stage, blocks in enumerate(plan.blocks):
            keeps = plan.dilated and stage >= 2
            dilation, stride = 2 ** (stage - 1) if keeps else 1, 1 if keeps or stage == 0 else 2
            inner = plan.width * 2**stage
            layers = []
            for block in range(blocks):
                layers.append(_Block(plan, inputs, inner, inner * expansion, stride if block == 0 else 1, dilation))
                inputs = inner * expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, d) of ``images`` (B, C, *S)."""
        pool = functional.max_pool2d if self.dims == 2 else functional.max_pool3d
        x = pool(functional.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        for stage in range(1, STAGES + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return x.flatten(2).mean(2)


class _Block(nn.Module):
    """Two or three convolutions and a shortcut around them."""

    def __init__(self, plan: Plan, inputs: int, inner: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        conv, norm = _kinds(plan.dims)
        self.stride, self.outputs = stride, outputs
        around = partial(conv, kernel_size=3, padding=dilation, dilation=dilation, bias=False)
        if plan.has_bottlenecks:
            self.conv1, self.bn1 = conv(inputs, inner, 1, bias=False), norm(inner)
            self.conv2, self.bn2 = around(inner, inner, stride=stride), norm(inner)
            self.conv3, self.bn3 = conv(inner, outputs, 1, bias=False), norm(outputs)
        else:
            self.conv1, self.bn1 = around(inputs, inner, stride=stride), norm(inner)
            self.conv2, self.bn2 = around(inner, outputs), norm(outputs)
        self.convolutions = 3 if plan.has_bottlenecks else 2
        self.downsample: nn.Module | None = None
        if plan.projects and (stride != 1 or inputs != outputs):
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride=stride, bias=False), norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.convolutions + 1):
            y = self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(y))
            y = functional.relu(y) if number < self.convolutions else y
        return functional.relu(y + (self._shortcut(x) if self.downsample is None else self.downsample(x)))

    def _shortcut(self, x: Tensor) -> Tensor:
        """Every ``stride``-th voxel, and zeros for channels that there are not: the paper's option A."""
        kept = x[(slice(None), slice(None), *(slice(None, None, self.stride) for _ in x.shape[2:]))]
        lacking = self.outputs - kept.shape[1]
        return torch.cat([kept, kept.new_zeros(len(kept), lacking, *kept.shape[2:])], 1) if lacking else kept


def _kinds(dims: int) -> tuple[type[nn.Conv2d | nn.Conv3d], type[nn.BatchNorm2d | nn.BatchNorm3d]]:
    return (nn.Conv2d, nn.BatchNorm2d) if dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
