"""The cheapest way to train that fits: a pure choice among ways whose memory is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lichen.memory.training import Precision, TrainingMemory


@dataclass(frozen=True)
class Option:
    """One way to train a network, and what a step of it takes."""

    name: str
    precision: Precision
    memory: TrainingMemory


Options = Mapping[str, Sequence[Option]]
"""For each network its options, the cheapest first."""


def choose(options: Options, budget_bytes: float) -> dict[str, Option] | None:
    """For each network the first option within ``budget_bytes``, all of one precision; None where there is none.

    The precision is the first, in the networks' own order, in which all of them fit.
    """
    for precision in _precisions(options):
        chosen = {
            network: option
            for network, ways in options.items()
            if (option := _first(ways, precision, budget_bytes)) is not None
        }
        if len(chosen) == len(options):
            return chosen
    return None


def smallest_budget(options: Options) -> int:
    """The fewest bytes within which ``choose`` finds an option for each network."""
    peaks = sorted({option.memory.peak_bytes for ways in options.values() for option in ways})
    return next(peak for peak in peaks if choose(options, peak) is not None)


def _precisions(options: Options) -> Sequence[Precision]:
    return list(dict.fromkeys(option.precision for ways in options.values() for option in ways))


def _first(ways: Sequence[Option], precision: Precision, budget_bytes: float) -> Option | None:
    fits = (way for way in ways if way.precision == precision and way.memory.peak_bytes <= budget_bytes)
    return next(fits, None)
