"""Training of the autoencoder, and the latents it gives: encoded once, scaled once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.models.autoencoder import decode, encode
from lichen.progress import Step, silent
from lichen.team import ALONE, Team
from lichen.training.draws import Draws
from lichen.training.loop import Loss


def autoencoder_loss(kl_weight: float, crop: Sequence[int] | None = None) -> Loss:
    """Reconstruction error plus a weak pull of the latents towards N(0, 1).

    L1 on the voxels and on their first differences along every axis (edges, which L1 alone leaves soft), plus
    ``kl_weight`` times the Kullback-Leibler divergence per latent element (Kingma & Welling, arXiv 1312.6114, Eq. 10).
    With ``crop`` (*c) the loss is that of a random crop of each image.
    """

    def loss(network: nn.Module, images: Tensor, draws: Draws) -> Tensor:
        if crop is not None:
            images = random_crops(images, crop, draws)
        mean, std = encode(network, images)
        restored = decode(network, mean + std * draws.normal(mean.shape[1:]))
        divergence = 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).mean()
        return functional.l1_loss(restored, images) + edge_loss(restored, images) + kl_weight * divergence

    return loss


def random_crops(images: Tensor, size: Sequence[int], draws: Draws) -> Tensor:
    """A crop of ``size`` (*c) voxels of each of images (B, C, *S), anywhere in it, (B, C, *c)."""
    starts = draws.starts([side - wanted for side, wanted in zip(images.shape[2:], size, strict=True)])
    crops = []
    for image, start in zip(images, starts.tolist(), strict=True):
        box = (slice(first, first + wanted) for first, wanted in zip(start, size, strict=True))
        crops.append(image[(slice(None), *box)])
    return torch.stack(crops)


def edge_loss(restored: Tensor, images: Tensor) -> Tensor:
    """Mean absolute error of first differences, averaged over the spatial axes of (B, C, *S)."""
    error = restored - images
    axes = range(2, images.ndim)
    return torch.stack([error.diff(dim=axis).abs().mean() for axis in axes]).mean()


@dataclass(frozen=True)
class Latents:
    """Training images as the denoiser sees them.

    Attributes:
        values: (N, L, *s), normalised by ``(z - shift) / scale``.
        shift: (L,) mean of the raw latents per channel.
        scale: (L,) standard deviation of the raw latents per channel.
    """

    values: Tensor
    shift: Tensor
    scale: Tensor


@torch.inference_mode()
def encode_set(
    autoencoder: nn.Module, images: Tensor, batch_size: int, *, step: Step = silent, team: Team = ALONE
) -> Latents:
    """Encode images (N, C, *S) to the means of their latents, and measure shift and scale over the whole set."""
    device = next(autoencoder.parameters()).device
    first = encode(autoencoder, images[:batch_size].to(device))[0].float().cpu()
    raw = torch.zeros(len(images), *first.shape[1:])
    for number, start in enumerate(range(0, len(images), batch_size)):
        batch = images[start : start + batch_size]
        if number % team.size == team.rank:
            latents = encode(autoencoder, batch.to(device))[0].float().cpu() if number else first
            raw[start : start + batch_size] = latents
        step(len(batch))
    team.add_up([raw])  # each image was left 0 by all processes but one
    return normalised(raw)


def normalised(raw: Tensor) -> Latents:
    """Raw latents (N, L, *s), or images that are their own, brought to mean 0 and standard deviation 1 per channel."""
    mean = raw.mean((0, *range(2, raw.ndim)), dtype=torch.float64)
    # image by image: in double precision a whole set of volumes may not fit
    squares = sum((image - _per_channel(mean, raw)[0]).square().flatten(1).sum(1) for image in raw)
    shift, scale = mean.float(), (squares / (raw.numel() / len(mean) - 1)).sqrt().float().clamp_min(1e-6)
    return Latents((raw - _per_channel(shift, raw)).div_(_per_channel(scale, raw)), shift, scale)


@torch.no_grad()  # and no inference_mode: a denoiser may be trained on the result
def encode_images(autoencoder: nn.Module, images: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Images (B, C, *S) -> normalised latents (B, L, *s) float32, by the shift and scale of ``encode_set``."""
    raw = encode(autoencoder, images)[0].float()
    return (raw - _per_channel(shift, raw)) / _per_channel(scale, raw)


@torch.inference_mode()
def decode_latents(autoencoder: nn.Module, values: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalised latents (B, L, *s) -> images (B, C, *S) float32 in [-1, 1]; undoes what ``encode_set`` did."""
    latents = values * _per_channel(scale, values) + _per_channel(shift, values)
    return decode(autoencoder, latents).float().clamp(-1, 1)


@torch.inference_mode()
def reconstruct(autoencoder: nn.Module, images: Tensor, batch_size: int) -> Tensor:
    """Images (N, C, *S) as the autoencoder restores them, float32 in [-1, 1] on the CPU: as smooth as its samples."""
    device = next(autoencoder.parameters()).device
    parts = (decode(autoencoder, encode(autoencoder, batch.to(device))[0]) for batch in images.split(batch_size))
    return torch.cat([part.float().cpu().clamp(-1, 1) for part in parts])


@torch.inference_mode()
def reconstruction_l1(autoencoder: nn.Module, images: Tensor, batch_size: int, *, step: Step = silent) -> float:
    """Mean absolute difference between images (N, C, *S) and their reconstructions, in units of [-1, 1]."""
    total = 0.0
    for batch in images.split(batch_size):
        total += (restored(autoencoder, batch) - batch).abs().sum().item()
        step(len(batch))
    return total / images.numel()


def restored(autoencoder: nn.Module, images: Tensor) -> Tensor:
    """What ``autoencoder`` makes of images (B, C, *S) and back, float32 on the CPU."""
    mean, _ = encode(autoencoder, images.to(next(autoencoder.parameters()).device))
    return decode(autoencoder, mean).float().cpu()


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like.device).view(1, -1, *(1,) * (like.ndim - 2))
