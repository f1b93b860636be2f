"""Images on a small grid with their local contrast made equal, so that grey values hardly matter.

A gain or an offset leaves the result as it was, and so, nearly, does any increasing map of grey values such as a gamma:
over a small window it is close to a straight line. Removing the local mean also removes what all images of a body part
share. A light blur first takes out the noise, which a product of small details would otherwise drown in.

Local contrast normalisation: Jarrett, Kavukcuoglu, Ranzato and LeCun, ICCV 2009, section 2, with Gaussian windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.warp import Frame

FLOOR = 0.3
"""Where the local contrast is far below this share of the image's mean contrast, it is noise and not amplified."""


def even_contrast(images: Tensor, frame: Frame, *, blur: float, window: float) -> Tensor:
    """``images`` (N, C, *S) averaged down to the grid of ``frame`` with even local contrast, (N, C, *size) float32.

    ``blur`` and ``window``: standard deviations of the noise filter and of the window, in voxels of the grid along its
    longest side. An image or a channel without contrast becomes 0.
    """
    smooth = _blur(averaged(_standard(images), frame), frame, blur)
    detail = smooth - _blur(smooth, frame, window)
    energy = _blur(detail.square(), frame, window)
    floor = FLOOR**2 * energy.flatten(2).mean(2).reshape(*energy.shape[:2], *[1] * frame.dims)
    return detail / (energy + floor).clamp(min=1e-12).sqrt()


def roughness(images: Tensor, frame: Frame) -> Tensor:
    """How much of ``images`` (N, C, *S) is detail of about a voxel of ``frame``, as noise is: 0 to about 1, (N,)."""
    whole = averaged(_standard(images), frame)
    detail = (whole - _blur(whole, frame, 1.0)).flatten(1).square().mean(1)
    return (detail / whole.flatten(1).square().mean(1).clamp(min=1e-12)).sqrt()


def averaged(images: Tensor, frame: Frame) -> Tensor:
    """``images`` (N, C, *S) averaged down to the grid of ``frame``, (N, C, *size)."""
    return images if images.shape[2:] == frame.size else functional.interpolate(images, size=frame.size, mode="area")


def _standard(images: Tensor) -> Tensor:
    """Each channel with mean 0 and standard deviation 1, float32; 0 where it has no contrast."""
    flat = images.flatten(2).double()
    centre = flat.mean(2, keepdim=True)
    spread = (flat - centre).square().mean(2, keepdim=True).sqrt()
    flat = (flat - centre) / spread.where(spread > 1e-6 * flat.abs().amax(2, keepdim=True), torch.inf)
    return flat.float().reshape(images.shape)


def _blur(images: Tensor, frame: Frame, deviation: float) -> Tensor:
    """A Gaussian of ``deviation`` voxels of the longest side along each axis; at the edges what is there counts."""
    if deviation <= 0:
        return images
    length = deviation * 2 / max(frame.size)
    for axis, (count, extent) in enumerate(zip(frame.size, frame.extent, strict=True), 2):
        at = torch.arange(count, device=images.device, dtype=torch.float64) * (extent / count)
        kernel = (-0.5 * ((at[:, None] - at) / length).square()).exp()
        kernel = (kernel / kernel.sum(1, keepdim=True)).float()
        images = (images.movedim(axis, -1) @ kernel.T).movedim(-1, axis)
    return images
