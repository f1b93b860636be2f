"""Adaptive discriminator augmentation: the discriminator sees augmented images only (Karras et al., arXiv 2006.06676).

With few images the discriminator learns them by heart, and what it then tells the generator is worthless. It does so
later where real and generated images alike are augmented before it sees them; how often, it is adapted to.

Why the generator does not learn to make augmented images: each transform is left out with probability 1 - p, so it
takes a distribution of images to (1 - p) times itself plus p times a transformed one. Where this has an inverse, two
distributions that look the same after augmentation were the same before (section 2.2). For flips, quarter turns and
turns, uniform on their groups, its eigenvalues are 1 and 1 - p. For shifts, scales, contrast and brightness they are
1 - p + p f, where f is the characteristic function of the law: positive for a normal one, and down to about -0.25 for
shifts by whole voxels, which are uniform. So an inverse is there below ``MOST_P``, where p ends: an upright image stays
more frequent than one on its side, and the generator learns that too.

Which transforms: those of the paper that suit images of any kind and number of channels, with its strengths. Colour
(hue, saturation) is none of them. All geometry is one bilinear interpolation, beyond the border mirrored, so it costs
little beside a training step, and moves of whole voxels stay sharp.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from lichen.training.draws import Draws

MOST_P = 0.8
"""Above it augmentations leak into the generated images (2006.06676, section 2.2)."""
SPEED_IMAGES = 500_000
"""Images in which p can go from 0 to 1 (2006.06676, section 3), for runs of many millions; shorter ones need fewer."""

_SHIFT = 0.125
"""Of the image's side: the largest shift by whole voxels, the standard deviation of others."""
_SCALE = 0.2 * math.log(2)
"""Standard deviation of the logarithm of scales."""
_CONTRAST = 0.5 * math.log(2)
"""Standard deviation of the logarithm of contrast."""
_BRIGHTNESS = 0.2
"""Standard deviation of what is added to an image in [-1, 1]."""


def adapted(p: float, sign_mean: float, images: int, target: float, speed_images: float = SPEED_IMAGES) -> float:
    """The probability after ``images`` images of which D's logits had signs of mean ``sign_mean``.

    A mean sign on real images above ``target`` says that D knows them too well: p grows; else it falls (2006.06676,
    section 3, r_t). It goes from 0 to 1 in ``speed_images`` images at the fastest, and stays within [0, MOST_P].
    """
    step = math.copysign(images / speed_images, sign_mean - target)
    return min(max(p + step, 0.0), MOST_P)


def augment(images: Tensor, p: Tensor | float, draws: Draws) -> Tensor:
    """Images (B, C, H, W) in [-1, 1], each transform applied with probability ``p``; differentiable.

    An image that no transform chooses keeps its bits. Shifts, flips, scales and turns move all channels together;
    contrast and brightness are each channel's own, as channels are measured on scales that have nothing in common.
    """
    return _recoloured(_moved(images, p, draws), p, draws)


def _recoloured(images: Tensor, p: Tensor | float, draws: Draws) -> Tensor:
    each = (images.shape[1], 1, 1)
    contrast = torch.where(_chosen(each, p, draws), (_CONTRAST * draws.normal(each)).exp(), 1.0)
    brightness = torch.where(_chosen(each, p, draws), _BRIGHTNESS * draws.normal(each), 0.0)
    return images * contrast + brightness


def _moved(images: Tensor, p: Tensor | float, draws: Draws) -> Tensor:
    matrix = _motion((images.shape[2], images.shape[3]), p, draws)
    still = (matrix == torch.eye(3, device=matrix.device)).all(2).all(1)
    if still.all():
        return images
    grid = functional.affine_grid(matrix[:, :2].to(images.dtype), list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return torch.where(still[:, None, None, None], images, moved)


def _motion(size: tuple[int, int], p: Tensor | float, draws: Draws) -> Tensor:
    """Where each image's points come from: (b, 3, 3) on (x, y, 1) with x and y in [-1, 1].

    That is the inverse of the motion. Each factor's law is that of its inverse, so none is inverted here.
    """
    height, width = size
    quarter = math.pi / 2 if height == width else math.pi  # a quarter turn of an oblong image would not fit its frame
    flip = torch.where(_chosen((), p, draws) & (draws.uniform(()) < 0.5), -1.0, 1.0)
    turns = torch.where(_chosen((), p, draws), (4 * draws.uniform(())).floor(), 0.0)
    whole = torch.where(_chosen((1,), p, draws), _SHIFT * (2 * draws.uniform((2,)) - 1), 0.0)
    sides = torch.tensor([width, height], device=whole.device)
    whole = (whole * sides).round() / sides
    scale = torch.where(_chosen((), p, draws), _SCALE * draws.normal(()), 0.0).exp()
    once = 1 - (1 - p) ** 0.5  # of two turns at least one is then chosen with probability p
    before = torch.where(_chosen((), once, draws), 2 * math.pi * draws.uniform(()), 0.0)
    stretch = torch.where(_chosen((), p, draws), _SCALE * draws.normal(()), 0.0).exp()
    after = torch.where(_chosen((), once, draws), 2 * math.pi * draws.uniform(()), 0.0)
    shift = torch.where(_chosen((1,), p, draws), _SHIFT * draws.normal((2,)), 0.0)
    one = torch.ones_like(scale)
    ratio = width / height
    return (
        _scaled(flip, one)
        @ _turned(quarter * turns, ratio)
        @ _shifted(2 * whole)
        @ _scaled(scale, scale)
        @ _turned(before, ratio)
        @ _scaled(stretch, 1 / stretch)
        @ _turned(after, ratio)
        @ _shifted(2 * shift)
    )


def _chosen(shape: tuple[int, ...], p: Tensor | float, draws: Draws) -> Tensor:
    """Whether a transform is applied, (b, *shape)."""
    return draws.uniform(shape) < p


def _scaled(x: Tensor, y: Tensor) -> Tensor:
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], 1))


def _shifted(by: Tensor) -> Tensor:
    """By (b, 2), as (b, 3, 3)."""
    return torch.eye(3, device=by.device) + functional.pad(by[:, :, None], (2, 0, 0, 1))


def _turned(angle: Tensor, ratio: float) -> Tensor:
    """By radians (b,), as (b, 3, 3) on axes that an image's sides are 2 long on, its width being ``ratio`` heights."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [cos, -sin / ratio, zero, sin * ratio, cos, zero, zero, zero, torch.ones_like(angle)]
    return torch.stack(rows, 1).view(-1, 3, 3)
