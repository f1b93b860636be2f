"""What stands in the place of an autoencoder where there is none: images are their own latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Identity(nn.Module):
    """An autoencoder without weights, which changes nothing: the denoiser behind it works on voxels."""

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, *S) -> themselves, and their standard deviation, which is 0."""
        return images, torch.zeros_like(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, C, *S) -> themselves."""
        return latents
