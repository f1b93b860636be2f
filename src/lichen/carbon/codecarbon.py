"""codecarbon's ``emissions.csv``, written and read: emissions in KILOGRAMS, energy in kWh, durations in seconds.

Its energies include the overhead of the building: codecarbon multiplies each by ``pue``. A cell that nobody measured is
empty here; codecarbon itself writes 0 for a component that it could not read.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lichen.carbon.words import printable
from lichen.errors import CarbonError

COLUMNS = (
    *("timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate"),
    *("cpu_power", "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed"),
    *("water_consumed", "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region"),
    *("os", "python_version", "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model"),
    *("longitude", "latitude", "ram_total_size", "tracking_mode"),
    *("cpu_utilization_percent", "gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb"),
    *("on_cloud", "pue", "wue"),
)
"""Those of codecarbon 3.3.2, in its order: it goes on in a file only if the columns are its own."""

_NEEDED = ("duration", "emissions", "energy_consumed", "country_iso_code")
"""What the files of all versions have, from 1.0 on, and nothing can be made of one without."""


@dataclass(frozen=True)
class EmissionsRow:
    """One run; what is not known is ``None``, never 0."""

    energy_kwh: float | None
    """The overhead of the building included, as far as ``pue`` says."""
    emissions_kg: float | None
    duration_s: float | None
    cpu_kwh: float | None = None
    gpu_kwh: float | None = None
    ram_kwh: float | None = None
    country_iso3: str | None = None
    country_name: str | None = None
    region: str | None = None
    pue: float | None = None
    timestamp: str | None = None
    """``2026-01-31T23:59:59``, as codecarbon writes it."""
    project_name: str | None = None
    run_id: str | None = None
    tracking_mode: str | None = None
    """``machine`` or ``process``."""
    os: str | None = None
    python_version: str | None = None


_NUMBERS = {
    "duration": "duration_s",
    "emissions": "emissions_kg",
    "energy_consumed": "energy_kwh",
    "cpu_energy": "cpu_kwh",
    "gpu_energy": "gpu_kwh",
    "ram_energy": "ram_kwh",
    "pue": "pue",
}
_TEXTS = {
    "timestamp": "timestamp",
    "project_name": "project_name",
    "run_id": "run_id",
    "country_name": "country_name",
    "country_iso_code": "country_iso3",
    "region": "region",
    "os": "os",
    "python_version": "python_version",
    "tracking_mode": "tracking_mode",
}


def emissions_csv(rows: Iterable[EmissionsRow]) -> str:
    """The rows as a file with codecarbon's columns."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for row in rows:
        numbers = {column: getattr(row, field) for column, field in _NUMBERS.items()}
        if row.emissions_kg is not None and row.duration_s:
            numbers["emissions_rate"] = row.emissions_kg / row.duration_s
        cells = {column: "" if value is None else repr(float(value)) for column, value in numbers.items()}
        cells |= {column: cell(getattr(row, field)) for column, field in _TEXTS.items()}
        table.writerow(cells)
    return text.getvalue()


def cell(text: str | None) -> str:
    """Text on one line that no spreadsheet takes for a formula (OWASP: CSV injection)."""
    shown = printable(text or "")
    return f"'{shown}" if shown.lstrip()[:1] in {"=", "+", "-", "@"} else shown


def read_emissions(path: Path) -> tuple[EmissionsRow, ...]:
    """The rows of a file that codecarbon or lichen wrote; columns beyond those of ``EmissionsRow`` are passed over.

    Raises ``CarbonError``, naming file, row (the header is row 1) and column, for a file that is empty or has other
    columns, and for a number that is none, not finite or below 0.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [(number, line) for number, line in enumerate(csv.reader(file, strict=True), start=1) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CarbonError(f"{path} cannot be read as a table: {error}", fix=_GIVE) from error
    header = lines[0][1] if lines else []
    missing = [column for column in _NEEDED if column not in header]
    if missing:
        what = f"lacks the column {missing[0]}" if header else "is empty"
        raise CarbonError(f"{path} {what}; it is no emissions.csv of codecarbon", fix=_GIVE)
    if len(lines) == 1:
        raise CarbonError(f"{path} has a header and no rows: no run was finished", fix=_GIVE)
    return tuple(_row(path, number, header, line) for number, line in lines[1:])


_GIVE = "give a file that codecarbon or lichen card wrote"


def _row(path: Path, number: int, header: Sequence[str], line: Sequence[str]) -> EmissionsRow:
    if len(line) != len(header):
        raise CarbonError(
            f"{path}, row {number}, has {len(line)} cells under {len(header)} columns", fix="remove or mend the row"
        )
    cells = dict(zip(header, line, strict=True))
    numbers = {field: _number(path, number, column, cells.get(column, "")) for column, field in _NUMBERS.items()}
    texts = {field: cells.get(column) or None for column, field in _TEXTS.items()}
    return EmissionsRow(**numbers, **texts)  # type: ignore[arg-type]


def _number(path: Path, number: int, column: str, text: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < float("inf"):
        kind = "no number" if math.isnan(value) else "impossible"
        raise CarbonError(
            f"{path}, row {number}, column {column}: {text!r} is {kind}",
            fix="put a number of 0 or more there, or leave the cell empty if it is not known",
        )
    return value
