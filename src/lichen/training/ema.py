"""Exponential moving average of weights, measured in images seen (Karras et al., arXiv 2206.00364, appendix F.2)."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


def ema_decay(images_seen: int, batch_size: int, half_life_images: int) -> float:
    """The weight kept from the old average at a step of ``batch_size`` images.

    The half-life grows with the images seen up to ``half_life_images``, so that a short run does not average in its
    random start.
    """
    half_life = min(half_life_images, 0.05 * images_seen)
    return float(0.5 ** (batch_size / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move ``average`` towards ``network``: average <- decay * average + (1 - decay) * network, all weights at once."""
    mix = get_ema_multi_avg_fn(decay)
    mix(list(average.parameters()), list(network.parameters()), 0)
