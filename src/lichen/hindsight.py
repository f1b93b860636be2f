"""A forecast beside what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def forecast_and_what_came(
    kept: Sequence[Mapping[str, Any]],
    phases: Sequence[Mapping[str, Any]],
    units: Mapping[str, int],
    done: Mapping[str, float] | None = None,
) -> dict[str, Any] | None:
    """For each phase that was forecast, the expected and the measured time and energy, and the same of their sum.

    ``kept`` are the lines of a run's ``forecasts.jsonl``, ``phases`` those of its energy summary. What counts is the
    first forecast of the whole run, recognised by its ``units`` of work; ``None`` if there is none.
    Of work that ended early, ``done`` says how many units of a phase were needed; that much of the forecast counts.
    """
    for line in kept:
        planned = line.get("units")
        if isinstance(planned, dict) and all(planned.get(phase) == count for phase, count in units.items()):
            try:
                return _compared(line, {phase["phase"]: phase for phase in phases}, done or {})
            except (KeyError, TypeError):
                continue  # a line that somebody changed
    return None


def _compared(
    line: Mapping[str, Any], came: Mapping[str, Mapping[str, Any]], done: Mapping[str, float]
) -> dict[str, Any]:
    found = line["forecast"]
    rows = [
        {
            "phase": phase["phase"],
            "duration_s": _share(phase["duration_s"], phase, done),
            "energy": _share(phase["energy"], phase, done),
            "came_s": came[phase["phase"]]["duration_s"],
            "came_j": came[phase["phase"]]["energy_j"],
        }
        for phase in found["phases"]
        if phase["phase"] in came
    ]
    return {
        "at": line["at"],
        "probe_s": found["probe_s"],
        "peak_memory_bytes": found["peak_memory_bytes"],
        "phases": rows,
        "total": {
            "duration_s": {end: sum(row["duration_s"][end] for row in rows) for end in ("low", "estimate", "high")},
            "energy": {end: _sum([row["energy"][end] for row in rows]) for end in ("low_j", "energy_j", "high_j")},
            "came_s": sum(row["came_s"] for row in rows),
            "came_j": _sum([row["came_j"] for row in rows]),
        },
    }


def _share(figures: Mapping[str, float | None], phase: Mapping[str, Any], done: Mapping[str, float]) -> dict[str, Any]:
    """The ``figures`` of so much of a phase as was done."""
    share = done.get(phase["phase"], phase["units"]) / phase["units"] if phase["units"] else 1.0
    return {name: None if figure is None else share * figure for name, figure in figures.items()}


def _sum(figures: Sequence[float | None]) -> float | None:
    """The sum, or ``None`` where one is missing: a part of a sum is no sum."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if len(known) == len(figures) else None
