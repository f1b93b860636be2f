"""A place whose electricity has a known carbon intensity, and a table of such places."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.carbon.ranges import Range

MONTHS = range(1, 13)
ALSO_CALLED = {"UK": "GB"}
"""The one code in wide use that ISO 3166 reserves beside the official one."""
LEAST_G, MOST_G = 1.0, 5000.0
"""Grams of CO2e per kWh that electricity can mean: less is likely in kilograms, more is likely per MWh."""


def is_possible(g_per_kwh: float) -> bool:
    """Whether electricity can mean so many grams of CO2e per kWh."""
    return LEAST_G <= g_per_kwh <= MOST_G


@dataclass(frozen=True)
class Zone:
    """A place whose electricity has a known intensity."""

    code: str
    """ISO 3166-1 alpha-2, e.g. ``FR``, or ISO 3166-2 for a US state, e.g. ``US-CA``."""
    iso3: str
    """ISO 3166-1 alpha-3; empty for a state."""
    name: str
    year: int
    """The latest year with a level."""
    level: Range
    """g CO2e per kWh: the latest year's mean, within the lowest and highest yearly mean of the five years up to it."""
    seasonal_index: tuple[Range, ...] | None
    """Twelve of month / mean of its year over 2020 to 2024; ``None`` where too few months are known."""


@dataclass(frozen=True)
class Table:
    """All zones by code, with the words that must go with any figure of theirs."""

    zones: dict[str, Zone]
    attribution: str

    def countries(self) -> tuple[Zone, ...]:
        """The zones that are countries, each with the level of its latest year."""
        return tuple(zone for zone in self.zones.values() if zone.iso3)
