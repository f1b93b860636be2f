"""The autoencoder that compresses images to latents: MONAI's ``AutoencoderKL`` (Rombach et al., arXiv 2112.10752)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from lichen.config import AutoencoderConfig
from lichen.models.checkpointing import checkpoint_blocks
from lichen.models.identity import Identity


def build_autoencoder(config: AutoencoderConfig, *, spatial_dims: int, image_channels: int) -> nn.Module:
    """An untrained autoencoder for images of shape (B, image_channels, *S), S divisible by ``downsampling(config)``.

    Without attention at the bottom: at clinical size it would be the one layer that does not fit. Of kind "none" it is
    the identity.
    """
    if config.kind == "none":
        return Identity()
    from monai.networks.nets import AutoencoderKL

    levels = len(config.channels)
    network: nn.Module = AutoencoderKL(
        spatial_dims=spatial_dims,
        in_channels=image_channels,
        out_channels=image_channels,
        channels=config.channels,
        num_res_blocks=(config.blocks,) * levels,
        attention_levels=(False,) * levels,
        latent_channels=config.latent_channels,
        norm_num_groups=math.gcd(16, *config.channels),
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )
    return checkpoint_blocks(network) if config.checkpointing else network


def downsampling(config: AutoencoderConfig) -> int:
    """How many voxels along an axis become one latent voxel."""
    return 1 if config.kind == "none" else int(2 ** (len(config.channels) - 1))


def latent_channels(config: AutoencoderConfig, image_channels: int) -> int:
    """Channels of what the denoiser works on: of the latent, or of the image where nothing encodes it."""
    return image_channels if config.kind == "none" else config.latent_channels


def encode(autoencoder: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, C, *S) -> mean and standard deviation of their latents, both (B, L, *S/downsampling)."""
    mean, std = autoencoder.encode(images)  # type: ignore[operator]  # a method of MONAI's class, not of nn.Module
    return mean, std


def decode(autoencoder: nn.Module, latents: Tensor) -> Tensor:
    """Latents (B, L, *s) -> images (B, C, *S), not clipped."""
    images: Tensor = autoencoder.decode(latents)  # type: ignore[operator]  # as above
    return images
