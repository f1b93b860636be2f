"""The order of axes in memory in which convolutions run without a transposition on either side."""

from __future__ import annotations

import torch
from torch import nn


def fast_layout(spatial_dims: int) -> torch.memory_format:
    """ "Channels last" for 2 or 3 spatial axes: on CPU and GPU the order that convolution kernels work in."""
    return torch.channels_last if spatial_dims == 2 else torch.channels_last_3d


def set_layout(network: nn.Module, layout: torch.memory_format) -> nn.Module:
    """Store the weights of ``network`` in ``layout``, in place."""
    return network.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]  # missing in torch's stubs
