"""The table of carbon intensities: 209 countries, 50 US states and the US capital; the packaged one or a newer file.

``scripts/make_carbon_table.py`` makes the file and says what each column means and how it was computed.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lichen.carbon.ranges import Range
from lichen.errors import CarbonError

PACKAGED_TABLE = Path(__file__).with_name("intensity.csv")
MONTHS = range(1, 13)
_COLUMNS = ("zone", "iso3", "name", "year", "level", "level_low", "level_high")
_MONTH_COLUMNS = tuple(f"m{month:02}{end}" for month in MONTHS for end in ("_low", "", "_high"))


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


@cache
def load_table(path: Path = PACKAGED_TABLE) -> Table:
    """The table in a CSV file of the packaged layout.

    Lines before the header that start with ``#`` are comments; the first is the attribution. Raises ``CarbonError``,
    naming file and row, if a column is missing or a figure is not positive (an exact 0 is missing, not a clean grid).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CarbonError(f"{path} cannot be read as a table of intensities: {error}", fix=_MAKE_IT) from error
    comments = [line.removeprefix("#").strip() for line in lines if line.startswith("#")]
    reader = csv.DictReader(line for line in lines if not line.startswith("#"))
    missing = [name for name in (*_COLUMNS, *_MONTH_COLUMNS) if name not in (reader.fieldnames or ())]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise CarbonError(f"{path} lacks the columns {', '.join(missing[:3])}{more}", fix=_MAKE_IT)
    zones = [_zone(path, row) for row in reader]
    if not zones or not comments:
        raise CarbonError(f"{path} has no {'zones' if comments else 'attribution in its first line'}", fix=_MAKE_IT)
    return Table(zones={zone.code: zone for zone in zones}, attribution=comments[0])


_MAKE_IT = "make the file with scripts/make_carbon_table.py"


def _zone(path: Path, row: dict[str, str]) -> Zone:
    try:
        index = None
        if row["m01"]:
            index = tuple(_positive(row, f"m{month:02}_low", f"m{month:02}", f"m{month:02}_high") for month in MONTHS)
        return Zone(
            code=row["zone"],
            iso3=row["iso3"],
            name=row["name"],
            year=int(row["year"]),
            level=_positive(row, "level_low", "level", "level_high"),
            seasonal_index=index,
        )
    except (ValueError, TypeError) as error:
        raise CarbonError(f"{path} has an impossible row for zone {row['zone']}: {error}", fix=_MAKE_IT) from error


def _positive(row: dict[str, str], low: str, estimate: str, high: str) -> Range:
    figures = Range(float(row[low]), float(row[estimate]), float(row[high]))
    if not 0 < figures.low <= figures.high < float("inf"):
        raise ValueError(f"{estimate} must be positive, not {row[low]}, {row[estimate]}, {row[high]}")
    return figures
