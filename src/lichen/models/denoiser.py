"""The network that removes noise from latents: MONAI's ``DiffusionModelUNet``, with SDPA attention."""

from __future__ import annotations

import math

from torch import nn

from lichen.config import DenoiserConfig
from lichen.errors import ConfigError
from lichen.models.checkpointing import checkpoint_blocks


def build_denoiser(config: DenoiserConfig, *, spatial_dims: int, latent_channels: int) -> nn.Module:
    """An untrained denoiser: called with (x (B, L, *s), timesteps (B,)), it returns (B, L, *s).

    Every axis of s must be divisible by ``downsampling(config)``.
    """
    from monai.networks.nets import DiffusionModelUNet

    levels = len(config.channels)
    shallow = levels - config.attention_levels
    attended = config.channels[shallow:] or config.channels[-1:]  # the middle block always attends
    if any(channels % config.head_channels for channels in attended):
        raise ConfigError(
            f"denoiser.head_channels is {config.head_channels}, which does not divide the attended channels "
            f"{' '.join(map(str, attended))}",
            fix=f"set --denoiser.head-channels {math.gcd(*attended, 32)}",
        )
    network: nn.Module = DiffusionModelUNet(
        spatial_dims=spatial_dims,
        in_channels=latent_channels,
        out_channels=latent_channels,
        num_res_blocks=(config.blocks,) * levels,
        channels=config.channels,
        attention_levels=(False,) * shallow + (True,) * config.attention_levels,
        num_head_channels=config.head_channels,
        norm_num_groups=math.gcd(32, *config.channels),
        use_flash_attention=True,  # MONAI's name for torch's scaled_dot_product_attention
    )
    return checkpoint_blocks(network) if config.checkpointing else network


def downsampling(config: DenoiserConfig) -> int:
    """By how much the deepest level is smaller than the latent, along every axis."""
    return int(2 ** (len(config.channels) - 1))
