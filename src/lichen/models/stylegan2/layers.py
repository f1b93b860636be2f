"""Layers whose weights are standard normal at the start and are scaled as they are used.

Equalised learning rate (Karras et al., arXiv 1710.10196, section 4.1): a weight's scale is not in the weight, so Adam,
whose steps do not know it, teaches all layers at one rate.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.models.stylegan2.filters import blurred


def activated(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.2, times the square root of 2, which about keeps the mean square of its input."""
    return functional.leaky_relu(x, 0.2) * math.sqrt(2)


class EqualisedLinear(nn.Module):
    """(B, inputs) -> (B, outputs); its weights and biases learn ``rate`` times as fast as those of others."""

    def __init__(self, inputs: int, outputs: int, *, bias: float = 0.0, rate: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias / rate))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        scale = self.rate / math.sqrt(self.weight.shape[1])
        return functional.linear(x, self.weight * scale, self.bias * self.rate)


class EqualisedConv(nn.Module):
    """(B, inputs, h, w) -> (B, outputs, h, w), or half the size after a low-pass filter (``resample`` 'halve')."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, bias: bool = True, resample: Literal["halve"] | None = None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        """As the class says."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if self.resample == "halve":
            return functional.conv2d(blurred(x, padding=2), weight, self.bias, stride=2)
        return functional.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)


class ModulatedConv(nn.Module):
    """Convolution of (B, inputs, h, w) by a style w (B, W), whose outputs have unit variance whatever the style.

    Weight modulation and demodulation (1912.04958, section 2.2, equations 1 to 3). Instead of weights for each image,
    of which a batch would need B sets, the activations are scaled before and after a convolution with shared weights:
    the same result, about as fast, in less memory.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        resample: Literal["double"] | None = None,
    ) -> None:
        super().__init__()
        self.style = EqualisedLinear(style_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.demodulate = demodulate
        self.resample = resample

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """As the class says."""
        style: Tensor = self.style(w)
        weight = self.weight / math.sqrt(self.weight[0].numel())
        y = self._convolved(x * style[:, :, None, None], weight)
        if not self.demodulate:
            return y
        power = style.square() @ weight.square().sum((2, 3)).T
        return y * (power + 1e-8).rsqrt()[:, :, None, None]

    def _convolved(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.resample == "double":
            spread = functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
            return blurred(spread, padding=1, gain=4.0)
        return functional.conv2d(x, weight, padding=weight.shape[-1] // 2)
