"""A plain list of intensities, one figure a row, as anybody can write it: zone,year,month,gco2e_per_kwh."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from lichen.carbon.years import Monthly, Yearly, level, seasonal_index, yearly_means
from lichen.carbon.zones import MONTHS, Zone

FIGURE = "gco2e_per_kwh"
YEARS_OF_SEASONS = 6
"""How far back seasons are looked for: five whole years and the one that is not over."""


def zones_of_list(rows: Sequence[Mapping[str, str]], known: Mapping[str, Zone]) -> Iterator[Zone]:
    """The zones of a plain list; places that are ``known`` by their code get their names from there.

    A row without a month is the level of a whole year. Without such rows a zone needs all twelve months of some year.
    Raises ``ValueError`` saying which row or zone is impossible.
    """
    yearly: dict[str, Yearly] = {}
    monthly: dict[str, Monthly] = {}
    for number, row in enumerate(rows, start=1):
        try:
            code, year, month, g_per_kwh = _figure(row)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"row {number}: {error}") from error
        code = known[code].code if code in known else code
        if month is None:
            before = yearly.setdefault(code, {}).setdefault(year, g_per_kwh)
        else:
            before = monthly.setdefault(code, {}).setdefault((year, month), g_per_kwh)
        if before != g_per_kwh:
            raise ValueError(f"row {number}: an earlier row gives {before:g} g/kWh for the same place and time")
    for code in {**yearly, **monthly}:
        months = monthly.get(code, {})
        levels = yearly.get(code) or yearly_means(months)
        if not levels:
            raise ValueError(f"zone {code}: neither a yearly figure nor twelve months of a year")
        latest, g_per_year = level(levels)
        seasons = seasonal_index(months, sorted({year for year, _ in months})[-YEARS_OF_SEASONS:])
        same = known.get(code) or Zone(code, "" if "-" in code else code, code, latest, g_per_year, None)
        yield Zone(same.code, same.iso3, same.name, latest, g_per_year, seasons)


def _figure(row: Mapping[str, str]) -> tuple[str, int, int | None, float]:
    """(zone, year, month or ``None``, g/kWh) of a row."""
    code = (row["zone"] if "zone" in row else row["iso3"]).strip().upper()
    year, month = int(row["year"]), int(row["month"]) if row.get("month") else None
    g_per_kwh = float(row[FIGURE])
    if not code:
        raise ValueError("it names no zone")
    if month is not None and month not in MONTHS:
        raise ValueError(f"month {month} is none")
    if not 0 < g_per_kwh < math.inf:
        raise ValueError(f"{FIGURE} must be positive, not {row[FIGURE]}")
    return code, year, month, g_per_kwh
