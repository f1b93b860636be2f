"""Halving and doubling with the low-pass filter [1, 3, 3, 1] along both axes (1912.04958, section 4 and appendix B).

All are one depthwise convolution, which is the quickest of the plain forms on a CPU, forwards and backwards, where
channels are the last axis in memory. Outside the image is 0.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def blurred(x: Tensor, *, padding: int, gain: float = 1.0) -> Tensor:
    """``x`` (B, C, h, w) with ``padding`` zeros on every side, low-passed: (B, C, h + 2 padding - 3, ...)."""
    return functional.conv2d(x, _filter(x, gain), padding=padding, groups=x.shape[1])


def halved(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, h / 2, w / 2)."""
    return functional.conv2d(x, _filter(x, 1.0), padding=1, stride=2, groups=x.shape[1])


def doubled(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 2 h, 2 w): the transpose of ``halved``, times 4, so that a constant keeps its value."""
    return functional.conv_transpose2d(x, _filter(x, 4.0), padding=1, stride=2, groups=x.shape[1])


def _filter(x: Tensor, gain: float) -> Tensor:
    """(C, 1, 4, 4) for the C channels of ``x``; its sum is ``gain``."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    return (gain * taps[:, None] * taps).expand(x.shape[1], 1, 4, 4)
