"""An alignment in words and in plain numbers, as a reader wants them. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def transform_json(transform: Sequence[float], *, mirror: bool) -> dict[str, Any]:
    """A row of ``warp``, P = 4 or 7 numbers, from the training image to the query; it says what was done to the copy.

    ``rotation_deg`` is one angle in 2D, from the first axis towards the second, and a rotation vector in 3D, whose
    length is the angle; ``shift`` a share of the field along each axis. The mirror came first in looking at the query.
    """
    dims = 2 if len(transform) == 4 else 3
    return {
        "mirror": mirror,
        "rotation_deg": [math.degrees(angle) for angle in transform[dims:-1]],
        "shift": [float(share) for share in transform[:dims]],
        "zoom": math.exp(transform[-1]),
    }


def transform_words(transform: Sequence[float], *, mirror: bool) -> str:
    """The same as a phrase, e.g. ``mirrored, turned by 6.0 degrees, shifted by 5 and -3 % of the field``.

    What rounds to nothing is not told; if nothing is left, ``not moved``.
    """
    told = transform_json(transform, mirror=mirror)
    angle = math.hypot(*told["rotation_deg"])
    words = ["mirrored"] if mirror else []
    if angle >= 0.05:
        words.append(f"turned by {told['rotation_deg'][0] if len(told['rotation_deg']) == 1 else angle:.1f} degrees")
    shares = [round(100 * share) for share in told["shift"]]
    if any(shares):
        words.append(f"shifted by {', '.join(map(str, shares[:-1]))} and {shares[-1]} % of the field")
    if abs(told["zoom"] - 1) >= 0.005:
        words.append(f"zoomed {told['zoom']:.2f} times")
    return ", ".join(words) or "not moved"
