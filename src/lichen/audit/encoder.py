"""A small convolutional encoder of pictures or volumes, and how it learns which views are of one image.

Contrastive learning: two random views of an image shall lie near each other and far from views of other patients
(NT-Xent of SimCLR, Chen, Kornblith, Norouzi and Hinton, ICML 2020, equation 1, with the temperature 0.07 of Dar et al.,
arXiv 2402.01054). The encoder sees images with even local contrast on a small grid, as the aligned score does. Trained
on a pool, it learns to tell just these images apart, whatever the motions that a copy may have undergone.

The number of steps is fixed and so is the time, whatever the size of the pool: about 1 minute of one core for pictures
of 64 x 64, about 2 minutes for volumes of 32 x 48 x 32.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from lichen.audit.contrast import averaged, even_contrast
from lichen.audit.pearson import unit_rows, varying_voxels
from lichen.audit.views import random_views
from lichen.audit.warp import Frame
from lichen.progress import Step, silent
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from torch import Tensor

TEMPERATURE = 0.07
SIDE = {2: 48, 3: 24}
"""Voxels along the longest side of the grid, by the number of axes; smaller images keep their own."""
BLUR, WINDOW = {2: 1.1, 3: 0.8}, {2: 3.0, 3: 2.4}
"""Noise filter and window of the contrast, in voxels of the grid."""
WIDTHS = (16, 32, 64)
"""Channels after each halving of the grid."""
NUMBERS = 128
"""Length of an embedding."""
BATCH = 32
"""Images in a step of the training, two views of each."""
STEPS = 1200
"""Of the training. In a pool of 1,000 images each is seen 38 times, in a larger one less often."""
RATE = 3e-3
"""Highest learning rate of Adam: reached after a tenth of the steps, then down to 0 along a cosine."""
BLOCK_IMAGES = 64
"""Images embedded at once."""


class Encoder(nn.Module):
    """Images (N, C, *S) of one grid to embeddings (N, ``NUMBERS``) float32, each image by itself."""

    mask: Tensor
    """(C * prod(S),) bool: voxels that are not background."""
    weight: Tensor
    """(1, C, *size) float32: the same on the encoder's own grid."""

    def __init__(self, channels: int, size: tuple[int, ...], mask: Tensor) -> None:
        """``size`` *S of the images; ``mask`` (C * prod(S),) bool. The weights are drawn from torch's own generator."""
        super().__init__()
        dims = len(size)
        self.frame = Frame(size, (1.0,) * dims).coarser(SIDE[dims])
        kept = averaged(mask.reshape(1, channels, *size).float(), self.frame) >= 0.5
        self.register_buffer("mask", mask)
        self.register_buffer("weight", (kept if bool(kept.any()) else torch.ones_like(kept)).float())
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        layers: list[nn.Module] = []
        left = self.frame.size
        for before, after in zip((channels, *WIDTHS[:-1]), WIDTHS, strict=True):
            layers += [conv(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
            left = tuple((side + 1) // 2 for side in left)
        # Flattened, not averaged: where in the body something lies is part of what tells patients apart.
        layers += [nn.Flatten(), nn.Linear(WIDTHS[-1] * math.prod(left), NUMBERS)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (N, ``NUMBERS``) of ``images`` (N, C, *S) on the images' grid or on the encoder's own."""
        dims = self.frame.dims
        seen = even_contrast(images, self.frame, blur=BLUR[dims], window=WINDOW[dims])
        embedded: Tensor = self.layers(seen * self.weight)
        return embedded

    @torch.no_grad()
    def embed(self, images: Tensor) -> Tensor:
        """Embeddings (N, ``NUMBERS``) of ``images`` (N, C, *S), in blocks; 0 for an image without contrast."""
        embedded = torch.empty((len(images), NUMBERS), device=self.weight.device)
        for at in range(0, len(images), BLOCK_IMAGES):
            block = images[at : at + BLOCK_IMAGES].to(self.weight.device)
            _, contrast = unit_rows(block, self.mask)
            embedded[at : at + BLOCK_IMAGES] = self(block) * contrast[:, None]
        return embedded


def train_encoder(
    images: Tensor, patients: Tensor, *, seed: int = 0, steps: int = STEPS, step: Step = silent
) -> Encoder:
    """An encoder that tells ``images`` (M, C, *S) of ``patients`` (M,) int64 apart, on the device of the images.

    ``step`` counts the images of each of the ``steps``.

    A function of the set of images, the seed and the number of steps alone: the images are first sorted by what is in
    them. So an encoder trained on two pools together treats both alike, whichever is given first. It comes out the same
    in every process on one kind of machine with one number of threads; elsewhere sums are rounded differently.
    """
    order = sorted(range(len(images)), key=lambda at: _fingerprint(images[at]))
    images, patients = images[order], patients.to(images.device)[order]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(mix_seed(seed, "encoder weights"))
        encoder = Encoder(images.shape[1], tuple(images.shape[2:]), varying_voxels(images).cpu()).to(images.device)
    small = averaged(images.float(), encoder.frame)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_share(step, steps))
    generator = torch.Generator().manual_seed(mix_seed(seed, "encoder views"))
    for _, drawn in zip(range(steps), _batches(len(images), generator), strict=False):
        batch = drawn.to(images.device)
        first, second = (encoder(random_views(small[batch], encoder.frame, generator)) for _ in range(2))
        optimiser.zero_grad()
        nt_xent(first, second, patients[batch]).backward()
        optimiser.step()
        schedule.step()
        step(len(batch))
    return encoder.eval().requires_grad_(requires_grad=False)


def nt_xent(first: Tensor, second: Tensor, patients: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Normalised temperature-scaled cross entropy of two views, (B, D) each, of images of ``patients`` (B,).

    Chen et al. 2020, equation 1, averaged over all 2 B views; the similarity is Pearson's correlation. Other images of
    the same patient count neither as near nor as far.
    """
    count = len(first)
    rows = torch.cat([first, second])
    rows = normalize(rows - rows.mean(1, keepdim=True), dim=1)
    partner = torch.arange(2 * count, device=rows.device).roll(count)
    who = patients.repeat(2)
    left_out = (who[:, None] == who).scatter(1, partner[:, None], value=False)
    return cross_entropy((rows @ rows.T / temperature).masked_fill(left_out, -torch.inf), partner)


def _fingerprint(image: Tensor) -> bytes:
    return hashlib.sha256(image.cpu().contiguous().numpy().tobytes()).digest()


def _rate_share(step: int, steps: int) -> float:
    warm_up = max(1, steps // 10)
    return min((step + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * step / max(1, steps))))


def _batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of the images of each step, without end: all of them in turn, shuffled anew each time."""
    size = min(BATCH, count)
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
