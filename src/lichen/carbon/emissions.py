"""Joules become grams: g CO2e = kWh x PUE x intensity."""

from __future__ import annotations

from lichen.carbon.intensity import Intensity
from lichen.carbon.ranges import Range
from lichen.errors import CarbonError

J_PER_KWH = 3.6e6
PUE_RANGE = (1.0, 1.58)
"""Power usage effectiveness where it is unknown: no overhead, to the world average (Uptime Institute 2023)."""


def grams(energy_j: tuple[float, float | None, float], intensity: Intensity, pue: float | None = None) -> Range:
    """Grams of CO2e of an energy in joules, (low, estimate or ``None``, high).

    Low ends multiply with low ends and high with high, so the true figure lies within if all three inputs do. Without a
    ``pue`` (energy of the building / energy of its computers) the estimate is of the computer alone, as if it were 1.0,
    and the high end goes up to the world average of 1.58. There is no estimate where the energy or the place has none.

    Raises ``CarbonError`` for an energy below 0 or a PUE below 1.
    """
    low_j, middle_j, high_j = energy_j
    if not 0 <= low_j <= high_j < float("inf"):
        raise CarbonError(
            f"an energy of {low_j} to {high_j} J is impossible", fix="give joules, 0 or more, low end first"
        )
    low_pue, middle_pue, high_pue = (PUE_RANGE[0], 1.0, PUE_RANGE[1]) if pue is None else (pue, pue, pue)
    if not 1 <= low_pue <= high_pue < float("inf"):
        raise CarbonError(
            f"a PUE of {pue} is impossible: a building uses at least what its computers use",
            fix="give 1.0 or more, e.g. 1.58 for the world average, or leave it out",
        )
    place = intensity.g_per_kwh
    estimate = None
    if middle_j is not None and place.estimate is not None:
        estimate = middle_j / J_PER_KWH * middle_pue * place.estimate
    return Range(low_j / J_PER_KWH * low_pue * place.low, estimate, high_j / J_PER_KWH * high_pue * place.high)
