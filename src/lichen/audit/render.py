"""What a training image looks like once it is moved and blurred as the query beside it may have been.

Evening out local contrast spoils two things. What comes in at the edge of a shifted or shrunken image (nothing: the
darkest value) changes the contrast well inside it. And a strong blur leaves coarser details, which then get all the
contrast. Neither can be taken back in the query; both can be done to the training image before its contrast is made
even. An undisturbed stranger gains nothing by it: its edges are not dark, and its details are not coarse.

A stranger who was shrunken or blurred does gain. Dark edges and coarse details leave fewer things in which two images
can differ, so the likeness of strangers scatters more in them, and a relative score has to be higher to mean the same.
``strictness`` says how much. It looks at no image, so that every query, new or synthetic, is judged by the same map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lichen.audit.contrast import even_contrast
from lichen.audit.refine import correlation_of
from lichen.audit.warp import inside, locate_back, sample

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.warp import Frame


@dataclass(frozen=True)
class Band:
    """Which details have their contrast made even; lengths in voxels of the grid along its longest side."""

    blur: float
    window: float


BLURS = (0.0, 2 / 64, 3 / 64)
"""Standard deviations of the Gaussians tried, as shares of the field's longest side."""
DARK_STRICTNESS = 1.5
"""Of darkness that comes in at the edges; settled on half of the patients of ``benchmarks/audit_power.py``."""


def strictness(frame: Frame, band: Band) -> Tensor:
    """The exponent that makes relative scores of each way of ``as_made`` comparable with those of no way, (1 + 3,).

    The scatter of a correlation falls with the root of the number of independent details, and in a plane that is one
    over their size: a blur of s on top of the noise filter b makes details hypot(s, b) / b times as large.
    """
    sizes = [math.hypot(band.blur, blur * max(frame.size)) / band.blur for blur in BLURS]
    return torch.tensor([DARK_STRICTNESS, *sizes])


def as_made(
    images: Tensor,
    queries: Tensor,
    mask: Tensor,
    transforms: Tensor,
    frame: Frame,
    band: Band,
    blurs: Sequence[float] = BLURS,
) -> Tensor:
    """The correlation of B pairs after alignment: with dark edges, then with each of ``blurs``, (B, 1 + len(blurs)).

    ``images`` (B, C, *S) are training images on the grid of ``frame`` as they are; ``queries`` (B, C, *S) have the even
    contrast of ``band`` and are mirrored where that was found; ``mask`` (C, V) bool says which voxels of the training
    images count; ``transforms`` (B, P) is the alignment. What lies outside the training image does not count.
    """
    located = locate_back(transforms, frame)
    masks = mask.float().reshape(1, -1, *frame.size).expand(len(images), -1, *frame.size)
    shown = (inside(located)[:, None] & (sample(masks, located) >= 0.5)).flatten(1)
    ways = [(True, 0.0), *((False, blur) for blur in blurs)]
    moved = {dark: rendered(images, located, dark=dark) for dark in {dark for dark, _ in ways}}
    found = []
    for dark, blur in ways:
        made = even_contrast(moved[dark], frame, blur=math.hypot(band.blur, blur * max(frame.size)), window=band.window)
        found.append(correlation_of(made.flatten(1), queries.flatten(1), shown))
    return torch.stack(found, 1)


def rendered(images: Tensor, located: Tensor, *, dark: bool) -> Tensor:
    """``images`` (B, C, *S) read at ``located`` (B, V, d), as images; outside is ``dark``, or the edge goes on."""
    if not dark:
        return sample(images, located).reshape(images.shape)
    darkest = images.flatten(1).amin(1).reshape(-1, *[1] * (images.ndim - 1))
    return sample(images - darkest, located, padding="zeros").reshape(images.shape) + darkest
