"""Which settings of the sampler are tried, in which order, and which of several costs is the least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lichen.samplers import SamplerName, ScheduleName, network_calls

CALLS = (5, 8, 10, 15, 20, 30, 50)
"""Network calls per image that are tried."""
SOLVERS: tuple[tuple[SamplerName, ScheduleName], ...] = (("unipc", "lu"), ("dpmpp-2m", "lu"), ("ddim", "time"))
"""One network call a step each; with equal calls the first that will do is taken. On these levels ddim is rflow too."""
TIE = 0.03
"""Costs that differ by less are equal: as well as a look of some seconds can tell them apart."""

CLEARLY = 0.10


@dataclass(frozen=True)
class Setting:
    """How to get from noise to latents."""

    sampler: SamplerName
    schedule: ScheduleName
    steps: int

    @property
    def calls(self) -> int:
        """Network calls for each image, which is what its energy grows with."""
        return network_calls(self.sampler, self.steps)

    def __str__(self) -> str:
        return f"{self.sampler} {self.schedule} {self.steps}"


def candidates(below: int) -> tuple[Setting, ...]:
    """The settings with fewer than ``below`` network calls, the cheapest first."""
    return tuple(Setting(*solver, calls) for calls in CALLS if calls < below for solver in SOLVERS)


def cheapest(costs: Sequence[float]) -> int:
    """The position of the least cost, the first of those that tie with it."""
    return next(place for place, cost in enumerate(costs) if cost <= min(costs) * (1 + TIE))


def gets_worse(costs: Sequence[float]) -> bool:
    """Whether the last cost is clearly above the least before it: then larger batches need not be tried."""
    return len(costs) > 1 and costs[-1] > min(costs[:-1]) * (1 + CLEARLY)


def paid_back_after(cost: float, before: float, after: float) -> int | None:
    """The number of images after which ``cost`` is saved, at ``before`` and ``after`` for each; None: never."""
    saved = before - after
    return int(cost // saved) + 1 if saved > 0 else None
