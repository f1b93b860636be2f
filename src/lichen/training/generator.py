"""The finished generator: one file with autoencoder, denoiser, latent scale and geometry, all that sampling needs."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lichen.config import AutoencoderConfig, DenoiserConfig, Objective
from lichen.errors import CheckpointError
from lichen.files import sha256_of
from lichen.models import autoencoder as autoencoders
from lichen.models.autoencoder import build_autoencoder
from lichen.models.denoiser import build_denoiser
from lichen.models.layout import fast_layout, set_layout
from lichen.settings import from_plain
from lichen.training.checkpoint import load_tensors, load_weights, save_tensors, with_prefix, without_prefix


@dataclass(frozen=True)
class GeneratorSpec:
    """What kind of generator it is; stored as JSON in the checkpoint."""

    image_shape: tuple[int, ...]
    """(C, *S) of the images it makes."""
    affine: tuple[tuple[float, ...], ...]
    """(4, 4) voxel index -> mm of the images it makes."""
    autoencoder: AutoencoderConfig
    denoiser: DenoiserConfig
    objective: Objective
    is_phantom: bool
    """Whether it was trained on built-in phantoms, which are nobody's images."""
    window: tuple[float, ...] = ()
    """Intensities that -1 and 1 stand for, two for all channels or two for each; empty: no intensity of any scale."""

    @property
    def spatial_dims(self) -> int:
        """2 or 3."""
        return len(self.image_shape) - 1

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(L, *s) of the latents."""
        factor = autoencoders.downsampling(self.autoencoder)
        return (self.autoencoder.latent_channels, *(math.ceil(n / factor) for n in self.image_shape[1:]))

    def build(self) -> tuple[nn.Module, nn.Module]:
        """The untrained (autoencoder, denoiser)."""
        return (
            build_autoencoder(self.autoencoder, spatial_dims=self.spatial_dims, image_channels=self.image_shape[0]),
            build_denoiser(
                self.denoiser,
                spatial_dims=self.spatial_dims,
                latent_channels=self.autoencoder.latent_channels,
            ),
        )


@dataclass(frozen=True)
class Generator:
    """A trained generator, ready to sample.

    Attributes:
        latent_shift: (L,) added to latents after scaling.
        latent_scale: (L,) the measured standard deviation of the training latents.
        sha256: hash of the checkpoint file.
    """

    spec: GeneratorSpec
    autoencoder: nn.Module
    denoiser: nn.Module
    latent_shift: Tensor
    latent_scale: Tensor
    sha256: str


def save_generator(
    path: Path, spec: GeneratorSpec, autoencoder: nn.Module, denoiser: nn.Module, shift: Tensor, scale: Tensor
) -> None:
    """Write a generator to ``path``, whole or not at all."""
    tensors = {
        **with_prefix("autoencoder", autoencoder.state_dict()),
        **with_prefix("denoiser", denoiser.state_dict()),
        "latent.shift": shift,
        "latent.scale": scale,
    }
    save_tensors(path, tensors, {"kind": "generator", "spec": dataclasses.asdict(spec)})


def load_generator(path: Path, device: torch.device) -> Generator:
    """Read a generator and move it to ``device``, in evaluation mode.

    Raises:
        CheckpointError: the file is missing, damaged, not a generator, or its weights do not fit its own description.
    """
    tensors, about = load_tensors(path, "generator")
    spec = _read_spec(about, path)
    with torch.device("meta"):  # no memory and no random weights for networks that are filled from the file
        autoencoder, denoiser = spec.build()
    load_weights(autoencoder, without_prefix("autoencoder", tensors), path)
    load_weights(denoiser, without_prefix("denoiser", tensors), path)
    for network in (autoencoder, denoiser):
        set_layout(network.to(device), fast_layout(spec.spatial_dims)).eval().requires_grad_(False)
    latent = without_prefix("latent", tensors)
    shape = (spec.autoencoder.latent_channels,)
    if any(name not in latent or latent[name].shape != shape for name in ("shift", "scale")):
        raise CheckpointError(f"{path} has no latent scale", fix="train again; sampling without it gives noise")
    return Generator(spec, autoencoder, denoiser, latent["shift"], latent["scale"], sha256_of(path))


def _read_spec(about: dict[str, Any], path: Path) -> GeneratorSpec:
    try:
        return from_plain(GeneratorSpec, about["spec"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} describes its model in a way that cannot be read ({error})",
            fix="train again with this version",
        ) from error
