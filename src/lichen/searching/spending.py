"""What a search spent so far, by the traces of its runners and of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lichen.carbon import Range
from lichen.energy import read_traces, total
from lichen.errors import EnergyError


@dataclass(frozen=True)
class Spent:
    """The energy of a search, probes included."""

    energy_j: Range
    unread: int = 0
    """Traces that are damaged: what they held is missing."""


def spent_on(home: Path) -> Spent:
    """All that was spent on the search in ``home``; a device that several runs shared counts once."""
    traces = [path for pattern in ("energy-*.jsonl", "runs/*/energy-*.jsonl") for path in home.glob(pattern)]
    begun = [path for path in traces if path.stat().st_size]
    try:
        whole, phases = begun, read_traces(begun)
    except EnergyError:
        whole = list(filter(_is_whole, begun))
        phases = read_traces(whole)
    bounds_j = total(phase.total for phase in phases).bounds_j()
    return Spent(Range(0.0, None, 0.0) if bounds_j is None else Range(*bounds_j), len(begun) - len(whole))


def _is_whole(path: Path) -> bool:
    try:
        read_traces([path])
    except EnergyError:
        return False
    return True
