"""Features of images without downloaded weights: a convolution network with random, fixed weights.

Random convolutions are a serviceable texture statistic (Ustyuzhaninov et al., "Texture synthesis using shallow
convolutional networks with random filters", arXiv 1606.00021), but nobody else's numbers rest on them: a distance in
these features is comparable only within one project, between images of the same kind on the same grid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from lichen.progress import Step, silent
from lichen.quality.extractors import RANDOM_CONV
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

# A change of any of these numbers is a new name of these features.
_SCALES = (1, 2, 4, 8)
_FILTERS = 32
_SMALLEST_AXIS = 4
_BATCH_VOXELS = 2**21


def random_features(images: Tensor, *, step: Step = silent) -> NDArray[np.float64]:
    """Features (N, d) of ``images`` (N, C, *S) float32 in [-1, 1], two or three spatial axes.

    At each of four scales (averages over 1, 2, 4 and 8 voxels), two layers of 32 random filters of three voxels per
    axis, the second at every other voxel, each followed by the absolute value, which keeps the energy of an edge
    whatever its sign; then mean and standard deviation over space: d = 256. A scale at which an axis has fewer than 4
    voxels is left out. An image's features depend on nothing but the image. ``step`` counts images.
    """
    size = max(1, _BATCH_VOXELS // (_FILTERS * images[0].numel())) if len(images) else 1
    filters = {scale: _filters(scale, images.shape[1], images.ndim - 2) for scale in _SCALES}
    found = []
    for start in range(0, len(images), size):
        batch = images[start : start + size].float().cpu()
        found.append(torch.cat([_pooled(batch, scale, *filters[scale]) for scale in _SCALES], dim=1))
        step(len(batch))
    features: NDArray[np.float64] = torch.cat(found).double().numpy()
    return features


def _pooled(images: Tensor, scale: int, first: Tensor, second: Tensor) -> Tensor:
    """(B, 2 * filters) at one scale; (B, 0) if the images are too small for it."""
    dims = images.ndim - 2
    if min(images.shape[2:]) < scale * _SMALLEST_AXIS:
        return images.new_empty((len(images), 0))
    average = functional.avg_pool2d if dims == 2 else functional.avg_pool3d
    convolve = functional.conv2d if dims == 2 else functional.conv3d
    hidden = average(images, scale) if scale > 1 else images
    for weight, stride in ((first, 1), (second, 2)):
        # Edge values are repeated, so that a border is no edge.
        hidden = convolve(functional.pad(hidden, (1, 1) * dims, mode="replicate"), weight, stride=stride).abs()
    flat = hidden.flatten(2)
    return torch.cat([flat.mean(2), flat.std(2)], dim=1)


def _filters(scale: int, channels: int, dims: int) -> tuple[Tensor, Tensor]:
    """Two layers of weights, scaled so that each layer keeps the size of its input (He et al. 2015)."""
    layers = []
    for layer, inputs in enumerate((channels, _FILTERS)):
        generator = torch.Generator().manual_seed(mix_seed(RANDOM_CONV, scale, channels, dims, layer))
        weight = torch.randn((_FILTERS, inputs, *(3,) * dims), generator=generator)
        layers.append(weight / (inputs * 3**dims) ** 0.5)
    return layers[0], layers[1]
