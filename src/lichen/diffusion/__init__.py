"""Noise schedule, objective and samplers: pure functions on torch tensors that know no networks and no files.

Two frames. Networks are trained in the variance-preserving one, x_t = sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps.
Samplers work in the sigma frame, x = x_t / sqrt(alpha_bar) = x0 + sigma eps with sigma^2 = 1 / alpha_bar - 1, where
every published solver is a few lines. ``vp_denoiser`` is the bridge.
"""

from lichen.diffusion.denoiser import Denoise, Network, vp_denoiser
from lichen.diffusion.objective import add_noise, target, x0_from_output
from lichen.diffusion.oracle import GaussianMixture
from lichen.diffusion.samplers import (
    SAMPLERS,
    Callback,
    Noise,
    Sampler,
    ddim,
    ddpm,
    dpmpp_2m,
    heun,
    unipc,
)
from lichen.diffusion.schedule import LEVELS, make_alphas_cumprod, noise_levels, sigmas_of

__all__ = [
    "LEVELS",
    "SAMPLERS",
    "Callback",
    "Denoise",
    "GaussianMixture",
    "Network",
    "Noise",
    "Sampler",
    "add_noise",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "heun",
    "make_alphas_cumprod",
    "noise_levels",
    "sigmas_of",
    "target",
    "unipc",
    "vp_denoiser",
    "x0_from_output",
]
