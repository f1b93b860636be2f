"""Which images StyleGAN2 can make, and the sizes and widths of its levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lichen.config import StyleGAN2Config
from lichen.errors import ConfigError

COARSEST = range(3, 8)
"""Sides that the coarsest level may have: as small as can be, so that it is one decision about the whole image."""
MOST_DOUBLINGS = 10


def check_axes(spatial_dims: int) -> None:
    """Raise ConfigError unless images have two axes."""
    if spatial_dims != 2:
        raise ConfigError(
            f"StyleGAN2 makes 2D images; these have {spatial_dims} axes",
            fix="cut them into 2D images with --images.slices all, or choose --model.kind diffusion",
        )


def check_size(size: Sequence[int]) -> None:
    """Raise ConfigError unless ``size`` is (H, W) = (3 to 7, 3 to 7) * 2^k, one k of 1 or more; it names a near one."""
    check_axes(len(size))
    if _doublings(size) is None:
        near = " ".join(map(str, _nearest(size)))
        raise ConfigError(
            f"StyleGAN2 cannot make images of {' x '.join(map(str, size))} voxels: both sides must be 3 to 7 times "
            "one power of 2",
            fix=f"set --images.size {near}",
        )


def level_sizes(size: Sequence[int]) -> list[tuple[int, int]]:
    """(h, w) of every level, the coarsest first, each twice the one before, the last ``size`` (H, W).

    Raises:
        ConfigError: there are no such levels.
    """
    check_size(size)
    doublings = _doublings(size) or 0
    return [(size[0] >> k, size[1] >> k) for k in reversed(range(doublings + 1))]


def level_channels(config: StyleGAN2Config, level: tuple[int, int]) -> int:
    """Feature channels of the level of (h, w) voxels: a multiple of 8 from 8 on, in which hardware is fastest."""
    width = min(config.most_channels, round(config.channels / math.sqrt(math.prod(level))))
    return width - width % 8 if width >= 8 else max(width, 1)


def _doublings(size: Sequence[int]) -> int | None:
    """The largest number of doublings that leads from a coarsest level to ``size``; None: there is none."""
    fitting = (
        k for k in range(MOST_DOUBLINGS, 0, -1) if all(side % 2**k == 0 and side // 2**k in COARSEST for side in size)
    )
    return next(fitting, None)


def _nearest(size: Sequence[int]) -> tuple[int, int]:
    """The (H, W) that fits and whose sides are, in ratio, nearest to those of ``size``."""

    def distance(side: int, wanted: int) -> float:
        return abs(math.log(side / max(wanted, 1)))

    options = (
        tuple(min((n * 2**k for n in COARSEST), key=lambda side: distance(side, wanted)) for wanted in size)
        for k in range(1, MOST_DOUBLINGS + 1)
    )
    height, width = min(options, key=lambda sides: sum(map(distance, sides, size)))
    return height, width
