"""Noise levels: the thousand a network is trained at, and the few a sampler visits.

All are float64 tensors on the CPU: samplers turn them into coefficients on the host, so no step waits for the device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor

from lichen.errors import ConfigError

if TYPE_CHECKING:
    from lichen.config import ScheduleName

LEVELS = 1000
"""Noise levels of training; time step t is an index from 0 (least noise) to LEVELS - 1."""

# Latent diffusion's schedule (Rombach et al. 2022) with the range usual for medical latents: sigma from 0.039 to 81,
# so that the start of sampling, pure noise, differs from the last training level by less than 1e-4 of its variance.
_BETA_FIRST = 0.0015
_BETA_LAST = 0.0195

_RHO = 7.0  # Karras et al. 2022, the value they recommend for sampling


def make_alphas_cumprod() -> Tensor:
    """alpha_bar_t = prod_{s <= t} (1 - beta_s) with sqrt(beta) linear in t ("scaled linear"): (LEVELS,) float64.

    Decreases from near 1 (time step 0, almost clean) to near 0 (time step LEVELS - 1, almost pure noise).
    """
    betas = torch.linspace(_BETA_FIRST**0.5, _BETA_LAST**0.5, LEVELS, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0)


def sigmas_of(alphas_cumprod: Tensor) -> Tensor:
    """sigma_t = sqrt((1 - alpha_bar_t) / alpha_bar_t), the same levels in the sigma frame: (T,) float64 on the CPU."""
    alpha_bar = alphas_cumprod.detach().to("cpu", torch.float64)
    return ((1.0 - alpha_bar) / alpha_bar).sqrt()


def noise_levels(name: ScheduleName, steps: int, alphas_cumprod: Tensor) -> Tensor:
    """The noise levels a sampler visits: (steps + 1,) float64, decreasing from the largest trained sigma to 0.

    The last but one is the smallest trained sigma; the step from there to 0 is the denoiser's own estimate.

    - "karras": sigma^(1/7) uniform (Karras et al. 2022, Eq. 5).
    - "lu": log sigma, hence log-SNR = -2 log sigma, uniform (Lu et al. 2022, DPM-Solver, section 3.4).
    - "time": uniform in training time step, as DDIM usually is; between time steps log sigma is linear.

    Raises ConfigError for fewer than 2 steps.
    """
    if steps < 2:
        raise ConfigError(f"sampling.steps is {steps}; a sampler needs at least 2", fix="set --sampling.steps to 20")
    trained = sigmas_of(alphas_cumprod)
    low, high = float(trained[0]), float(trained[-1])
    if name == "karras":
        sigmas = torch.linspace(high ** (1 / _RHO), low ** (1 / _RHO), steps, dtype=torch.float64) ** _RHO
    elif name == "lu":
        sigmas = torch.linspace(math.log(high), math.log(low), steps, dtype=torch.float64).exp()
    elif name == "time":
        time_steps = torch.linspace(len(trained) - 1, 0, steps, dtype=torch.float64)
        before = time_steps.floor().long().clamp(max=len(trained) - 2)
        sigmas = torch.lerp(trained[before].log(), trained[before + 1].log(), time_steps - before).exp()
    else:
        assert_never(name)
    # powers and logarithms round; the ends are trained levels, and stay exactly so
    sigmas[0], sigmas[-1] = high, low
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
