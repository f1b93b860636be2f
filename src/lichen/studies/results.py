"""What a study found, gathered and written: ``study.json`` and ``results.csv``, from which pages are drawn.

Figures of runs and nothing else: no image, no name of a patient or of a file of theirs.
"""

from __future__ import annotations

import csv
import io
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lichen import __version__
from lichen.carbon import Intensity, Range, grams
from lichen.energy import Energy
from lichen.files import write_json, write_text
from lichen.runs import now
from lichen.studies.cells import Cell
from lichen.studies.definition import Size, Study, Table
from lichen.studies.jobs import Job
from lichen.studies.judging import Finding, Found, Point, judge, points
from lichen.studies.outcomes import values_of
from lichen.studies.planning import Expected

LAYOUT = 1
"""Of study.json; raised when a field changes its meaning."""


@dataclass(frozen=True)
class Row:
    """A cell with what came of it."""

    cell: Cell
    state: str
    """``finished``, ``failed``, or ``missing`` where nobody has worked on it."""
    found: Found
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Results:
    """All that came of a study, so far."""

    study: Study
    size: Size
    tables: tuple[Table, ...]
    """Those whose images were given."""
    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    plots: Mapping[str, tuple[Point, ...]]
    expected: Expected | None
    """Of all cells, before they were run; None for forecasts."""
    spent: Energy
    """By all finished runs; nothing for forecasts."""
    place: Intensity
    pue: float | None
    at_once: int

    @property
    def finished(self) -> int:
        """How many cells are."""
        return sum(row.state == "finished" for row in self.rows)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Tables for which no images were given."""
        return tuple(
            f"{table.words}: no images were given" for table in self.study.tables[self.size] if table not in self.tables
        )

    def grams(self, energy: Energy) -> Range | None:
        """CO2e of an energy at the place; None where there is no reading."""
        bounds_j = energy.bounds_j()
        return None if bounds_j is None else grams(bounds_j, self.place, self.pue)

    def as_json(self) -> dict[str, Any]:
        """Everything for other programs."""
        spent_g = self.grams(self.spent)
        return {
            "lichen": __version__,
            "layout": LAYOUT,
            "study": self.study.name,
            "title": self.study.title,
            "kind": self.study.kind,
            "size": self.size,
            "papers": list(self.study.papers),
            "not_tested": [*self.study.not_tested, *self.left_out],
            "outcomes": {
                outcome.name: {"words": outcome.words, "unit": outcome.unit} for outcome in self.study.outcomes
            },
            "cells": [
                {
                    "name": row.cell.name,
                    "table": row.cell.table,
                    "levels": dict(row.cell.levels),
                    "seed": row.cell.seed,
                    "processes": row.cell.processes,
                    "state": row.state,
                    "outcomes": dict(row.found.values),
                    "details": dict(row.details),
                }
                for row in self.rows
            ],
            "plots": {
                name: [{"line": point.line, "at": point.at, **point.interval.as_json()} for point in found]
                for name, found in self.plots.items()
            },
            "statements": [
                {
                    "name": finding.statement.name,
                    "words": finding.statement.words,
                    "source": finding.statement.source,
                    "asks": finding.statement.asks,
                    "above": finding.statement.above,
                    "below": finding.statement.below,
                    "effect": finding.interval.as_json(),
                    "note": finding.note,
                    "verdict": finding.verdict,
                }
                for finding in self.findings
            ],
            "expected": None if self.expected is None else asdict(self.expected),
            "spent_j": asdict(self.spent),
            "carbon_g": None if spent_g is None else asdict(spent_g),
            "zone": self.place.zone,
            "month": self.place.month,
            "year": self.place.year,
            "pue": self.pue,
            "attribution": self.place.attribution,
            "at_once": self.at_once,
            "provenance": {"python": platform.python_version(), "platform": platform.platform(), "at": now()},
        }


def gather(
    study: Study,
    size: Size,
    jobs: Sequence[Job],
    failed: Iterable[Job],
    *,
    expected: Expected | None,
    place: Intensity,
    pue: float | None,
    at_once: int,
    step: Callable[[int], None],
) -> Results:
    """Read what is there of all ``jobs``, and judge; ``step`` is told of each that was read."""
    broken = {job.cell.name for job in failed}
    rows = []
    for job in jobs:
        rows.append(_row(job, broken))
        step(1)
    there = {row.cell.table for row in rows}
    tables = {table.name: table for table in study.tables[size] if table.name in there}
    cells = [row.found for row in rows if row.state == "finished"]
    spent = (_spent(row.details) for row in rows if study.kind == "runs")
    return Results(
        study=study,
        size=size,
        tables=tuple(tables.values()),
        rows=tuple(rows),
        findings=tuple(
            judge(each, cells, tables) for each in study.statements if not each.table or each.table in there
        ),
        plots={plot.name: points(plot, cells, study, tables) for plot in study.plots},
        expected=expected,
        spent=sum(spent, start=Energy(None, None, None)),
        place=place,
        pue=pue,
        at_once=at_once,
    )


def write(results: Results, home: Path) -> None:
    """``study.json`` and ``results.csv``."""
    write_json(home / "study.json", results.as_json())
    write_text(home / "results.csv", as_csv(results))


def as_csv(results: Results) -> str:
    """A row for each cell: its table, levels, seed and outcomes."""
    factors = list(dict.fromkeys(name for row in results.rows for name in row.cell.levels))
    outcomes = [outcome.name for outcome in results.study.outcomes]
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(["table", *factors, "seed", "state", *outcomes])
    for row in results.rows:
        levels = [row.cell.levels.get(factor, "") for factor in factors]
        values = [row.found.values.get(outcome) for outcome in outcomes]
        figures = ["" if value is None else f"{value:.6g}" for value in values]
        lines.writerow([row.cell.table, *levels, row.cell.seed, row.state, *figures])
    return file.getvalue()


def _row(job: Job, broken: set[str]) -> Row:
    cell = job.cell
    nothing = Found(cell.table, cell.levels, cell.seed, {})
    if not job.is_finished():
        return Row(cell, "failed" if cell.name in broken else "missing", nothing, {})
    values, details = values_of(job)
    return Row(cell, "finished", Found(cell.table, cell.levels, cell.seed, values), details)


def _spent(details: Mapping[str, Any]) -> Energy:
    found = details.get("run_j") or {}
    return Energy(found.get("low_j"), found.get("energy_j"), found.get("high_j"))
