"""A plain list of intensities, one figure a row, as anybody can write it: zone,year,month,gco2e_per_kwh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lichen.carbon.words import one_line
from lichen.carbon.years import Monthly, Yearly, level, seasonal_index, yearly_means
from lichen.carbon.zones import ALSO_CALLED, LEAST_G, MONTHS, MOST_G, Zone, is_possible

FIGURE = "gco2e_per_kwh"
YEARS = range(1900, 2101)
"""Of others there are no figures; a slip of the pen would be the latest year."""
YEARS_OF_SEASONS = 6
"""How far back seasons are looked for: five whole years and the one that is not over."""


def zones_of_list(rows: Sequence[Mapping[str, str]], known: Mapping[str, Zone]) -> Iterator[Zone]:
    """The zones of a plain list; places that are ``known`` by their code get their names from there.

    A row without a month is the level of a whole year. Without such rows a zone needs all twelve months of some year.
    Raises ``ValueError`` saying which row or zone is impossible.
    """
    yearly: dict[str, Yearly] = {}
    monthly: dict[str, Monthly] = {}
    given: dict[tuple[str, int, int | None], float] = {}
    for number, row in enumerate(rows, start=1):
        try:
            code, year, month, g_per_kwh = _figure(row)
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"row {number}: {error}") from error
        code = known[code].code if code in known else code
        when = f"{year}-{month:02}" if month else str(year)
        before = given.setdefault((code, year, month), g_per_kwh)
        if before != g_per_kwh:
            raise ValueError(f"row {number}: {g_per_kwh:g} for {code} in {when}, where another row says {before:g}")
        if month is None:
            yearly.setdefault(code, {})[year] = g_per_kwh
        else:
            monthly.setdefault(code, {})[year, month] = g_per_kwh
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
    if None in row or None in row.values():  # as csv marks them
        raise ValueError("it has more or fewer cells than the header; a decimal point is a point")
    code = one_line(row["zone"] if "zone" in row else row["iso3"]).upper()
    code = ALSO_CALLED.get(code, code)
    year, month = int(row["year"]), int(row["month"]) if row.get("month", "").strip() else None
    g_per_kwh = float(row[FIGURE])
    if not code:
        raise ValueError("it names no zone")
    if year not in YEARS:
        raise ValueError(f"year {row['year']} is none of {YEARS[0]} to {YEARS[-1]}")
    if month is not None and month not in MONTHS:
        raise ValueError(f"month {month} is none")
    if not is_possible(g_per_kwh):
        raise ValueError(f"{FIGURE} must be {LEAST_G:g} to {MOST_G:g} grams, not {row[FIGURE]}")
    return code, year, month, g_per_kwh
