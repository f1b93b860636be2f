"""The losses of a generator G and a discriminator D that play against each other.

Non-saturating logistic: Goodfellow et al., arXiv 1406.2661. R1: Mescheder et al., arXiv 1801.04406. Path length and
lazy regularisation: Karras et al., arXiv 1912.04958. Logits are high for images that D takes for real.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

R1_EVERY = 16
"""D meets R1 in one of so many steps."""
PATH_LENGTH_EVERY = 4
"""G meets the path length in one of so many steps."""
PATH_MEAN_RATE = 0.01
"""How far a step moves the mean path length towards its own."""


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean of -log D(real) - log(1 - D(fake)), logits (B,) and (B',)."""
    return functional.softplus(-real_logits).mean() + functional.softplus(fake_logits).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """Mean of -log D(fake), logits (B,): its gradient does not vanish where D is sure that the images are fake."""
    return functional.softplus(-fake_logits).mean()


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Half the mean squared norm of D's gradient at real ``images`` (B, C, H, W), which were set to require one.

    1801.04406, equation 9, of weight 1. Give it the images that D sees, augmented ones where there is augmentation:
    D and G then play for the distribution of augmented images, and it is on its support that D must be flat for the
    game to come to rest. Nor need augmentation then be differentiated twice.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


def path_length_penalty(images: Tensor, w: Tensor, direction: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """How unevenly images (B, C, H, W) move with their styles w (B, layers, W): (penalty, new mean), both ().

    The length |J^T y| of each image, for a standard normal ``direction`` y like the images, should be ``mean``: the
    moving average of what it was so far, beginning with 0 (1912.04958, equation 4).
    """
    along = (images * direction).sum() / math.sqrt(math.prod(images.shape[2:]))
    (gradient,) = torch.autograd.grad(along, w, create_graph=True)
    lengths = gradient.square().sum(2).mean(1).sqrt()
    mean = mean.lerp(lengths.detach().mean().to(mean.dtype), PATH_MEAN_RATE)
    return (lengths - mean).square().mean(), mean


def lazy_adam(learning_rate: float, every: int) -> tuple[float, tuple[float, float]]:
    """Adam's (learning rate, betas) where each ``every`` steps the regularisation takes one more, of weight ``every``.

    They keep the distance and the memory of ``every`` steps the same over ``every`` + 1 (1912.04958, appendix B).
    """
    share = every / (every + 1)
    return learning_rate * share, (0.0, 0.99**share)
