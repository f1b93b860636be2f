"""The finished generator: one file with networks, description and all else that sampling needs.

A file says by its "spec" which kind it holds: that of a StyleGAN2 has "stylegan2" in it, any other is of a diffusion
model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from lichen.errors import CheckpointError, ConfigError
from lichen.models.layout import fast_layout, set_layout
from lichen.models.stylegan2 import StyleGenerator
from lichen.models.tiling import within
from lichen.settings import from_plain
from lichen.training.checkpoint import digest, load_tensors, load_weights, save_tensors, with_prefix, without_prefix
from lichen.training.specs import DiffusionSpec, GeneratorSpec, StyleGAN2Spec


@dataclass(frozen=True)
class Diffusion:
    """A trained diffusion model, ready to sample.

    Attributes:
        latent_shift: (L,) added to latents after scaling.
        latent_scale: (L,) the measured standard deviation of the training latents.
        sha256: hash of all that shapes samples, weights and description, as ``identity`` makes it.
    """

    spec: DiffusionSpec
    autoencoder: nn.Module
    denoiser: nn.Module
    latent_shift: Tensor
    latent_scale: Tensor
    sha256: str

    @property
    def device(self) -> torch.device:
        """Where it works."""
        return next(self.denoiser.parameters()).device

    @property
    def bottleneck(self) -> nn.Module | None:
        """The autoencoder that its images come out of, and lose detail in; None where there is none."""
        return None if self.spec.autoencoder.kind == "none" else self.autoencoder

    def about(self) -> dict[str, Any]:
        """Its networks in figures; what tells of the autoencoder and its latents is None where there is none."""
        encoded = self.bottleneck is not None
        return {
            "kind": "diffusion",
            "space": "latent" if encoded else "pixel",
            "autoencoder_parameters": _parameters(self.autoencoder) if encoded else None,
            "autoencoder_images_seen": None,
            "denoiser_kind": self.spec.denoiser.kind,
            "denoiser_parameters": _parameters(self.denoiser),
            "latent_shape": list(self.spec.latent_shape) if encoded else None,
            "latent_scale": self.latent_scale.tolist() if encoded else None,
            "objective": self.spec.objective,
        }


@dataclass(frozen=True)
class StyleGAN2:
    """A trained StyleGAN2, ready to sample: the moving average of its generator.

    Attributes:
        sha256: hash of all that shapes samples, weights and description, as ``identity`` makes it.
    """

    spec: StyleGAN2Spec
    network: StyleGenerator
    sha256: str

    @property
    def device(self) -> torch.device:
        """Where it works."""
        return next(self.network.parameters()).device

    @property
    def bottleneck(self) -> None:
        """None: its images come out of no autoencoder."""

    def about(self) -> dict[str, Any]:
        """Its networks in figures; the discriminator, which only training needs, is counted and not kept."""
        with torch.device("meta"):
            discriminator = self.spec.build()[1]
        return {
            "kind": "stylegan2",
            "generator_parameters": _parameters(self.network),
            "discriminator_parameters": _parameters(discriminator),
            "latent_dim": self.spec.stylegan2.latent_dim,
        }


Generator = Diffusion | StyleGAN2


def save_diffusion(
    path: Path, spec: DiffusionSpec, autoencoder: nn.Module, denoiser: nn.Module, shift: Tensor, scale: Tensor
) -> None:
    """Write a diffusion model to ``path``, whole or not at all."""
    tensors = {
        **with_prefix("autoencoder", autoencoder.state_dict()),
        **with_prefix("denoiser", denoiser.state_dict()),
        "latent.shift": shift,
        "latent.scale": scale,
    }
    save_tensors(path, tensors, {"kind": "generator", "spec": dataclasses.asdict(spec)})


def save_stylegan2(path: Path, spec: StyleGAN2Spec, network: StyleGenerator) -> None:
    """Write the averaged generator of a StyleGAN2 to ``path``, whole or not at all."""
    tensors = with_prefix("generator", network.state_dict())
    save_tensors(path, tensors, {"kind": "generator", "spec": dataclasses.asdict(spec)})


def load_generator(path: Path, device: torch.device, budget_bytes: int | None = None) -> Generator:
    """Read a generator and move it to ``device``, in evaluation mode; its autoencoder keeps within ``budget_bytes``.

    Raises:
        CheckpointError: the file is missing, damaged, not a generator, or its weights do not fit its own description.
    """
    tensors, about = load_tensors(path, "generator")
    spec, networks = _read_model(about, tensors, path)
    for name, network in networks.items():
        load_weights(network, without_prefix(name, tensors), path)
        network.to(device).eval().requires_grad_(False)
    sha256 = identity(tensors, about)
    if isinstance(spec, StyleGAN2Spec):
        return StyleGAN2(spec, cast("StyleGenerator", networks["generator"]), sha256)
    for name, shape in (("autoencoder", spec.image_shape), ("denoiser", spec.latent_shape)):
        set_layout(networks[name], fast_layout(shape[1:], device))
    latent = without_prefix("latent", tensors)
    wanted = (spec.latent_shape[:1], torch.float32)
    found = [(latent[name].shape, latent[name].dtype) for name in ("shift", "scale") if name in latent]
    if found != [wanted, wanted]:
        raise CheckpointError(f"{path} has no latent scale", fix="train again; sampling without it gives noise")
    autoencoder = within(networks["autoencoder"], budget_bytes)
    return Diffusion(spec, autoencoder, networks["denoiser"], latent["shift"], latent["scale"], sha256)


def load_diffusion(path: Path, device: torch.device, budget_bytes: int | None = None, *, to: str = "this") -> Diffusion:
    """The same of a diffusion model, for work that no other kind is for; ``to`` names it in the error.

    Raises:
        CheckpointError: as above, or the file holds a StyleGAN2.
    """
    found = load_generator(path, device, budget_bytes)
    if isinstance(found, StyleGAN2):
        raise no_denoiser(to, path)
    return found


def no_denoiser(to: str, path: Path) -> CheckpointError:
    """What is wrong with asking a StyleGAN2 in ``path`` for work that no other kind than diffusion is for."""
    return CheckpointError(
        f"{to} asks a denoiser, and {path} holds a StyleGAN2, which has none", fix="give a diffusion model's"
    )


def identity(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """SHA-256 of what samples are a function of: the tensors and the description of a generator's file, in hexadecimal.

    What else the file says, such as how to sample best, changes its bytes and not its samples.
    """
    what = (digest(tensors), json.dumps(about.get("spec"), sort_keys=True))
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _read_model(
    about: dict[str, Any], tensors: Mapping[str, Tensor], path: Path
) -> tuple[GeneratorSpec, dict[str, nn.Module]]:
    """The model that ``about`` describes, and its networks by their names in the file, still empty."""
    try:
        spec = _spec(about["spec"])
        # building networks larger than the file can fill may take for ever
        spec.refuse_absurd(sum(tensor.numel() for tensor in tensors.values()), len(tensors))
        with torch.device("meta"):  # no memory and no random weights for networks that are filled from the file
            return spec, spec.networks_kept()
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        raise CheckpointError(
            f"{path} describes its model in a way that cannot be read "
            f"({error.problem if isinstance(error, ConfigError) else error})",
            fix="train again with this version",
        ) from error


def _spec(plain: Any) -> GeneratorSpec:
    if "stylegan2" in plain:
        return from_plain(StyleGAN2Spec, plain)
    return from_plain(DiffusionSpec, plain)


def _parameters(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())
