"""A table of run folders: state, cost and verdict of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lichen.errors import LichenError, RunError
from lichen.runs.folder import RunFolder


@dataclass(frozen=True)
class RunRow:
    """One run in the table; a figure that was not measured is None."""

    path: str
    state: str
    label: str | None
    finished_at: str | None
    energy_kwh: float | None
    carbon_g: dict[str, Any] | None
    verdict: str | None


def list_runs(root: Path) -> tuple[RunRow, ...]:
    """The run folders in ``root`` and up to two levels below it, sorted by path.

    Raises:
        RunError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise RunError(
            f"there is no folder {root}", fix="give the folder that holds your runs, or make one: lichen run"
        )
    return tuple(_row(folder) for folder in _run_folders(root))


def _run_folders(root: Path) -> Iterator[Path]:
    configs = (path for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}config.yaml"))
    return iter(sorted({path.parent for path in configs}))


def _row(path: Path) -> RunRow:
    try:
        summary = RunFolder(path).read_summary()
    except LichenError:
        return RunRow(str(path), "damaged", None, None, None, None, None)
    if summary is None:
        return RunRow(str(path), "unfinished", None, None, None, None, None)
    joules, grams = _dig(summary, "energy", "total", "energy_j"), _dig(summary, "carbon", "total_g")
    return RunRow(
        path=str(path),
        state=str(summary.get("state", "unknown")),
        label=summary.get("label"),
        finished_at=summary.get("finished_at"),
        energy_kwh=joules / 3.6e6 if isinstance(joules, int | float) else None,
        carbon_g=grams if isinstance(grams, dict) and grams.keys() == {"low", "estimate", "high"} else None,
        verdict=_dig(summary, "audit", "verdict"),
    )


def _dig(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value
