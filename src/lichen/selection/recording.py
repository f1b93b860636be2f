"""Candidates as JSON and back: what a search knew, for others to read and for policies to be replayed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lichen.carbon import Range
from lichen.selection.types import Candidate, CurvePoint, Measured


def to_json(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """One object for each candidate, its fields by name; what is not known is null."""
    return [asdict(candidate) for candidate in candidates]


def from_json(rows: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """The candidates that ``to_json`` wrote; other fields are left alone.

    Raises KeyError, TypeError or ValueError where a row is none of these.
    """
    return [_candidate(row) for row in rows]


def _candidate(row: Mapping[str, Any]) -> Candidate:
    plain = ("name", "seed", "state", "spent_j", "training_s", "parameters", "training_flop", "peak_memory_bytes")
    return Candidate(
        **{name: row[name] for name in (*plain, "copy_rate", "reason")},
        settings=dict(row["settings"]),
        training_j=_made(Range, row["training_j"]),
        synthesis_j=_made(Range, row["synthesis_j"]),
        curve=tuple(CurvePoint(**point) for point in row["curve"]),
        found=_made(Measured, row["found"]),
        cut=_made(Measured, row["cut"]),
        forecast_j=_made(Range, row.get("forecast_j")),
        forecast_synthesis_j=_made(Range, row.get("forecast_synthesis_j")),
        cut_untested=bool(row.get("cut_untested")),
    )


def _made(kind: Any, fields: Mapping[str, Any] | None) -> Any:
    return None if fields is None else kind(**fields)
