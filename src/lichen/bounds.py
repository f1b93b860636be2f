"""What settings may be: each check names the setting and one value that would do."""

from __future__ import annotations

import math
from itertools import pairwise

from lichen.errors import ConfigError

MOST = 10**15
"""Of more of anything nobody can tell what it would take."""
MOST_CLASSES = 64
"""Of a label map; more values are intensities rather than classes."""


def at_least(name: str, value: float, least: float) -> None:
    """Raise ConfigError unless ``value`` is at least ``least``."""
    if value > MOST:
        raise ConfigError(f"{name} is larger than {MOST:,}", fix=f"set --{name} to at most {MOST}")
    if not value >= least:
        raise ConfigError(f"{name} is {value}; it must be at least {least}", fix=f"set --{name} to {least} or more")


def between(name: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless ``value`` lies between ``low`` and ``high``."""
    if not low <= value <= high:
        raise ConfigError(
            f"{name} is {value}; it must lie between {low} and {high}",
            fix=f"set --{name} to a value in that range",
        )


def positive(name: str, value: float) -> None:
    """Raise ConfigError unless ``value`` is above 0 and finite."""
    if not 0 < value < float("inf"):
        raise ConfigError(f"{name} is {value}; it must be positive and finite", fix=f"set --{name} above 0")


def channels_fit(name: str, channels: tuple[int, ...]) -> None:
    """Raise ConfigError unless every level has a positive multiple of 8 channels."""
    if not channels or any(c < 8 or c % 8 for c in channels):
        raise ConfigError(
            f"{name} is {' '.join(map(str, channels)) or 'empty'}; every level needs a positive multiple of 8",
            fix=f"e.g. --{name} 32 64 64",
        )


def crop_fits(name: str, crop: tuple[int, ...], multiple: int) -> None:
    """Raise ConfigError unless there are 2 or 3 sides of at least 8 voxels that are multiples of ``multiple``."""
    least = multiple * math.ceil(8 / multiple)
    if len(crop) not in {2, 3} or any(side < least or side % multiple for side in crop):
        near = " ".join(str(max(least, multiple * round(side / multiple))) for side in crop)
        raise ConfigError(
            f"{name} is {' '.join(map(str, crop)) or 'empty'}; it needs 2 or 3 multiples of {multiple} from {least} on",
            fix=f"give --{name} {near if len(crop) in {2, 3} else f'{8 * least} {8 * least} {8 * least}'}",
        )


def spacing_fits(name: str, spacing_mm: tuple[float, ...]) -> None:
    """Raise ConfigError unless there are 2 or 3 positive numbers of millimetres."""
    if len(spacing_mm) not in {2, 3} or not all(0 < mm < float("inf") for mm in spacing_mm):
        raise ConfigError(
            f"{name} is {' '.join(map(str, spacing_mm)) or 'empty'}; it needs 2 or 3 positive numbers, in mm",
            fix=f"give one number per axis, e.g. --{name} 1 1 1",
        )


def window_fits(name: str, window: tuple[float, ...]) -> None:
    """Raise ConfigError unless there is a low and a high, or both for each channel."""
    pairs = list(zip(window[::2], window[1::2], strict=False))
    finite = all(abs(value) < float("inf") for value in window)
    if not pairs or len(window) % 2 or not finite or not all(low < high for low, high in pairs):
        raise ConfigError(
            f"{name} is {' '.join(map(str, window)) or 'empty'}; it needs low and high, or both per channel",
            fix=f"e.g. --{name} -160 240",
        )


def classes_fit(name: str, classes: tuple[int, ...]) -> None:
    """Raise ConfigError unless these are the values of a label map: in order, none of them twice, not too many."""
    if len(classes) > MOST_CLASSES or any(low >= high for low, high in pairwise(classes)):
        raise ConfigError(
            f"{name} is {' '.join(map(str, classes))}; the classes of a label map are {MOST_CLASSES} rising numbers",
            fix="name the label map with --images.label",
        )
