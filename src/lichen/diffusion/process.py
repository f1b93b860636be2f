"""How training turns an image into noise, by time step, and what a network of each objective predicts on the way.

Every process here noises as x_t = alpha x0 + beta eps (the a_t and b_t of Esser et al. 2024), so that x = x_t / alpha =
x0 + sigma eps with sigma = beta / alpha is the frame of the samplers. Two are in use, and differ only in the norm of
(alpha, beta) that is 1:

- variance-preserving, alpha^2 + beta^2 = 1 (Ho et al. 2020): for the objectives "v" and "epsilon";
- straight, alpha + beta = 1 (rectified flow: Liu et al. 2022, arXiv 2209.03003; Lipman et al. 2023): for "flow", where
  beta is the flow's own time, 0 at the image and 1 at the noise.

Both have the same range of sigma: a schedule that is spaced by sigma is the same for both, and so is all that was
measured of samplers on it. All levels are float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from lichen.samplers import Objective

LEVELS = 1000
"""Noise levels of training; time step t is an index from 0 (least noise) to LEVELS - 1."""

# Latent diffusion's schedule (Rombach et al. 2022) with the range usual for medical latents: sigma from 0.039 to 84,
# so that the start of sampling, pure noise, differs from the last training level by 1.4e-4 of its variance.
_BETA_FIRST = 0.0015
_BETA_LAST = 0.0195


@dataclass(frozen=True)
class Levels:
    """alpha and beta of x_t = alpha x0 + beta eps: float64 tensors of one shape, 0-d or one level per image, (B,)."""

    alpha: Tensor
    beta: Tensor

    def __len__(self) -> int:
        return len(self.alpha)

    def __getitem__(self, time_steps: Tensor | int) -> Levels:
        return Levels(self.alpha[time_steps], self.beta[time_steps])

    def to(self, device: torch.device) -> Levels:
        """The same on ``device``."""
        return Levels(self.alpha.to(device), self.beta.to(device))


@dataclass(frozen=True)
class Process:
    """One way from image to noise. Between two time steps ``clock(sigma)`` is linear."""

    sigmas: Tensor
    """(T,) float64 on the CPU, increasing: sigma = beta / alpha at each time step of training."""
    power: Literal[1, 2]
    """p of alpha^p + beta^p = 1."""
    clock: Callable[[Tensor], Tensor]
    sigma_at_clock: Callable[[Tensor], Tensor]
    """The inverse of ``clock``."""

    @property
    def levels(self) -> Levels:
        """alpha and beta at each time step, each (T,)."""
        return self.level(self.sigmas)

    def norm(self, sigma: Tensor) -> Tensor:
        """x / x_t, the p-norm of (1, sigma)."""
        return (1.0 + sigma**2).sqrt() if self.power == 2 else 1.0 + sigma

    def level(self, sigma: Tensor) -> Levels:
        """alpha and beta where beta / alpha is ``sigma``."""
        norm = self.norm(sigma)
        return Levels(1.0 / norm, sigma / norm)

    def time_step(self, sigma: Tensor) -> float:
        """The time step of a 0-d ``sigma``, exact at both ends.

        Raises ValueError for a sigma outside the trained range.
        """
        low, high = float(self.sigmas[0]), float(self.sigmas[-1])
        # a logarithm and back is off by an ulp or two: the ends of the range belong to it
        if not low * (1 - 1e-12) <= float(sigma) <= high * (1 + 1e-12):
            raise ValueError(f"sigma {float(sigma):.6g} lies outside the trained range {low:.6g} to {high:.6g}")
        clocks = self.clock(self.sigmas).numpy()
        return float(np.interp(float(self.clock(sigma)), clocks, np.arange(len(clocks), dtype=np.float64)))

    def sigmas_at(self, time_steps: Tensor) -> Tensor:
        """sigma at float ``time_steps`` (n,), (n,)."""
        clocks, before = self.clock(self.sigmas), time_steps.floor().long().clamp(max=len(self.sigmas) - 2)
        return self.sigma_at_clock(torch.lerp(clocks[before], clocks[before + 1], time_steps - before))


def process_of(objective: Objective) -> Process:
    """The process that networks of ``objective`` are trained on."""
    return straight() if objective == "flow" else variance_preserving()


def variance_preserving() -> Process:
    """alpha_bar_t = alpha_t^2 = prod_{s <= t} (1 - beta_s), with Ho et al.'s sqrt(beta_s) linear ("scaled linear")."""
    betas = torch.linspace(_BETA_FIRST**0.5, _BETA_LAST**0.5, LEVELS, dtype=torch.float64) ** 2
    alpha_bar = torch.cumprod(1.0 - betas, dim=0)
    return Process(((1.0 - alpha_bar) / alpha_bar).sqrt(), 2, torch.log, torch.exp)


def straight() -> Process:
    """Time steps at equal distances in the flow's time, beta = sigma / (1 + sigma)."""
    first, last = (_flow_time(sigma) for sigma in variance_preserving().sigmas[[0, -1]])
    times = torch.linspace(float(first), float(last), LEVELS, dtype=torch.float64)
    return Process(_sigma_of_flow_time(times), 1, _flow_time, _sigma_of_flow_time)


def _flow_time(sigma: Tensor) -> Tensor:
    return sigma / (1.0 + sigma)


def _sigma_of_flow_time(time: Tensor) -> Tensor:
    return time / (1.0 - time)
