"""Grams of CO2e per kWh of electricity, by place and month.

The figures are life-cycle emissions of the electricity produced in a zone; imports are not counted.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from lichen.carbon.ranges import Range
from lichen.carbon.table import load_table
from lichen.carbon.zones import ALSO_CALLED, LEAST_G, MOST_G, Table, Zone, is_possible
from lichen.errors import CarbonError


@dataclass(frozen=True)
class Intensity:
    """How much CO2e a kWh of electricity means, and where and when."""

    g_per_kwh: Range
    """Its interval is the spread between years; ``estimate`` is ``None`` where the place is unknown."""
    zone: str | None
    """Code of the place, e.g. ``FR`` or ``US-CA``; ``None``: unknown."""
    zone_name: str
    month: int | None
    year: int | None
    """Year of the level; ``None`` where the figures are of several years (the world's range)."""
    attribution: str
    """Must be printed with the figures."""
    note: str = ""
    """What a reader must know about how the range came about; often empty."""


def intensity(grid: str | None, month: int | None = None, *, table: Table | None = None) -> Intensity:
    """The carbon intensity of ``grid`` (``FR``, ``FRA``, ``US-CA``; any case), of a month or of the year.

    - A place and no month: the latest year's level; from the lowest to the highest of the five years up to it.
    - A place and a month (1 to 12): that level x the mean seasonal index of 2020 to 2024; from lowest level x lowest
      index to highest level x highest index.
    - A place without monthly data and a month: the yearly level, its range widened by the season of other countries:
      nine in ten countries' lowest month lies above the factor used, nine in ten countries' highest month below.
    - ``None``, the place is unknown: from the lowest to the highest country of the world, each by its latest year,
      and no estimate. A month changes nothing then.

    ``table`` is another than the packaged one. Raises ``CarbonError`` for an unknown code, with the nearest ones, and
    for a month that is none.
    """
    table = table or load_table()
    if month is not None and month not in range(1, 13):
        raise CarbonError(f"month is {month}; a year has months 1 to 12", fix="give 1 for January to 12 for December")
    if grid is None:
        return _anywhere(table, month)
    zone = find_zone(grid, table)
    if month is None:
        return _of(zone, month, zone.level, table)
    if zone.seasonal_index is None:
        low, high = typical_season(table)
        widened = Range(zone.level.low * low, zone.level.estimate, zone.level.high * high)
        note = f"no monthly figures for {zone.name}: the yearly level, widened by other countries' seasons"
        return _of(zone, month, widened, table, note)
    return _of(zone, month, zone.level * zone.seasonal_index[month - 1], table)


def contract(g_per_kwh: float, grid: str | None = None, *, table: Table | None = None) -> Intensity:
    """The intensity that somebody states, e.g. their supplier's: no table, no season, no spread.

    ``grid`` only names the place. Raises ``CarbonError`` for a figure that is none of g/kWh: life-cycle figures are
    never 0, that of wind power is about 12, that of the worst coal about 1500.
    """
    if not is_possible(g_per_kwh):
        raise CarbonError(
            f"an intensity of {g_per_kwh:g} g/kWh is impossible: all electricity has a life cycle, "
            f"of {LEAST_G:g} to {MOST_G:g} g/kWh",
            fix="give the supplier's figure in grams, with its upstream emissions, e.g. --intensity 12 for wind power",
        )
    zone = None if grid is None else find_zone(grid, table)
    name = "a place with a contract" if zone is None else f"{zone.name}, by contract"
    note = f"{g_per_kwh:g} g/kWh as given by the user, not from a table"
    attribution = f"Electricity carbon intensity: {note}."
    return Intensity(Range(*[g_per_kwh] * 3), zone.code if zone else None, name, None, None, attribution, note)


def find_zone(grid: str, table: Table | None = None) -> Zone:
    """The zone with an ISO code, in any case. Raises ``CarbonError`` with the nearest codes if there is none."""
    table = table or load_table()
    code = grid.strip().upper()
    code = ALSO_CALLED.get(code, code)
    if code in table.zones:
        return table.zones[code]
    for zone in table.countries():
        if zone.iso3 == code:
            return zone
    near = _nearest(grid.strip(), table)
    if near:
        fix = "did you mean " + ", ".join(f"{zone.code} ({zone.name})" for zone in near) + "?"
    else:
        fix = "give a country such as FR or FRA, or a US state such as US-CA; leave it out if it is unknown"
    raise CarbonError(f"no electricity grid is called {grid!r}", fix=fix)


def typical_season(table: Table) -> tuple[float, float]:
    """Lowest and highest month / mean of a year that nine in ten countries with monthly data stay within, each side."""
    seasons = [zone.seasonal_index for zone in table.countries() if zone.seasonal_index]
    if not seasons:
        return 0.0, 2.0
    lowest = sorted(min(index.low for index in season) for season in seasons)
    highest = sorted(max(index.high for index in season) for season in seasons)
    tenth = len(seasons) // 10
    return lowest[tenth], highest[-1 - tenth]


def _anywhere(table: Table, month: int | None) -> Intensity:
    by_level = sorted((zone.level.estimate or 0.0, zone.name, zone.year) for zone in table.countries())
    (low, cleanest, low_year), (high, dirtiest, high_year) = by_level[0], by_level[-1]
    note = f"the place is unknown: from {cleanest} ({low_year}) to {dirtiest} ({high_year})"
    return Intensity(Range(low, None, high), None, "anywhere in the world", month, None, table.attribution, note)


def _of(zone: Zone, month: int | None, g_per_kwh: Range, table: Table, note: str = "") -> Intensity:
    return Intensity(g_per_kwh, zone.code, zone.name, month, zone.year, table.attribution, note)


def _nearest(grid: str, table: Table) -> list[Zone]:
    """Up to three zones whose code or name resembles what was typed; only those called exactly so, if there are any."""

    def likeness(zone: Zone) -> float:
        state = zone.name.removesuffix(", USA")
        names = {zone.code, zone.iso3 or zone.code, zone.name, state}
        names |= {f"US-{state}"} if state != zone.name else set()
        return max(difflib.SequenceMatcher(None, grid.lower(), name.lower()).ratio() for name in names)

    likely = sorted(((likeness(zone), zone) for zone in table.zones.values()), key=lambda pair: -pair[0])
    threshold = 1.0 if likely[0][0] == 1.0 else 0.6
    return [zone for how_like, zone in likely[:3] if how_like >= threshold]
