"""The order of axes in memory in which convolutions run without a transposition on either side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

CPU_GAIN_FROM = 20**3
"""Voxels from which "channels last" makes a CPU faster (1.2 times at 32 x 32 x 32); below, up to a tenth slower."""


def fast_layout(size: Sequence[int], device: torch.device) -> torch.memory_format:
    """The order of axes in which a network on images or latents of ``size`` (*S) runs fastest.

    "Channels last", but on a CPU for large volumes alone: elsewhere its convolutions gain little by it, and group
    normalisation loses more.
    """
    if device.type == "cpu" and (len(size) == 2 or math.prod(size) < CPU_GAIN_FROM):
        return torch.contiguous_format
    return torch.channels_last_3d if len(size) == 3 else torch.channels_last


def set_layout(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Store the weights of ``network`` in ``layout``, in place."""
    return network.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]  # missing in torch's stubs
