"""The segmenter, which gives each voxel a class: MONAI's ``UNet`` (Ronneberger et al., arXiv 1505.04597)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from lichen.config import SegmenterConfig
from lichen.errors import ConfigError


def build_segmenter(config: SegmenterConfig, *, spatial_dims: int, image_channels: int, classes: int) -> nn.Module:
    """An untrained U-Net: images (B, image_channels, *S) -> logits (B, classes, *S), S divisible by ``downsampling``.

    Instance normalisation keeps no statistics of other images, so what an image gets does not depend on its batch.
    """
    from monai.networks.nets import UNet

    network: nn.Module = UNet(
        spatial_dims=spatial_dims,
        in_channels=image_channels,
        out_channels=classes,
        channels=[config.width * 2**level for level in range(config.levels)],
        strides=[2] * (config.levels - 1),
        num_res_units=config.residual_units,
    )
    return network


def downsampling(config: SegmenterConfig) -> int:
    """How many voxels along an axis become one at the lowest level."""
    return int(2 ** (config.levels - 1))


def check_size(config: SegmenterConfig, size: Sequence[int]) -> None:
    """Raise ConfigError where images of ``size`` (*S) are a single voxel at the lowest level, which has no variance."""
    if math.prod(side // downsampling(config) for side in size) < 2:
        raise ConfigError(
            f"segmenter.levels is {config.levels}; images of {' x '.join(map(str, size))} voxels are one voxel there",
            fix=f"set --segmenter.levels to {max(2, config.levels - 1)}, or give larger images with --images.size",
        )
