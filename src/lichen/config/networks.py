"""Settings of networks: of which kind of model, and how large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lichen.bounds import at_least, between, channels_fit, crop_fits, positive
from lichen.errors import ConfigError

ModelKind = Literal["diffusion", "stylegan2"]
AutoencoderKind = Literal["kl", "none"]
DenoiserKind = Literal["standard", "reversible"]


@dataclass(frozen=True)
class ModelConfig:
    """What kind of generative model is trained."""

    kind: ModelKind = "diffusion"
    """'diffusion': autoencoder and denoiser; 'stylegan2': StyleGAN2 with adaptive augmentation, 2D images only."""


@dataclass(frozen=True)
class AutoencoderConfig:
    """The autoencoder that compresses images to latents (MONAI's AutoencoderKL)."""

    kind: AutoencoderKind = "kl"
    """'kl' compresses images to latents; 'none': no autoencoder, the denoiser works on the voxels themselves."""
    channels: tuple[int, ...] = (32, 64, 64)
    """Feature channels per level; each level after the first halves every axis."""
    blocks: int = 1
    """Residual blocks per level."""
    latent_channels: int = 4
    """Channels of the latent."""
    images_seen: int = 200_000
    """How many training images the autoencoder sees, repeats included."""
    batch_size: int = 16
    """Images per optimiser step."""
    learning_rate: float = 1e-3
    """Peak learning rate of Adam; decays to zero by a cosine."""
    kl_weight: float = 1e-6
    """Weight of the pull of latents towards a standard normal; small, so that images stay sharp."""
    crop: tuple[int, ...] | None = None
    """Train on random crops of this size in voxels, e.g. 64 64 64, where whole images do not fit; default: whole."""
    checkpointing: bool = False
    """Keep only what enters each block and recompute the rest in backward: less memory, about a fifth more compute."""

    def __post_init__(self) -> None:
        channels_fit("autoencoder.channels", self.channels)
        for name in ("blocks", "latent_channels", "images_seen", "batch_size"):
            at_least(f"autoencoder.{name}", getattr(self, name), 1)
        positive("autoencoder.learning_rate", self.learning_rate)
        between("autoencoder.kl_weight", self.kl_weight, 0.0, 1.0)
        if self.kind == "none" and (self.crop is not None or self.checkpointing):
            raise ConfigError(
                "autoencoder.kind is none, so nothing is trained on crops or with checkpointing",
                fix="leave out --autoencoder.crop and --autoencoder.checkpointing",
            )
        if self.crop is not None:
            crop_fits("autoencoder.crop", self.crop, multiple=2 ** (len(self.channels) - 1))


@dataclass(frozen=True)
class DenoiserConfig:
    """The network that removes noise from latents."""

    kind: DenoiserKind = "standard"
    """'standard': MONAI's DiffusionModelUNet; 'reversible': recomputes its activations in backward, for less memory."""
    channels: tuple[int, ...] = (64, 128, 128)
    """Feature channels per level; each level after the first halves every axis of the latent."""
    blocks: int = 2
    """Residual blocks per level."""
    attention_levels: int = 1
    """How many of the deepest levels have self-attention."""
    head_channels: int = 32
    """Channels per attention head."""
    dropout: float = 0.0
    """Share of features set to zero in each residual block while training."""
    checkpointing: bool = False
    """Keep only what enters each block and recompute the rest in backward: less memory, about a fifth more compute."""

    def __post_init__(self) -> None:
        channels_fit("denoiser.channels", self.channels)
        at_least("denoiser.blocks", self.blocks, 1)
        between("denoiser.attention_levels", self.attention_levels, 0, len(self.channels))
        at_least("denoiser.head_channels", self.head_channels, 1)
        between("denoiser.dropout", self.dropout, 0.0, 0.9)
        if self.kind == "reversible" and self.checkpointing:
            raise ConfigError(
                "denoiser.checkpointing is on, and a reversible denoiser recomputes its blocks already",
                fix="leave out one of --denoiser.checkpointing and --denoiser.kind reversible",
            )


@dataclass(frozen=True)
class StyleGAN2Config:
    """StyleGAN2 with adaptive discriminator augmentation; length, batches, seed and average are those of training."""

    latent_dim: int = 128
    """Numbers in z and in w; 512 in the paper."""
    mapping_layers: int = 2
    """Layers from z to w; 8 in the first paper, 2 for small data sets."""
    channels: int = 1024
    """Feature channels at r x r voxels are this / r, at most most_channels; 16384 or 32768 in the paper, for a GPU."""
    most_channels: int = 128
    """Largest number of feature channels of a layer; 512 in the paper."""
    learning_rate: float = 2e-3
    """Of both networks (Adam); constant."""
    r1_weight: float = 0.1
    """Weight of the discriminator's gradient penalty on real images; at least about 2e-4 * voxels / batch size."""
    path_length_weight: float = 2.0
    """Weight of the generator's path-length regularisation; 0: none."""
    style_mixing: float = 0.9
    """Share of training images whose styles are of two latents."""
    ada_target: float = 0.6
    """Mean sign of the discriminator on real images that augmentation is adapted to; 0: no augmentation."""

    def __post_init__(self) -> None:
        for name in ("latent_dim", "mapping_layers", "channels", "most_channels"):
            at_least(f"stylegan2.{name}", getattr(self, name), 1)
        positive("stylegan2.learning_rate", self.learning_rate)
        for name in ("r1_weight", "path_length_weight"):
            between(f"stylegan2.{name}", getattr(self, name), 0.0, 1e6)
        between("stylegan2.style_mixing", self.style_mixing, 0.0, 1.0)
        between("stylegan2.ada_target", self.ada_target, 0.0, 1.0)
