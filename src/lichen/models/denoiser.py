"""The network that removes noise: MONAI's ``DiffusionModelUNet`` with SDPA attention, or a reversible one as large."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from lichen.config import DenoiserConfig
from lichen.errors import ConfigError
from lichen.models.checkpointing import checkpoint_blocks
from lichen.models.dropout import Dropout


def build_denoiser(config: DenoiserConfig, *, spatial_dims: int, latent_channels: int) -> nn.Module:
    """An untrained denoiser: called with (x (B, L, *s), timesteps (B,)), it returns (B, L, *s).

    Every axis of s must be divisible by ``downsampling(config)``. Both kinds have about the same number of parameters.
    """
    shallow = len(config.channels) - config.attention_levels
    attended = config.channels[shallow:] or config.channels[-1:]  # the middle block always attends
    if any(channels % config.head_channels for channels in attended):
        raise ConfigError(
            f"denoiser.head_channels is {config.head_channels}, which does not divide the attended channels "
            f"{' '.join(map(str, attended))}",
            fix=f"set --denoiser.head-channels {math.gcd(*attended, 32)}",
        )
    if config.kind == "standard":
        return _standard(config, spatial_dims, latent_channels)
    hidden = hidden_channels(config, spatial_dims=spatial_dims, latent_channels=latent_channels)
    return _reversible(config, spatial_dims, latent_channels, hidden)


def downsampling(config: DenoiserConfig) -> int:
    """By how much the deepest level is smaller than the latent, along every axis."""
    return int(2 ** (len(config.channels) - 1))


def hidden_channels(config: DenoiserConfig, *, spatial_dims: int, latent_channels: int) -> tuple[int, ...]:
    """Widths inside the reversible network's branches, per level, that give it the standard one's number of parameters.

    The reversible network joins streams by sums where the standard one concatenates, so at the same widths it is
    smaller. What is missing goes into the deepest level, where a parameter costs the least arithmetic; the first level,
    where it costs the most, gives up a quarter. A training step then takes no more arithmetic than the standard one's,
    the recomputation included, wherever there are two levels or more and attention is a small part of it. With one
    level there is no deeper one, and the step takes more. The rule is frozen: the weights of trained networks have
    these widths, which are stored nowhere else.
    """
    *above, deepest = config.channels
    above[:1] = [_in_eights(width * 3 / 4) for width in above[:1]]

    def parameters(hidden: tuple[int, ...]) -> int:
        return _count(lambda: _reversible(config, spatial_dims, latent_channels, hidden))

    wanted = _count(lambda: _standard(config, spatial_dims, latent_channels))
    once, twice = (parameters((*above, width)) for width in (deepest, 2 * deepest))
    return (*above, _in_eights(deepest * (1 + (wanted - once) / (twice - once))))


def _in_eights(width: float) -> int:
    """The multiple of 8 below, in which hardware computes fastest; for narrow widths the nearest whole number."""
    return 8 * int(width / 8) if width >= 28 else max(round(width), 1)


def _standard(config: DenoiserConfig, spatial_dims: int, latent_channels: int) -> nn.Module:
    from monai.networks.nets import DiffusionModelUNet

    network: nn.Module = DiffusionModelUNet(
        spatial_dims=spatial_dims,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_res_blocks=(config.blocks,) * len(config.channels),
        channels=config.channels,
        attention_levels=_attention(config),
        num_head_channels=config.head_channels,
        norm_num_groups=math.gcd(32, *config.channels),
        use_flash_attention=True,  # MONAI's name for torch's scaled_dot_product_attention
    )
    if config.dropout:
        _drop_features(network, config.dropout)
    return checkpoint_blocks(network) if config.checkpointing else network


def _drop_features(network: nn.Module, share: float) -> None:
    """Put dropout before the last convolution of each residual block of MONAI's; weights keep their names."""
    from monai.networks.nets.diffusion_model_unet import DiffusionUNetResnetBlock

    for block in network.modules():
        if isinstance(block, DiffusionUNetResnetBlock):
            block.conv2 = nn.Sequential(OrderedDict(dropout=Dropout(share), conv=block.conv2.conv))


def _reversible(config: DenoiserConfig, spatial_dims: int, latent_channels: int, hidden: tuple[int, ...]) -> nn.Module:
    from lichen.models.reversible.unet import ReversibleUNet

    return ReversibleUNet(
        spatial_dims=spatial_dims,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_res_blocks=config.blocks,
        channels=config.channels,
        hidden_channels=hidden,
        attention_levels=_attention(config),
        num_head_channels=config.head_channels,
        dropout=config.dropout,
    )


def _attention(config: DenoiserConfig) -> tuple[bool, ...]:
    return (False,) * (len(config.channels) - config.attention_levels) + (True,) * config.attention_levels


def _count(build: Callable[[], nn.Module]) -> int:
    """How many parameters a network has, without its weights and without drawing a random number."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())
