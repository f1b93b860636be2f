"""The bridge from a trained network to what samplers call: an estimate of x0 at any noise level."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lichen.diffusion.objective import x0_from_output
from lichen.diffusion.process import process_of

if TYPE_CHECKING:
    from lichen.samplers import Objective

Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, C, *S) of the objective's process, float time steps (B,)) -> v, eps or u, (B, C, *S)."""

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x = x0 + sigma eps (B, C, *S), sigma: 0-d float64 on the CPU) -> estimate of x0, (B, C, *S)."""


def denoiser_of(network: Network, objective: Objective) -> Denoise:
    """A network trained for ``objective``, as an estimate of x0 in the sigma frame.

    The time step is interpolated between those of training and handed to the network as a float. The returned function
    raises ValueError for a sigma outside the trained range.
    """
    process = process_of(objective)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        time_step = process.time_step(sigma)
        x_t = x / process.norm(sigma)
        # never narrower than float32: bfloat16 would take time step 997 for 996
        dtype = torch.promote_types(x.dtype, torch.float32)
        output = network(x_t, torch.full((len(x),), time_step, dtype=dtype, device=x.device))
        return x0_from_output(objective, x_t, output.to(x.dtype), process.level(sigma))

    return denoise
