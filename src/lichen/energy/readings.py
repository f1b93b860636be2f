"""What a meter says and what it adds up to; the vocabulary of this room.

How sure a figure is, by source, is always an interval ``low_j <= energy_j <= high_j``:

- ``counter``: hardware counted the joules. The interval is the counter's stated error, a few per cent.
- ``polled``: power was sampled and integrated. The interval also covers what happened between samples.
- ``estimated``: no hardware was asked; a model of use x watts. The interval covers the hardware it could be, a factor.
- ``absent``: there is a device and nothing is known of its energy. All three are ``None``, never 0.

Intervals are bounds, not standard deviations. Sums add low ends to low ends and high ends to high ends, as if all
errors went the same way, which those of one meter do.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

J_PER_KWH = 3.6e6

Source = Literal["counter", "polled", "estimated", "absent"]


@dataclass(frozen=True)
class Reading:
    """What one component has used since its meter was made."""

    component: str
    """``gpu0``, ``cpu``, ``ram``: equal names add up."""
    source: Source
    energy_j: float | None
    low_j: float | None
    high_j: float | None
    device: str = ""
    """Which piece of hardware was counted, unique on its host, e.g. a GPU's UUID: two traces that count one device over
    the same time are counted once. Empty for what belongs to one process, such as its CPU time."""


def absent(component: str, device: str = "") -> Reading:
    """The reading of a component that cannot be read."""
    return Reading(component, "absent", None, None, None, device)


def measured(component: str, source: Source, energy_j: float, error: float, device: str = "") -> Reading:
    """A reading with a relative error to both sides, e.g. ``error=0.05``."""
    return Reading(component, source, energy_j, energy_j * (1 - error), energy_j * (1 + error), device)


class Meter(Protocol):
    """The seam to hardware."""

    def describe(self) -> str:
        """What is measured, how, and how sure, in one line for people; also why not, if nothing is."""
        ...

    def read(self) -> tuple[Reading, ...]:
        """Joules since the meter was made, one reading per component; never falling, and ``absent`` once it fails."""
        ...


@dataclass(frozen=True)
class Energy:
    """An energy in joules with its interval; all three ``None``: there was no reading."""

    low_j: float | None
    energy_j: float | None
    high_j: float | None

    def __post_init__(self) -> None:
        ends = (self.low_j, self.energy_j, self.high_j)
        if ends != (None, None, None) and not _ordered(*ends):
            raise ValueError(f"an energy needs low <= energy <= high, or no reading at all, not {ends}")

    def __add__(self, other: Energy) -> Energy:
        """The sum; the other one where one has no reading, so the caller must say that it is incomplete."""
        mine, others = self.bounds_j(), other.bounds_j()
        if mine is None or others is None:
            return other if mine is None else self
        return Energy(*(one + another for one, another in zip(mine, others, strict=True)))

    def scaled(self, factor: float) -> Energy:
        """``factor`` times this energy."""
        bounds = self.bounds_j()
        return NO_READING if bounds is None else Energy(*(factor * bound for bound in bounds))

    def bounds_j(self) -> tuple[float, float, float] | None:
        """(low, energy, high) as plain numbers, or ``None``: the form to calculate with."""
        if self.low_j is None or self.energy_j is None or self.high_j is None:
            return None
        return self.low_j, self.energy_j, self.high_j

    @property
    def kwh(self) -> float | None:
        """The energy in kilowatt-hours."""
        return None if self.energy_j is None else self.energy_j / J_PER_KWH


NO_READING = Energy(None, None, None)


def total(energies: Iterable[Energy]) -> Energy:
    """The sum of those that have a reading; no reading if none has one."""
    return sum(energies, start=NO_READING)


def _ordered(low: float | None, middle: float | None, high: float | None) -> bool:
    return low is not None and middle is not None and high is not None and low <= middle <= high


@dataclass(frozen=True)
class ComponentEnergy:
    """What one component used."""

    component: str
    source: Source
    energy: Energy


@dataclass(frozen=True)
class PhaseEnergy:
    """What one phase of a run used."""

    phase: str
    duration_s: float
    """Time measured: added up over the sessions of one file, the longest of several files (ranks run side by side)."""
    components: tuple[ComponentEnergy, ...]
    total: Energy
    """The sum of the components that have a reading: a lower bound if any is ``absent``."""
    absent: tuple[str, ...] = ()
    """Components that could not be read in all or part of the phase."""
