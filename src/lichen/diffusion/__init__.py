"""Noise schedule, objective and samplers: pure functions on torch tensors that know no networks and no files.

Two frames. Networks are trained on x_t = alpha x0 + beta eps, at the levels of their objective's ``Process``. Samplers
work in the sigma frame, x = x_t / alpha = x0 + sigma eps with sigma = beta / alpha, where every published solver is a
few lines and serves every objective. ``denoiser_of`` is the bridge.
"""

from lichen.diffusion.denoiser import Denoise, Network, denoiser_of
from lichen.diffusion.objective import add_noise, target, x0_from_output
from lichen.diffusion.oracle import GaussianMixture
from lichen.diffusion.process import LEVELS, Levels, Process, process_of, straight, variance_preserving
from lichen.diffusion.samplers import (
    SAMPLERS,
    Callback,
    Noise,
    Sampler,
    ddim,
    ddpm,
    dpmpp_2m,
    heun,
    rflow,
    unipc,
)
from lichen.diffusion.schedule import noise_levels

__all__ = [
    "LEVELS",
    "SAMPLERS",
    "Callback",
    "Denoise",
    "GaussianMixture",
    "Levels",
    "Network",
    "Noise",
    "Process",
    "Sampler",
    "add_noise",
    "ddim",
    "ddpm",
    "denoiser_of",
    "dpmpp_2m",
    "heun",
    "noise_levels",
    "process_of",
    "rflow",
    "straight",
    "target",
    "unipc",
    "variance_preserving",
    "x0_from_output",
]
