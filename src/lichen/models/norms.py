"""How many groups a group normalisation has (Wu & He, arXiv 1803.08494)."""

from __future__ import annotations

import math

LEAST_IN_GROUP = 4
"""Channels. In a group of one, what is added to a whole channel, such as the embedding of time, is taken away again."""


def norm_groups(*channels: int, most: int = 32) -> int:
    """The largest number of groups up to ``most`` that divides all ``channels`` and leaves enough of them in each."""
    common = math.gcd(*channels)
    fitting = (groups for groups in range(2, most + 1) if common % groups == 0 and common // groups >= LEAST_IN_GROUP)
    return max(fitting, default=1)
