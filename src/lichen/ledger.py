"""What all runs together used: a row for each run, finished or not, and sums by person, project or over all.

Aborted runs used energy too: where a run has no summary, or went on after it, its traces are read. A run that nobody
could measure is counted apart and never as 0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, Literal

from lichen.carbon import J_PER_KWH, Range, grams
from lichen.carbon.codecarbon import cell
from lichen.config import CarbonConfig
from lichen.energy import read_traces
from lichen.energy import total as total_energy
from lichen.errors import LichenError
from lichen.place import place_of
from lichen.runs import RunFolder, find_runs
from lichen.stored import stored_settings

GroupBy = Literal["person", "project", "none"]
Joules = tuple[float, float, float]


@dataclass(frozen=True)
class RunRow:
    """One run; what is not known or not measured is None."""

    path: str
    state: str
    """running, finished, cut (a segmentation that a budget ended), unfinished, or damaged."""
    label: str | None
    person: str | None
    project: str | None
    at: str | None
    """When it last used energy, ISO 8601 in UTC."""
    energy_kwh: Range | None
    carbon_g: Range | None
    verdict: str | None
    dice: float | None = None
    """Of a segmentation, on its test patients."""


@dataclass(frozen=True)
class Total:
    """The sum over some runs."""

    name: str
    runs: int
    unmeasured: int
    """Runs without any reading, which are not in the sums."""
    energy_kwh: Range | None
    carbon_g: Range | None


def ledger(root: Path, year: int | None = None) -> tuple[RunRow, ...]:
    """The runs under ``root``, of one ``year`` if given; raises RunError if ``root`` is no folder."""
    rows = (_row(folder) for folder in find_runs(root))
    return tuple(row for row in rows if year is None or (row.at or "").startswith(f"{year}-"))


def totals(rows: Sequence[RunRow], by: GroupBy) -> tuple[Total, ...]:
    """Sums by ``by``, the most energy first, and the sum over all as the last one."""
    groups: dict[str, list[RunRow]] = {}
    if by != "none":
        for row in rows:
            groups.setdefault(getattr(row, by) or f"no {by} named", []).append(row)
    parts = sorted((_total(name, members) for name, members in groups.items()), key=_weight, reverse=True)
    return (*parts, _total("all", rows))


def as_csv(rows: Sequence[RunRow]) -> str:
    """The rows as comma-separated values with a header, for spreadsheets."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        [
            *("run", "state", "label", "person", "project", "at"),
            *(
                "energy_kwh_low",
                "energy_kwh",
                "energy_kwh_high",
                "co2e_g_low",
                "co2e_g",
                "co2e_g_high",
                "verdict",
                "dice",
            ),
        ]
    )
    for row in rows:
        names = (row.path, row.state, row.label, row.person, row.project, row.at)
        figures = (*_bounds(row.energy_kwh), *_bounds(row.carbon_g))
        table.writerow([*map(cell, names), *map(_number, figures), cell(row.verdict), _number(row.dice)])
    return text.getvalue()


def _number(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.6g}"


def _bounds(figure: Range | None) -> tuple[float | None, ...]:
    return (None, None, None) if figure is None else (figure.low, figure.estimate, figure.high)


def _row(folder: RunFolder) -> RunRow:
    try:
        config = stored_settings(folder)
        summary = folder.read_summary()
        energy = _energy(folder, summary)
        carbon = _carbon(energy, config.carbon)
    except LichenError:
        return RunRow(str(folder.path), "damaged", None, None, None, None, None, None, None)
    told = _text(summary, "state")
    state = told if told in {"finished", "cut"} else "unfinished"
    return RunRow(
        path=str(folder.path),
        state="running" if folder.is_locked() else state,
        label=_text(summary, "label"),
        person=config.labels.person,
        project=config.labels.project,
        at=_last_used(folder),
        energy_kwh=None if energy is None else Range(*(joules / J_PER_KWH for joules in energy)),
        carbon_g=carbon,
        verdict=_text(summary and summary.get("audit"), "verdict"),
        dice=_dice(summary),
    )


def _energy(folder: RunFolder, summary: dict[str, Any] | None) -> Joules | None:
    """The energy of a run in joules (low, estimate, high), from its summary or, if they are newer, its traces."""
    traces = folder.traces
    newest = max((path.stat().st_mtime for path in traces), default=0.0)
    if summary is None or folder.summary.stat().st_mtime < newest:
        return total_energy(phase.total for phase in read_traces(traces)).bounds_j()
    try:
        found = summary["energy"]["total"]
        low_j, energy_j, high_j = (float(found[name]) for name in ("low_j", "energy_j", "high_j"))
    except (KeyError, TypeError, ValueError):  # nothing was measured, or the summary is damaged
        return None
    return (low_j, energy_j, high_j) if 0 <= low_j <= energy_j <= high_j else None


def _carbon(energy: Joules | None, carbon: CarbonConfig) -> Range | None:
    return None if energy is None else grams(energy, place_of(carbon), carbon.pue)


def _last_used(folder: RunFolder) -> str | None:
    times = [path.stat().st_mtime for path in (*folder.traces, folder.summary) if path.is_file()]
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds") if times else None


def _text(found: Any, name: str) -> str | None:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, str) else None


def _dice(summary: dict[str, Any] | None) -> float | None:
    try:
        value = (summary or {})["segmentation"]["dice"]["estimate"]
    except (KeyError, TypeError):
        return None
    return value if isinstance(value, float) else None


def _total(name: str, rows: Sequence[RunRow]) -> Total:
    return Total(
        name=name,
        runs=len(rows),
        unmeasured=sum(row.energy_kwh is None for row in rows),
        energy_kwh=_sum(row.energy_kwh for row in rows),
        carbon_g=_sum(row.carbon_g for row in rows),
    )


def _sum(figures: Iterable[Range | None]) -> Range | None:
    """The sum of what there is."""
    known = [figure for figure in figures if figure is not None]
    return reduce(add, known) if known else None


def _weight(total: Total) -> float:
    return -1.0 if total.energy_kwh is None else total.energy_kwh.high
