"""The colours in which the classes of a label map are drawn, the same in every picture and page."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_FIRST = ("e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7")
"""Told apart by people who see fewer colours, too: Okabe and Ito, Color Universal Design, 2008."""
_GOLDEN_RATIO = 0.618034


def class_colours(classes: Sequence[int]) -> NDArray[np.uint8]:
    """Red, green and blue of each class, (C, 3): black for 0, which is background, and a colour of its own for others.

    Where no class is 0 none is black.
    """
    others = iter(range(len(classes)))
    return np.array([(0, 0, 0) if label == 0 else _colour(next(others)) for label in classes], np.uint8)


def coloured(labels: NDArray[np.float32], classes: Sequence[int]) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of a label map (H, W); a value that is no class has the colour of the nearest."""
    distance = np.abs(labels[..., None] - np.array(classes, np.float32))
    return np.asarray(class_colours(classes)[distance.argmin(-1)])


def _colour(number: int) -> tuple[int, int, int]:
    if number < len(_FIRST):
        red, green, blue = bytes.fromhex(_FIRST[number])
        return red, green, blue
    hue = (number * _GOLDEN_RATIO) % 1
    red, green, blue = (round(255 * share) for share in colorsys.hsv_to_rgb(hue, 0.45 + 0.35 * (number % 2), 0.95))
    return red, green, blue
