"""The finished generator: one file with autoencoder, denoiser, latent scale and geometry, all that sampling needs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lichen.bounds import classes_fit, window_fits
from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.errors import CheckpointError, ConfigError
from lichen.models import autoencoder as autoencoders
from lichen.models import denoiser as denoisers
from lichen.models.autoencoder import build_autoencoder
from lichen.models.denoiser import build_denoiser
from lichen.models.layout import fast_layout, set_layout
from lichen.models.tiling import within
from lichen.samplers import Objective
from lichen.settings import from_plain
from lichen.training.checkpoint import digest, load_tensors, load_weights, save_tensors, with_prefix, without_prefix

MOST_VOXELS = 2**31
"""No image is larger; a file that says so is damaged or made to exhaust the memory."""


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
    classes: tuple[int, ...] = ()
    """Values of the label map, which is the last channel, evenly spread over [-1, 1]; empty: there is none."""

    def __post_init__(self) -> None:
        factor = autoencoders.downsampling(self.autoencoder) * denoisers.downsampling(self.denoiser)
        shape, rows = self.image_shape, self.affine
        if len(shape) not in {3, 4} or min(shape) < 1 or any(side % factor for side in shape[1:]):
            raise ValueError(f"image_shape {shape} is not (C, *S) with sides that are multiples of {factor}")
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

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(L, *s) of the latents; that of the images where there is no autoencoder."""
        factor = autoencoders.downsampling(self.autoencoder)
        channels = autoencoders.latent_channels(self.autoencoder, self.image_shape[0])
        return (channels, *(math.ceil(n / factor) for n in self.image_shape[1:]))

    def build(self) -> tuple[nn.Module, nn.Module]:
        """The untrained (autoencoder, denoiser)."""
        return (
            build_autoencoder(self.autoencoder, spatial_dims=self.spatial_dims, image_channels=self.image_shape[0]),
            build_denoiser(self.denoiser, spatial_dims=self.spatial_dims, latent_channels=self.latent_shape[0]),
        )


@dataclass(frozen=True)
class Generator:
    """A trained generator, ready to sample.

    Attributes:
        latent_shift: (L,) added to latents after scaling.
        latent_scale: (L,) the measured standard deviation of the training latents.
        sha256: hash of all that shapes samples, weights and description, as ``identity`` makes it.
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


def load_generator(path: Path, device: torch.device, budget_bytes: int | None = None) -> Generator:
    """Read a generator and move it to ``device``, in evaluation mode; its autoencoder keeps within ``budget_bytes``.

    Raises:
        CheckpointError: the file is missing, damaged, not a generator, or its weights do not fit its own description.
    """
    tensors, about = load_tensors(path, "generator")
    sha256 = identity(tensors, about)
    spec, autoencoder, denoiser = _read_model(about, tensors, path)
    load_weights(autoencoder, without_prefix("autoencoder", tensors), path)
    load_weights(denoiser, without_prefix("denoiser", tensors), path)
    for network, size in ((autoencoder, spec.image_shape[1:]), (denoiser, spec.latent_shape[1:])):
        set_layout(network.to(device), fast_layout(size, device)).eval().requires_grad_(False)
    latent = without_prefix("latent", tensors)
    wanted = (spec.latent_shape[:1], torch.float32)
    found = [(latent[name].shape, latent[name].dtype) for name in ("shift", "scale") if name in latent]
    if found != [wanted, wanted]:
        raise CheckpointError(f"{path} has no latent scale", fix="train again; sampling without it gives noise")
    bounded = within(autoencoder, budget_bytes)
    return Generator(spec, bounded, denoiser, latent["shift"], latent["scale"], sha256)


def identity(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """SHA-256 of what samples are a function of: the tensors and the description of a generator's file, in hexadecimal.

    What else the file says, such as how to sample best, changes its bytes and not its samples.
    """
    what = (digest(tensors), json.dumps(about.get("spec"), sort_keys=True))
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _read_model(
    about: dict[str, Any], tensors: Mapping[str, Tensor], path: Path
) -> tuple[GeneratorSpec, nn.Module, nn.Module]:
    """The model that ``about`` describes, and its networks, still empty."""
    try:
        spec = from_plain(GeneratorSpec, about["spec"])
        _refuse_absurd(spec, tensors)
        with torch.device("meta"):  # no memory and no random weights for networks that are filled from the file
            return spec, *spec.build()
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        raise CheckpointError(
            f"{path} describes its model in a way that cannot be read "
            f"({error.problem if isinstance(error, ConfigError) else error})",
            fix="train again with this version",
        ) from error


def _refuse_absurd(spec: GeneratorSpec, tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError where the networks would need more than the file can fill: building them may take for ever."""
    values = sum(tensor.numel() for tensor in tensors.values())
    networks = (spec.denoiser,) if spec.autoencoder.kind == "none" else (spec.autoencoder, spec.denoiser)
    widest = max(spec.latent_shape[0], *(channels for network in networks for channels in network.channels))
    if widest > values or max(network.blocks for network in networks) > len(tensors):
        raise ValueError("a larger model than its weights")
