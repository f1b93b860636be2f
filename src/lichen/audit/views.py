"""Random views of an image, as a generator that copies might show it: what an embedding learns to see through.

Of an image: turned, moved and zoomed within the limits of ``warp``, gain and gamma changed, blurred, noise added. Not
mirrored: that leaves only two cases, which a search can try both. The random numbers come from one generator on the
CPU, so that a view is the same on every device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lichen.audit.warp import inside, limits, locate, sample

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.warp import Frame

MAX_GAMMA = 2.5
"""Largest gamma; the smallest is its inverse."""
MAX_GAIN = 1.25
"""Largest gain; the smallest is its inverse. What leaves the image's own range is clipped."""
MAX_BLUR = 3 / 64
"""Largest standard deviation of the blur, as a share of the longest side."""
MAX_NOISE = 0.2
"""Largest standard deviation of the noise, as a share of the image's range."""


def random_views(images: Tensor, frame: Frame, generator: torch.Generator) -> Tensor:
    """One random view of each of ``images`` (B, C, *S) on the grid of ``frame``, (B, C, *S) with values in [0, 1].

    What comes in from outside is the edge continued, or the darkest value, each for half of the images.
    """

    def uniform(low: float, high: float) -> Tensor:
        drawn = low + (high - low) * torch.rand(len(images), generator=generator)
        return drawn.to(images.device).reshape(-1, *[1] * (images.ndim - 1))

    limit = limits(frame.dims, images.device)
    motion = limit * (2 * torch.rand((len(images), len(limit)), generator=generator).to(images.device) - 1)
    views = _unit_range(images)
    located = locate(motion, frame)
    dark = ~inside(located).reshape(-1, 1, *frame.size) & (uniform(0, 1) < 0.5)
    views = sample(views, located).reshape(images.shape).masked_fill(dark, 0.0)
    views = views.clamp(min=1e-6) ** uniform(-math.log(MAX_GAMMA), math.log(MAX_GAMMA)).exp()
    views = views * uniform(-math.log(MAX_GAIN), math.log(MAX_GAIN)).exp()
    views = _blurred(views.clamp(max=1), uniform(0, MAX_BLUR), frame)
    noise = torch.randn(images.shape, generator=generator).to(images.device)
    return (views + uniform(0, MAX_NOISE) * noise).clamp(0, 1)


def _unit_range(images: Tensor) -> Tensor:
    """Each image brought to [0, 1]; a constant one to 0."""
    flat = images.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp(min=1e-12)).reshape(images.shape)


def _blurred(images: Tensor, deviation: Tensor, frame: Frame) -> Tensor:
    """A Gaussian of its own ``deviation`` (B, 1, ...), a share of the longest side, for each image."""
    length = 2 * deviation.reshape(-1, 1, 1).clamp(min=1e-6)  # in the lengths of the frame, whose longest side is 2
    for axis, (count, extent) in enumerate(zip(frame.size, frame.extent, strict=True), 2):
        at = torch.arange(count, device=images.device) * (extent / count)
        kernel = (-0.5 * ((at[:, None] - at) / length).square()).exp()
        kernel = kernel / kernel.sum(2, keepdim=True)
        rows = images.movedim(axis, -1)
        images = (rows.flatten(1, -2) @ kernel.transpose(1, 2)).reshape(rows.shape).movedim(-1, axis)
    return images
