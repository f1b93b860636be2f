"""The bridge from a trained network to what samplers call: an estimate of x0 at any noise level."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lichen.diffusion.objective import x0_from_output
from lichen.diffusion.schedule import sigmas_of

if TYPE_CHECKING:
    from lichen.config import Objective

Network = Callable[[Tensor, Tensor], Tensor]
"""(x_t (B, C, *S) in the variance-preserving frame, float time steps (B,)) -> v or eps, (B, C, *S)."""

Denoise = Callable[[Tensor, Tensor], Tensor]
"""(x = x0 + sigma eps (B, C, *S), sigma: 0-d float64 on the CPU) -> estimate of x0, (B, C, *S)."""


def vp_denoiser(network: Network, alphas_cumprod: Tensor, objective: Objective) -> Denoise:
    """A network trained at the levels ``alphas_cumprod`` (T,), as an estimate of x0 in the sigma frame.

    x_t = x / sqrt(1 + sigma^2); the time step is interpolated linearly in log sigma, exact at both ends, and handed
    to the network as a float. The returned function raises ValueError for a sigma outside the trained range.
    """
    log_sigmas = sigmas_of(alphas_cumprod).log().numpy()
    low, high = math.exp(log_sigmas[0]), math.exp(log_sigmas[-1])
    indices = np.arange(len(log_sigmas), dtype=np.float64)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        level = float(sigma)
        # exp(log(sigma)) is off by an ulp or two: the ends of the range belong to it
        if not low * (1 - 1e-12) <= level <= high * (1 + 1e-12):
            raise ValueError(f"sigma {level:.6g} lies outside the trained range {low:.6g} to {high:.6g}")
        x_t = x / math.sqrt(1.0 + level**2)
        time_step = float(np.interp(math.log(level), log_sigmas, indices))
        # never narrower than float32: bfloat16 would take time step 997 for 996
        dtype = torch.promote_types(x.dtype, torch.float32)
        output = network(x_t, torch.full((len(x),), time_step, dtype=dtype, device=x.device))
        alpha_bar = torch.tensor(1.0 / (1.0 + level**2), dtype=torch.float64)
        return x0_from_output(objective, x_t, output.to(x.dtype), alpha_bar)

    return denoise
