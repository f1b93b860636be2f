"""A place whose electricity has a known carbon intensity, and a table of such places."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.carbon.ranges import Range

MONTHS = range(1, 13)


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
