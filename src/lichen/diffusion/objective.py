"""What the network learns to predict of x_t = alpha x0 + beta eps.

    v = alpha eps - beta x0,   hence   x0 = alpha x_t - beta v       (Salimans & Ho 2022, Sec. 4, App. D)
    eps itself,                hence   x0 = (x_t - beta eps) / alpha                 (Ho et al. 2020, Eq. 4)
    u = eps - x0,              hence   x0 = x_t - beta u                             (Liu et al. 2022, Eq. 1)

The first two hold where alpha^2 + beta^2 = 1, the last where alpha + beta = 1: the level must be one of the objective's
own process, ``process_of(objective)``. u is the velocity of the straight line from x0 to eps, dx_t / dbeta; Liu et al.
run their time the other way. Everywhere x0, noise, x_t and output are (B, C, *S), and a level is 0-d or (B,), one per
image. Keep it float64 until it meets the images; results have their dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from torch import Tensor

from lichen.diffusion.process import Levels

if TYPE_CHECKING:
    from lichen.samplers import Objective


def add_noise(x0: Tensor, noise: Tensor, level: Levels) -> Tensor:
    """x_t = alpha x0 + beta eps."""
    alpha, beta = _over_images(level, x0)
    return alpha * x0 + beta * noise


def target(objective: Objective, x0: Tensor, noise: Tensor, level: Levels) -> Tensor:
    """What the network's output is compared with: v, eps or u."""
    if objective == "v":
        alpha, beta = _over_images(level, x0)
        return alpha * noise - beta * x0
    if objective == "epsilon":
        return noise
    if objective == "flow":
        return noise - x0
    assert_never(objective)


def x0_from_output(objective: Objective, x_t: Tensor, output: Tensor, level: Levels) -> Tensor:
    """The estimate of x0 that the network's output stands for."""
    alpha, beta = _over_images(level, x_t)
    if objective == "v":
        return alpha * x_t - beta * output
    if objective == "epsilon":
        return (x_t - beta * output) / alpha
    if objective == "flow":
        return x_t - beta * output
    assert_never(objective)


def _over_images(level: Levels, images: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and beta, cast and shaped to broadcast over ``images``."""
    if level.alpha.ndim == 0:
        return level.alpha, level.beta  # torch takes 0-d tensors as numbers, on any device and without waiting for it
    shape = (len(level),) + (1,) * (images.ndim - 1)
    return level.alpha.to(images).reshape(shape), level.beta.to(images).reshape(shape)
