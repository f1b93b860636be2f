"""What the network learns to predict, in the variance-preserving frame.

With alpha = sqrt(alpha_bar_t) and sigma = sqrt(1 - alpha_bar_t), so that alpha^2 + sigma^2 = 1:

    x_t = alpha x0 + sigma eps                                                       (Ho et al. 2020, Eq. 4)
    v   = alpha eps - sigma x0,   hence   x0 = alpha x_t - sigma v      (Salimans & Ho 2022, Sec. 4, App. D)

Everywhere x0, noise, x_t and output are (B, C, *S), and alpha_bar_t is 0-d or (B,), one level per image. Keep it
float64: at the clean end 1 - alpha_bar_t would lose three digits in float32. Results have the dtype of the images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from torch import Tensor

if TYPE_CHECKING:
    from lichen.config import Objective


def add_noise(x0: Tensor, noise: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """x_t = alpha x0 + sigma eps."""
    alpha, sigma = _alpha_sigma(alpha_bar_t, x0)
    return alpha * x0 + sigma * noise


def target(objective: Objective, x0: Tensor, noise: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """What the network's output is compared with: v = alpha eps - sigma x0, or eps itself."""
    if objective == "v":
        alpha, sigma = _alpha_sigma(alpha_bar_t, x0)
        return alpha * noise - sigma * x0
    if objective == "epsilon":
        return noise
    assert_never(objective)


def x0_from_output(objective: Objective, x_t: Tensor, output: Tensor, alpha_bar_t: Tensor) -> Tensor:
    """The estimate of x0 that the network's output stands for: alpha x_t - sigma v, or (x_t - sigma eps) / alpha."""
    alpha, sigma = _alpha_sigma(alpha_bar_t, x_t)
    if objective == "v":
        return alpha * x_t - sigma * output
    if objective == "epsilon":
        return (x_t - sigma * output) / alpha
    assert_never(objective)


def _alpha_sigma(alpha_bar_t: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma, computed in the dtype given, then cast and shaped to broadcast over ``images``."""
    alpha, sigma = alpha_bar_t.sqrt(), (1.0 - alpha_bar_t).sqrt()
    if alpha_bar_t.ndim == 0:
        return alpha, sigma  # torch takes 0-d tensors as numbers, on any device and without a copy that would wait
    shape = (len(alpha_bar_t),) + (1,) * (images.ndim - 1)
    return alpha.to(images).reshape(shape), sigma.to(images).reshape(shape)
