"""Amounts of memory in words: gigabytes are 10^9 bytes."""

from __future__ import annotations

import math


def gigabytes(count: float) -> str:
    """Bytes in words, to three digits: GB, or MB where there are few."""
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"


def gigabytes_up(count: int) -> str:
    """Bytes as a number of GB, rounded up at the third digit, so that a budget of so much is enough."""
    unit = 10 ** (math.floor(math.log10(count)) - 2)
    return f"{math.ceil(count / unit) * unit / 1e9:.12g}"
