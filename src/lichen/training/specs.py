"""What kind of generator it is: the images it makes and its networks, of which kinds there are two."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import nn

from lichen.bounds import classes_fit, window_fits
from lichen.config import AutoencoderConfig, DenoiserConfig, ModelConfig, RunConfig, StyleGAN2Config
from lichen.models import autoencoder as autoencoders
from lichen.models import denoiser as denoisers
from lichen.models.autoencoder import build_autoencoder
from lichen.models.denoiser import build_denoiser
from lichen.models.stylegan2 import StyleGenerator, build_discriminator, build_generator, check_size
from lichen.samplers import Objective

MOST_VOXELS = 2**31
"""No image is larger; a file that says so is damaged or made to exhaust the memory."""


@dataclass(frozen=True)
class ImageSpec:
    """What images a generator of whatever kind makes."""

    image_shape: tuple[int, ...]
    """(C, *S)."""
    affine: tuple[tuple[float, ...], ...]
    """(4, 4) voxel index -> mm."""
    is_phantom: bool = field(kw_only=True)
    """Whether it was trained on built-in phantoms, which are nobody's images."""
    window: tuple[float, ...] = field(default=(), kw_only=True)
    """Intensities that -1 and 1 stand for, two for all channels or two for each; empty: no intensity of any scale."""
    classes: tuple[int, ...] = field(default=(), kw_only=True)
    """Values of the label map, which is the last channel, evenly spread over [-1, 1]; empty: there is none."""

    def __post_init__(self) -> None:
        shape, rows = self.image_shape, self.affine
        if len(shape) not in {3, 4} or min(shape) < 1:
            raise ValueError(f"image_shape {shape} is not (C, *S)")
        if math.prod(shape) > MOST_VOXELS:
            raise ValueError(f"image_shape {shape} is larger than any image")
        if [len(row) for row in rows] != [4] * 4 or not all(math.isfinite(x) for row in rows for x in row):
            raise ValueError("affine is not 4 x 4 finite numbers")
        if self.window:
            window_fits("window", self.window)
        if self.classes:
            classes_fit("classes", self.classes)

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.image_shape) - 1


@dataclass(frozen=True)
class DiffusionSpec(ImageSpec):
    """A diffusion model; stored as JSON in the checkpoint."""

    autoencoder: AutoencoderConfig
    denoiser: DenoiserConfig
    objective: Objective

    DRAWN_WITH: ClassVar = ("sampler", "schedule", "steps", "batch_size", "compile", "seed")
    """The settings of sampling that its images are a function of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        factor = autoencoders.downsampling(self.autoencoder) * denoisers.downsampling(self.denoiser)
        if any(side % factor for side in self.image_shape[1:]):
            raise ValueError(f"image_shape {self.image_shape} has sides that are no multiples of {factor}")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(L, *s) of the latents; that of the images where there is no autoencoder."""
        factor = autoencoders.downsampling(self.autoencoder)
        channels = autoencoders.latent_channels(self.autoencoder, self.image_shape[0])
        return (channels, *(math.ceil(n / factor) for n in self.image_shape[1:]))

    @property
    def shapes_kept(self) -> tuple[tuple[int, ...], ...]:
        """Of what training holds of each image: itself, and its latents."""
        return (self.image_shape, self.latent_shape)

    def build(self) -> tuple[nn.Module, nn.Module]:
        """The untrained (autoencoder, denoiser)."""
        return (
            build_autoencoder(self.autoencoder, spatial_dims=self.spatial_dims, image_channels=self.image_shape[0]),
            build_denoiser(self.denoiser, spatial_dims=self.spatial_dims, latent_channels=self.latent_shape[0]),
        )

    def networks_kept(self) -> dict[str, nn.Module]:
        """Those that sampling needs, untrained, by their names in a checkpoint."""
        return dict(zip(("autoencoder", "denoiser"), self.build(), strict=True))

    def settings(self) -> RunConfig:
        """The settings that make such networks."""
        return RunConfig(autoencoder=self.autoencoder, denoiser=self.denoiser)

    def with_networks_of(self, config: RunConfig) -> DiffusionSpec:
        """The same images by the networks of other settings."""
        return replace(self, autoencoder=config.autoencoder, denoiser=config.denoiser)

    def refuse_absurd(self, values: int, tensors: int) -> None:
        """Raise ValueError where networks need more than a file of so many values and tensors can fill."""
        networks = (self.denoiser,) if self.autoencoder.kind == "none" else (self.autoencoder, self.denoiser)
        widest = max(self.latent_shape[0], *(channels for network in networks for channels in network.channels))
        if widest > values or max(network.blocks for network in networks) > tensors:
            raise ValueError("a larger model than its weights")


@dataclass(frozen=True)
class StyleGAN2Spec(ImageSpec):
    """A StyleGAN2, of images in the plane; stored as JSON in the checkpoint."""

    stylegan2: StyleGAN2Config

    objective: ClassVar = None
    """It removes no noise."""
    DRAWN_WITH: ClassVar = ("truncation", "batch_size", "seed")
    """The settings of sampling that its images are a function of."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spatial_dims != 2:
            raise ValueError(f"image_shape {self.image_shape} is not (C, H, W)")
        check_size(self.size)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        _, height, width = self.image_shape
        return height, width

    @property
    def shapes_kept(self) -> tuple[tuple[int, ...], ...]:
        """Of what training holds of each image: itself."""
        return (self.image_shape,)

    def build(self) -> tuple[StyleGenerator, nn.Module]:
        """The untrained (generator, discriminator)."""
        channels = self.image_shape[0]
        return (
            build_generator(self.stylegan2, size=self.size, channels=channels),
            build_discriminator(self.stylegan2, size=self.size, channels=channels),
        )

    def networks_kept(self) -> dict[str, nn.Module]:
        """Those that sampling needs, untrained, by their names in a checkpoint."""
        return {"generator": self.build()[0]}

    def settings(self) -> RunConfig:
        """The settings that make such networks."""
        return RunConfig(model=ModelConfig("stylegan2"), stylegan2=self.stylegan2)

    def with_networks_of(self, config: RunConfig) -> StyleGAN2Spec:
        """The same images by the networks of other settings."""
        return replace(self, stylegan2=config.stylegan2)

    def refuse_absurd(self, values: int, tensors: int) -> None:
        """Raise ValueError where the generator needs more than a file of so many values and tensors can fill."""
        if self.stylegan2.latent_dim > values or self.stylegan2.mapping_layers > tensors:
            raise ValueError("a larger model than its weights")


GeneratorSpec = DiffusionSpec | StyleGAN2Spec
