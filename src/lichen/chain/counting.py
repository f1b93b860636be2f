"""What a network is on paper: parameters, and arithmetic per image. Built without memory and run without numbers."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.config import RunConfig


@dataclass(frozen=True)
class OnPaper:
    """Of a plan: what it has and does, however long that takes."""

    parameters: int
    """Of autoencoder and denoiser."""
    training_flop: float
    """Floating-point operations of all training, two for each multiply-add; convolutions and products of matrices."""
    synthesis_flop: float
    """The same of all samples."""


def on_paper(config: RunConfig, image_channels: int = 1) -> OnPaper:
    """Parameters and operations of a diffusion model with these settings; ``images.size`` must be set.

    Raises:
        ValueError: there is no size, or the networks do not fit it.
    """
    import torch

    from lichen.models.counting import BACKWARD, flop
    from lichen.samplers import network_calls
    from lichen.training.specs import DiffusionSpec

    if config.images.size is None:
        raise ValueError("images.size must be set")
    affine = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    spec = DiffusionSpec(
        (image_channels, *config.images.size), affine, config.autoencoder, config.denoiser, "v", is_phantom=True
    )

    with torch.device("meta"):
        autoencoder, denoiser = spec.build()
        latent, image = torch.empty(1, *spec.latent_shape), torch.empty(1, *spec.image_shape)
        call = flop(denoiser, latent, torch.zeros(1, dtype=torch.long))
        encode, decode = 0, 0
        if config.autoencoder.kind != "none":
            encode = flop(autoencoder.get_submodule("encoder"), image)
            decode = flop(autoencoder.get_submodule("decoder"), latent)
    seen = 0 if config.autoencoder.kind == "none" else config.autoencoder.images_seen
    calls = network_calls(config.sampling.sampler, config.sampling.steps)
    return OnPaper(
        parameters=sum(weight.numel() for network in (autoencoder, denoiser) for weight in network.parameters()),
        training_flop=float((1 + BACKWARD) * (seen * (encode + decode) + config.training.images_seen * call)),
        synthesis_flop=float(config.sampling.count * (calls * call + decode)),
    )
