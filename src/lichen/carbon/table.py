"""The table of carbon intensities: 209 countries, 50 US states and the US capital; the packaged one or a newer file.

``scripts/make_carbon_table.py`` makes the packaged file and says what each column means and how it was computed. A
newer one may have that layout or be a plain list of figures, one a row:

    zone,year,month,gco2e_per_kwh

with the code of a country or US state, and no month for the level of a whole year. Ember's own column ``iso3`` will do
in place of ``zone``.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from lichen.carbon.listed import FIGURE, zones_of_list
from lichen.carbon.ranges import Range
from lichen.carbon.words import one_line
from lichen.carbon.zones import MONTHS, Table, Zone
from lichen.errors import CarbonError

PACKAGED_TABLE = Path(__file__).with_name("intensity.csv")
_COLUMNS = ("zone", "iso3", "name", "year", "level", "level_low", "level_high")
_MONTH_COLUMNS = tuple(f"m{month:02}{end}" for month in MONTHS for end in ("_low", "", "_high"))


@cache
def load_table(path: Path = PACKAGED_TABLE) -> Table:
    """The table in a CSV file of the packaged layout, or of a plain list of figures.

    Lines before the header that start with ``#`` are comments; the first is the attribution, which only a plain list
    may lack. Raises ``CarbonError``, naming file and row, if a column is missing or a figure is not positive (an exact
    0 is missing, not a clean grid).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CarbonError(f"{path} cannot be read as a table of intensities: {error}", fix=_LAYOUT) from error
    comments = [one_line(line.removeprefix("#")) for line in lines if line.startswith("#")]
    reader = csv.DictReader(line for line in lines if not line.startswith("#"))
    columns = _columns(path, reader)
    if FIGURE in columns:
        _require(path, columns, ("iso3" if "iso3" in columns else "zone", "year"))
        zones = _listed(path, _rows(path, reader))
        comments = comments or [f"Electricity carbon intensity: {path.name}, a file given by the user"]
    else:
        _require(path, columns, (*_COLUMNS, *_MONTH_COLUMNS))
        zones = [_zone(path, row) for row in _rows(path, reader)]
    if not zones or not comments:
        raise CarbonError(f"{path} has no {'zones' if comments else 'attribution in its first line'}", fix=_LAYOUT)
    return Table(zones={zone.code: zone for zone in zones}, attribution=comments[0])


_LAYOUT = f"give rows of zone,year,month,{FIGURE} (no month: the whole year), or a file of the packaged layout"


def _columns(path: Path, reader: csv.DictReader[str]) -> Sequence[str]:
    try:
        return reader.fieldnames or ()
    except csv.Error as error:
        raise CarbonError(f"{path} cannot be read as a table of intensities: {error}", fix=_LAYOUT) from error


def _rows(path: Path, reader: csv.DictReader[str]) -> list[dict[str, str]]:
    try:
        return list(reader)
    except csv.Error as error:
        raise CarbonError(f"{path} cannot be read as a table of intensities: {error}", fix=_LAYOUT) from error


def _require(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in columns]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CarbonError(f"{path} lacks the columns {', '.join(missing[:3])}{more}", fix=_LAYOUT)


def _listed(path: Path, rows: Sequence[dict[str, str]]) -> list[Zone]:
    packaged = load_table().zones.values()
    try:
        return list(zones_of_list(rows, {name: zone for zone in packaged for name in (zone.code, zone.iso3) if name}))
    except ValueError as error:
        raise CarbonError(f"{path} has an impossible {error}", fix=_LAYOUT) from error


def _zone(path: Path, row: dict[str, str]) -> Zone:
    try:
        index = None
        if row["m01"]:
            index = tuple(_positive(row, f"m{month:02}_low", f"m{month:02}", f"m{month:02}_high") for month in MONTHS)
        return Zone(
            code=row["zone"],
            iso3=row["iso3"],
            name=one_line(row["name"]),
            year=int(row["year"]),
            level=_positive(row, "level_low", "level", "level_high"),
            seasonal_index=index,
        )
    except (ValueError, TypeError) as error:
        raise CarbonError(f"{path} has an impossible row for zone {row['zone']}: {error}", fix=_LAYOUT) from error


def _positive(row: dict[str, str], low: str, estimate: str, high: str) -> Range:
    figures = Range(float(row[low]), float(row[estimate]), float(row[high]))
    if not 0 < figures.low <= figures.high < float("inf"):
        raise ValueError(f"{estimate} must be positive, not {row[low]}, {row[estimate]}, {row[high]}")
    return figures
