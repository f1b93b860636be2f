"""The arithmetic of a network on paper: built without memory and run without numbers."""

from __future__ import annotations

from torch import Tensor, nn

BACKWARD = 2
"""The gradient takes about twice the arithmetic of the network itself: one product for inputs, one for weights."""


def flop(network: nn.Module, *arguments: Tensor) -> int:
    """Floating-point operations of one call, two for each multiply-add; convolutions and products of matrices."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*arguments)
    return int(counter.get_total_flops())
