"""The residual discriminator of StyleGAN2 (1912.04958, section 4.1)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from lichen.config import StyleGAN2Config
from lichen.models.stylegan2.filters import halved
from lichen.models.stylegan2.layers import EqualisedConv, EqualisedLinear, activated
from lichen.models.stylegan2.sizes import level_channels, level_sizes

MOST_IN_GROUP = 4
"""Images among which the minibatch standard deviation is taken."""


def build_discriminator(config: StyleGAN2Config, *, size: tuple[int, int], channels: int) -> nn.Module:
    """An untrained discriminator: images (B, ``channels``, *``size``) in [-1, 1] -> logits (B,), high for real ones.

    An image's logit depends on the others of its batch as well.

    Raises:
        ConfigError: ``size`` does not fit, see ``check_size``.
    """
    return _Discriminator(config, level_sizes(size)[::-1], channels)


class _Discriminator(nn.Module):
    def __init__(self, config: StyleGAN2Config, sizes: list[tuple[int, int]], channels: int) -> None:
        super().__init__()
        widths = [level_channels(config, size) for size in sizes]
        last = widths[-1]
        self.from_image = EqualisedConv(channels, widths[0], 1)
        self.blocks = nn.Sequential(*(_Block(fine, coarse) for fine, coarse in pairwise(widths)))
        self.conv = EqualisedConv(last + 1, last, 3)
        self.hidden = EqualisedLinear(last * math.prod(sizes[-1]), last)
        self.logit = EqualisedLinear(last, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.blocks(activated(self.from_image(images.contiguous(memory_format=torch.channels_last))))
        x = activated(self.conv(torch.cat([x, minibatch_deviation(x)], 1)))
        logits: Tensor = self.logit(activated(self.hidden(x.flatten(1))))
        return logits[:, 0]


class _Block(nn.Module):
    """(B, fine, h, w) -> (B, coarse, h / 2, w / 2); the sum of two branches keeps the variance."""

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.skip = EqualisedConv(fine, coarse, 1, bias=False)
        self.conv = EqualisedConv(fine, fine, 3)
        self.halve = EqualisedConv(fine, coarse, 3, resample="halve")

    def forward(self, x: Tensor) -> Tensor:
        y = activated(self.halve(activated(self.conv(x))))
        both: Tensor = y + self.skip(halved(x))
        return both / math.sqrt(2)


def minibatch_deviation(x: Tensor) -> Tensor:
    """How much the images of a group differ, as one more channel: (B, C, h, w) -> (B, 1, h, w).

    By it the discriminator sees a generator that makes the same image again and again (1710.10196, section 3). Groups
    are of 4 images, or fewer where B is no multiple of 4; an image alone differs from nothing.
    """
    batch = len(x)
    in_group = next(n for n in range(min(MOST_IN_GROUP, batch), 0, -1) if batch % n == 0)
    groups = x.reshape(in_group, -1, *x.shape[1:])
    variance = (groups - groups.mean(0)).square().mean(0)
    deviation = (variance + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat(in_group).reshape(-1, 1, 1, 1).expand(-1, -1, *x.shape[2:])
