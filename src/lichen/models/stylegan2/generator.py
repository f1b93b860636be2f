"""The generator: a mapping from latents z to styles w, and a synthesis network that styles and noise drive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from lichen.config import StyleGAN2Config
from lichen.models.stylegan2.filters import doubled
from lichen.models.stylegan2.layers import EqualisedLinear, ModulatedConv, activated
from lichen.models.stylegan2.sizes import level_channels, level_sizes

MAPPING_RATE = 0.01
"""The mapping network learns at this part of the rate of others; at the whole it is unstable (1812.04948, C)."""
MEAN_W_DECAY = 0.998
"""Kept of the moving average of w at each step."""


def build_generator(config: StyleGAN2Config, *, size: tuple[int, int], channels: int) -> StyleGenerator:
    """An untrained generator of images (B, ``channels``, *``size``), in which [-1, 1] stands for black to white.

    Raises:
        ConfigError: ``size`` does not fit, see ``check_size``.
    """
    return StyleGenerator(config, level_sizes(size), channels)


def truncated(w: Tensor, mean_w: Tensor, psi: float) -> Tensor:
    """Styles (..., W) moved towards their mean (W,): psi 1 changes nothing, 0 gives the mean image (1812.04948, B)."""
    return mean_w + psi * (w - mean_w)


class StyleGenerator(nn.Module):
    """Latents z to images; ``map`` and ``synthesise`` are its two halves, for all that happens to w between them.

    Attributes:
        layers: how many styles an image is made of, the coarsest first.
        noise_shapes: (h, w) of the noise that each convolution adds.
        mean_w: (W,) the moving average of w, which ``follow_mean`` updates; a part of the weights.
    """

    mean_w: Tensor

    def __init__(self, config: StyleGAN2Config, sizes: Sequence[tuple[int, int]], channels: int) -> None:
        super().__init__()
        dim = config.latent_dim
        self.mapping = nn.ModuleList(EqualisedLinear(dim, dim, rate=MAPPING_RATE) for _ in range(config.mapping_layers))
        widths = [level_channels(config, size) for size in sizes]
        self.constant = nn.Parameter(torch.randn(1, widths[0], *sizes[0]))
        self.convs = nn.ModuleList([_StyledConv(widths[0], widths[0], dim)])
        for coarse, fine in pairwise(widths):
            self.convs += [_StyledConv(coarse, fine, dim, resample="double"), _StyledConv(fine, fine, dim)]
        self.to_image = nn.ModuleList(_ToImage(width, channels, dim) for width in widths)
        self.register_buffer("mean_w", torch.zeros(dim))
        self.latent_dim = dim
        self.layers = len(self.convs) + 1
        self.noise_shapes = [sizes[0], *(size for size in sizes[1:] for _ in range(2))]

    def map(self, z: Tensor) -> Tensor:
        """Styles w (B, W) of latents z (B, W), standard normal; only the direction of z counts."""
        w = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.mapping:
            w = activated(layer(w))
        return w

    def synthesise(self, w: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Images (B, C, H, W) of styles w (B, layers, W), with ``noise`` (B, 1, h, w) for each of ``noise_shapes``.

        Every level adds to the image that it has got from the coarser ones ("output skips", 1912.04958, section 4.1).
        A level's image is made by the style that the first convolution of the next level is made by.
        """
        styles = w.unbind(1)
        x = self.constant.expand(len(w), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        x = self.convs[0](x, styles[0], noise[0])
        image: Tensor = self.to_image[0](x, styles[1])
        for level, to_image in enumerate(self.to_image[1:], start=1):
            for layer in (2 * level - 1, 2 * level):
                x = self.convs[layer](x, styles[layer], noise[layer])
            image = doubled(image) + to_image(x, styles[2 * level + 1])
        return image

    def forward(self, z: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Images of latents z (B, W), each of one style throughout."""
        return self.synthesise(self.map(z)[:, None].expand(-1, self.layers, -1), noise)

    @torch.no_grad()
    def follow_mean(self, w: Tensor) -> None:
        """Move ``mean_w`` towards the mean of a step's styles w (B, W)."""
        self.mean_w.lerp_(w.mean(0), 1 - MEAN_W_DECAY)


class _StyledConv(nn.Module):
    """Modulated 3 x 3 convolution, noise of a learned strength, bias, activation."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, *, resample: Literal["double"] | None = None) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style_dim, resample=resample)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        y: Tensor = self.conv(x, w) + self.noise_strength * noise + self.bias[:, None, None]
        return activated(y)


class _ToImage(nn.Module):
    """What a level's features (B, width, h, w) add to the image (B, channels, h, w)."""

    def __init__(self, width: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(width, channels, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y: Tensor = self.conv(x, w) + self.bias[:, None, None]
        return y
