"""What the networks of a run are shown of its training images: the images, or with augmentation moved ones.

The denoiser is then shown images too, and not the latents that were encoded once: a moved image has another latent, and
not the same one moved. Each batch is encoded by the finished autoencoder as it comes, which costs energy in every step
of the denoiser. What latents are shifted and scaled by stays that of the images themselves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from lichen.config import RunConfig, TrainingConfig
from lichen.images.types import spacing_mm
from lichen.training.augmentation import Transform, affine, transformed
from lichen.training.autoencoder import autoencoder_loss, encode_images
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.loop import Loss
from lichen.training.specs import DiffusionSpec, GeneratorSpec


def augmentation_of(spec: GeneratorSpec, training: TrainingConfig) -> Transform | None:
    """What is done to a batch of images (B, C, *S) each time before it is shown; None: nothing."""
    if training.augmentation == "none":
        return None
    return affine(spacing_mm(np.array(spec.affine), spec.spatial_dims), label_map=bool(spec.classes))


def loss_of_autoencoder(spec: DiffusionSpec, config: RunConfig) -> Loss:
    """The autoencoder's loss of a batch of training images (B, C, *S)."""
    loss = autoencoder_loss(config.autoencoder.kl_weight, config.autoencoder.crop)
    move = augmentation_of(spec, config.training)
    return loss if move is None else transformed(loss, move)


def loss_of_denoiser(
    spec: DiffusionSpec, config: RunConfig, device: torch.device, autoencoder: nn.Module, shift: Tensor, scale: Tensor
) -> Loss:
    """The denoiser's loss of a batch of normalised latents (B, L, *s), or with augmentation of images (B, C, *S).

    Those are encoded in batches no larger than the autoencoder's own, so that they fit where it was trained.
    """
    loss = denoiser_loss(config.training.objective, device)
    move = augmentation_of(spec, config.training)
    if move is None:
        return loss

    def encoded(images: Tensor, draws: Draws) -> Tensor:
        batches = move(images, draws).split(config.autoencoder.batch_size)
        return torch.cat([encode_images(autoencoder, batch, shift, scale) for batch in batches])

    return transformed(loss, encoded)


def shape_shown(spec: DiffusionSpec, training: TrainingConfig) -> tuple[int, ...]:
    """The shape of what ``loss_of_denoiser`` takes, without the batch."""
    return spec.latent_shape if training.augmentation == "none" else spec.image_shape
