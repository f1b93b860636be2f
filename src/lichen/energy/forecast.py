"""From a short probe to the whole: time and energy of work that repeats, with an interval.

A run is a few kinds of work, each repeated many times (training steps, network calls, decoded images), so that

    time = units x seconds per unit,    energy = time x power,

with seconds per unit and power as they were in a probe of the same work on the same machine. Two errors remain, and
both are in the 90 % interval of a forecast:

- the probe was short: the standard error of its mean, from the scatter of its blocks. The mean is that of the middle
  half, since one interruption by another program weighs too much in a second of probing;
- the machine drifts: other programs, temperature, clock rates. ``DRIFT`` is its size from one minute to the next hour,
  common to all the work of a run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lichen.energy.readings import NO_READING, Energy, Source, total

DRIFT = 0.10
"""Relative standard deviation between the speed of a probe and that of the run (benchmarks/forecast_error.md)."""
Z_90 = 1.645
"""Nine in ten normal errors are smaller than this many standard deviations."""

Block = tuple[float, float]
"""(units done, seconds they took)."""


@dataclass(frozen=True)
class Interval:
    """A forecast figure with the ends of its 90 % interval."""

    low: float
    estimate: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.estimate <= self.high and math.isfinite(self.high)):
            raise ValueError(f"an interval needs 0 <= low <= estimate <= high, not {self.low} to {self.high}")

    def __add__(self, other: Interval) -> Interval:
        """The sum of two figures whose errors go the same way, as drift makes them."""
        return Interval(self.low + other.low, self.estimate + other.estimate, self.high + other.high)


@dataclass(frozen=True)
class Pace:
    """How fast a kind of work goes and what it draws, as a probe found it."""

    s_per_unit: float
    error: float
    """Relative standard error of ``s_per_unit``."""
    joules_per_s: Energy
    """Power in watts with the meters' interval; no reading where nothing could be measured."""


@dataclass(frozen=True)
class PhaseForecast:
    """What one kind of work is expected to take."""

    phase: str
    units: float
    unit: str
    """What is counted, e.g. ``image``."""
    duration_s: Interval
    energy: Energy
    """Meters' interval and forecast's together, as bounds; ``energy_j`` is what the meters are expected to read."""

    def __post_init__(self) -> None:
        low_j, _, high_j = self.energy.bounds_j() or (0.0, 0.0, 0.0)
        if not (self.units >= 0 and low_j >= 0 and math.isfinite(self.units) and math.isfinite(high_j)):
            raise ValueError(f"{self.units} units with {low_j} to {high_j} J are no forecast")


@dataclass(frozen=True)
class Forecast:
    """What all the work is expected to take."""

    phases: tuple[PhaseForecast, ...]
    probe_s: float
    """How long the probes took."""
    peak_memory_bytes: int | None
    """The most memory that the probes had, on the device that works; None where that cannot be told."""
    save_s: float = 0.0
    """How long a checkpoint takes."""
    sources: tuple[Source, ...] = ()
    """How the energy of the probes was known: counter, polled, estimated or absent."""

    def __post_init__(self) -> None:
        for seconds in (self.probe_s, self.save_s):
            if not (seconds >= 0 and math.isfinite(seconds)):
                raise ValueError(f"{seconds} s are no time")

    @property
    def duration_s(self) -> Interval:
        """The time of all phases."""
        return sum((phase.duration_s for phase in self.phases), start=Interval(0, 0, 0))

    @property
    def energy(self) -> Energy:
        """The energy of all phases."""
        return total(phase.energy for phase in self.phases)

    def part(self, phases: Iterable[str]) -> Forecast:
        """The same for some phases alone."""
        wanted = set(phases)
        kept = tuple(phase for phase in self.phases if phase.phase in wanted)
        return replace(self, phases=kept)

    def without(self, phases: Iterable[str]) -> Forecast:
        """The same for all other phases."""
        unwanted = set(phases)
        return self.part(phase.phase for phase in self.phases if phase.phase not in unwanted)

    def remaining(self, done: Mapping[str, float]) -> Forecast:
        """What is left where ``done`` says how many units of each phase are over."""
        phases = (
            _scaled(phase, 1 - min(1.0, done.get(phase.phase, 0) / phase.units) if phase.units else 0.0)
            for phase in self.phases
        )
        return replace(self, phases=tuple(phases))


def pace(blocks: Sequence[Block], joules_per_s: Energy) -> Pace:
    """The pace of timed ``blocks`` at this power; raises ``ValueError`` without any."""
    if not any(units > 0 and seconds > 0 for units, seconds in blocks):
        raise ValueError("a pace needs at least one timed block of work")
    ranked = sorted(blocks, key=lambda block: block[1] / block[0])
    quarter = len(ranked) // 4
    units, seconds = (sum(block[side] for block in ranked[quarter : len(ranked) - quarter]) for side in (0, 1))
    return Pace(seconds / units, _standard_error(blocks), joules_per_s)


def expect(phase: str, units: float, unit: str, found: Pace, fixed_s: float = 0.0) -> PhaseForecast:
    """What ``units`` of work take at this pace, and ``fixed_s`` of saving and the like beside them."""
    seconds = units * found.s_per_unit + fixed_s
    margin = math.exp(Z_90 * math.hypot(DRIFT, found.error))
    duration = Interval(seconds / margin, seconds, seconds * margin)
    bounds_w = found.joules_per_s.bounds_j()
    if bounds_w is None:
        return PhaseForecast(phase, units, unit, duration, NO_READING)
    low_w, watts, high_w = bounds_w
    return PhaseForecast(
        phase, units, unit, duration, Energy(low_w * duration.low, watts * seconds, high_w * duration.high)
    )


def _scaled(phase: PhaseForecast, share: float) -> PhaseForecast:
    """A ``share`` of the work of a phase."""
    low, estimate, high = (share * s for s in (phase.duration_s.low, phase.duration_s.estimate, phase.duration_s.high))
    return PhaseForecast(
        phase.phase, share * phase.units, phase.unit, Interval(low, estimate, high), phase.energy.scaled(share)
    )


def _standard_error(blocks: Sequence[Block]) -> float:
    """Relative standard error of the mean time per unit; of one block nobody knows it, so it is taken as 20 %."""
    if len(blocks) < 2:
        return 0.2
    units, seconds = (sum(block[side] for block in blocks) for side in (0, 1))
    scatter = sum((taken - count * seconds / units) ** 2 for count, taken in blocks) * len(blocks) / (len(blocks) - 1)
    return math.sqrt(scatter) / seconds
