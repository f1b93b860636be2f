"""What imaging, networks and file formats do to the values of an image and leave in place: gamma, blur, JPEG."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


def with_gamma(images: Tensor, gamma: float) -> Tensor:
    """v -> v^gamma of the values brought to [0, 1]; ``images`` of any shape in [-1, 1]. Above 1 darkens."""
    return ((images + 1) / 2) ** gamma * 2 - 1


def blurred(images: Tensor, sd_voxels: Sequence[float]) -> Tensor:
    """``images`` (B, C, *S) under a Gaussian of standard deviation ``sd_voxels`` (D) along each axis.

    The outermost voxels are repeated outwards: a blur brings in nothing from outside, and leaves no dark rim by which
    strangers would resemble each other.
    """
    for axis, sd in enumerate(sd_voxels, start=2):
        matrix = _blur_matrix(images.shape[axis], sd).to(images)
        images = (images.movedim(axis, -1) @ matrix).movedim(-1, axis)
    return images


def jpeg(images: Tensor, quality: int) -> Tensor:
    """``images`` (B, C, *S) in [-1, 1] after 8 bits and JPEG of a Pillow ``quality`` from 1 to 95.

    Each channel is a picture by itself, and of a volume each axial slice.
    """
    eight_bit = ((images + 1) * 127.5).round().to(torch.uint8).cpu()
    flat = eight_bit if images.ndim == 4 else eight_bit.movedim(-1, 2)  # the last axis of RAS+ runs from foot to head
    pictures = flat.flatten(0, -3).numpy()
    decoded = torch.from_numpy(np.stack([_through_jpeg(picture, quality) for picture in pictures])).reshape(flat.shape)
    values = decoded if images.ndim == 4 else decoded.movedim(2, -1)
    return values.to(images) / 127.5 - 1


def _blur_matrix(side: int, sd: float) -> Tensor:
    """(S, S) float64 to multiply rows with, from the right.

    The discrete Gaussian exp(-t) I_n(t), t = sd^2 (Lindeberg, "Scale-space for discrete signals", PAMI 1990), by its
    Fourier transform exp(t (cos w - 1)). Its variance is t also where sd is a fraction of a voxel, as 1 px at 64 is on
    a small volume; a sampled Gaussian would then do nothing.
    """
    radius = math.ceil(5 * sd) + 3
    samples = 4 * radius
    frequency = torch.arange(samples // 2 + 1, dtype=torch.float64) * (2 * math.pi / samples)
    periodic = torch.fft.irfft(torch.exp(sd**2 * (frequency.cos() - 1)), n=samples)
    offset = torch.arange(-radius, radius + 1)
    weight = periodic[offset % samples]
    source = (torch.arange(side).reshape(-1, 1) + offset).clamp(0, side - 1)
    matrix = torch.zeros(side, side, dtype=torch.float64)
    return matrix.scatter_add_(1, source, (weight / weight.sum()).repeat(side, 1)).T


def _through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    with Image.open(file) as decoded:
        return np.asarray(decoded, dtype=np.uint8)
