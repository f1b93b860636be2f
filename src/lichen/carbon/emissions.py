"""Joules become grams: g CO2e = kWh x PUE x intensity."""

from __future__ import annotations

from lichen.carbon.intensity import Intensity
from lichen.carbon.ranges import Range
from lichen.errors import CarbonError

J_PER_KWH = 3.6e6
PUE_RANGE = (1.0, 1.58)
"""Power usage effectiveness where it is unknown: no overhead, to the world average (Uptime Institute 2023)."""


def building_kwh(energy_j: tuple[float, float | None, float], pue: float | None = None) -> Range:
    """The energy of a building in kWh, from that of its computers in joules, (low, estimate or ``None``, high).

    Without a ``pue`` (energy of the building / energy of its computers) the estimate is of the computer alone, as if it
    were 1.0, and the high end goes up to the world average of 1.58.

    Raises ``CarbonError`` for an energy below 0 or a PUE below 1.
    """
    low_j, middle_j, high_j = energy_j
    if not 0 <= low_j <= high_j < float("inf"):
        raise CarbonError(
            f"an energy of {low_j} to {high_j} J is impossible", fix="give joules, 0 or more, low end first"
        )
    if pue is not None and not 1 <= pue < float("inf"):
        raise CarbonError(
            f"a PUE of {pue} is impossible: a building uses at least what its computers use",
            fix="give 1.0 or more, e.g. 1.58 for the world average, or leave it out",
        )
    computers = Range(low_j / J_PER_KWH, None if middle_j is None else middle_j / J_PER_KWH, high_j / J_PER_KWH)
    return computers * (Range(PUE_RANGE[0], 1.0, PUE_RANGE[1]) if pue is None else Range(pue, pue, pue))


def grams(energy_j: tuple[float, float | None, float], intensity: Intensity, pue: float | None = None) -> Range:
    """Grams of CO2e of an energy in joules, (low, estimate or ``None``, high), with ``pue`` as in ``building_kwh``.

    Low ends multiply with low ends and high with high, so the true figure lies within if all three inputs do. There is
    no estimate where the energy or the place has none.

    Raises ``CarbonError`` for an energy below 0 or a PUE below 1.
    """
    return building_kwh(energy_j, pue) * intensity.g_per_kwh
