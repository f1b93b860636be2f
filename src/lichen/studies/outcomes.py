"""The figures of one cell: of a run from its folder, of a forecast from the forecast and from the network on paper."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from lichen.carbon import J_PER_KWH
from lichen.errors import RunError
from lichen.files import write_json
from lichen.studies.definition import Kind

if TYPE_CHECKING:
    from lichen.studies.jobs import Job

Values = Mapping[str, float | None]

OF_RUNS: Mapping[str, str] = MappingProxyType(
    {
        "copy_rate": "share",
        "memorised_patients": "share",
        "highest_correlation": "correlation",
        "highest_correlation_p95": "correlation",
        "held_out_correlation": "correlation",
        "unusual_share": "share",
        "kernel_distance": "",
        "frechet_distance": "",
        "training_j": "J",
        "training_s": "s",
        "run_j": "J",
    }
)
"""Outcome -> unit. Correlations: the median, and the 95th percentile, of the synthetic images' highest with any
training image; the median of the held-out images'; the share of synthetic images above 95 % of the held-out ones."""
OF_FORECASTS: Mapping[str, str] = MappingProxyType(
    {
        "training_j": "J",
        "synthesis_j": "J",
        "total_j": "J",
        "training_s": "s",
        "synthesis_s": "s",
        "parameters": "",
        "training_flop": "FLOP",
        "synthesis_flop": "FLOP",
        "peak_memory_bytes": "B",
        "synthesis_share": "share",
    }
)
"""Outcome -> unit. Operations and parameters are counted on paper, all others are forecast from a probe."""


def known_outcomes(kind: Kind) -> Mapping[str, str]:
    """Outcome -> unit, of a study of this kind."""
    return OF_RUNS if kind == "runs" else OF_FORECASTS


def unit_of(outcome: str) -> str:
    """The unit of an outcome of either kind of study; empty where it has none."""
    return {**OF_FORECASTS, **OF_RUNS}.get(outcome, "")


def values_of(job: Job) -> tuple[Values, dict[str, Any]]:
    """The outcomes of a finished cell, None where there is none; and what else is kept of it, for a results file.

    Raises:
        RunError: its files are damaged.
    """
    made = job.folder.path if job.kind == "runs" else job.forecast
    try:
        if job.kind == "runs":
            found = _details(job)
            return _of_run(found), found
        found = json.loads(job.forecast.read_text(encoding="utf-8"))
        return _of_forecast(found, job), _bounds(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{made} is damaged ({error})", fix="delete it, and repeat the command") from error


def _details(job: Job) -> dict[str, Any]:
    """All outcomes of a run, kept beside it: to correlate its images takes a while."""
    from lichen.studies.memorised import outcomes_of

    kept = job.home / "outcomes" / f"{job.cell.name}.json"
    summary = job.folder.require_summary()
    try:
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        if found["finished_at"] == summary["finished_at"]:
            return found
    except (OSError, ValueError, KeyError, TypeError):
        pass  # it is made anew
    energy = summary["energy"]["total"]
    found = {"finished_at": summary["finished_at"], "run_j": energy, **outcomes_of(job.folder).as_json()}
    write_json(kept, found)
    return found


def _of_run(found: dict[str, Any]) -> Values:
    def estimate(name: str) -> float | None:
        return (found.get(name) or {}).get("estimate")

    correlations = found.get("correlations") or {}
    return {
        "copy_rate": estimate("copy_rate"),
        "memorised_patients": estimate("memorised_patients"),
        "highest_correlation": _quantile(correlations, "synthetic", 0.5),
        "highest_correlation_p95": _quantile(correlations, "synthetic", 0.95),
        "held_out_correlation": _quantile(correlations, "held_out", 0.5),
        "unusual_share": (correlations.get("unusual") or {}).get("estimate"),
        "kernel_distance": estimate("kernel_distance"),
        "frechet_distance": estimate("frechet_distance"),
        "training_j": estimate("training_energy_j"),
        "training_s": found.get("training_s"),
        "run_j": (found.get("run_j") or {}).get("energy_j"),
    }


def _quantile(correlations: Mapping[str, Any], whose: str, at: float) -> float | None:
    values = (correlations.get(whose) or {}).get("values")
    return float(np.quantile(values, at)) if values else None


def _of_forecast(found: dict[str, Any], job: Job) -> Values:
    from lichen.chain.counting import on_paper

    paper = on_paper(job.cell.config)
    joules = {part: (ends or {}).get("estimate") for part, ends in _bounds(found).items()}
    return {
        **joules,
        "training_s": found["training"]["duration_s"]["estimate"],
        "synthesis_s": found["synthesis"]["duration_s"]["estimate"],
        "parameters": float(paper.parameters),
        "training_flop": paper.training_flop,
        "synthesis_flop": paper.synthesis_flop,
        "peak_memory_bytes": found["peak_memory_bytes"],
        "synthesis_share": joules["synthesis_j"] / joules["total_j"] if joules["total_j"] else None,
    }


def _bounds(found: dict[str, Any]) -> dict[str, Any]:
    """Joules with the ends of the forecast's 90 % interval."""
    parts = {"training_j": found["training"], "synthesis_j": found["synthesis"], "total_j": found}
    return {
        name: None if part["energy_kwh"] is None else {end: J_PER_KWH * kwh for end, kwh in part["energy_kwh"].items()}
        for name, part in parts.items()
    }
