"""A meter that says what it is told: recorded or made-up readings, for tests and rehearsals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from lichen.energy.integrate import Step, read_steps
from lichen.energy.readings import ComponentEnergy, Energy, Reading, Source, absent
from lichen.energy.records import OUTSIDE
from lichen.errors import EnergyError


class ReplayMeter:
    """Each ``read()`` gives the next of ``recorded``; the last one again when there are no more."""

    def __init__(
        self, recorded: Sequence[tuple[Reading, ...]], description: str = "replay of recorded readings"
    ) -> None:
        if not recorded:
            raise ValueError("a replay needs at least one recorded reading")
        self._recorded, self._description = tuple(recorded), description
        self._next = 0
        self.phases: tuple[str, ...] = ()
        """The phases of the trace that is replayed, one entry for each time that one went on."""

    @classmethod
    def of_trace(cls, path: Path) -> ReplayMeter:
        """The joules of a trace file, phase by phase, whoever measured them; no hardware is asked.

            meter = ReplayMeter.of_trace(recorded)
            with Trace(copy, [meter]) as trace:
                for phase in meter.phases:
                    with trace.phase(phase):
                        ...  # fewer than ``interval_s`` seconds: each reading belongs to a change of phase

        The copy then has the same joules, interval and source for each phase. The sessions of the file, whose readings
        each begin anew, follow one another as one that never falls. Where a component falls silent, comes back in a
        later session, or has another source there, a phase "other" of no energy comes between, in which it is absent.

        Raises ``EnergyError`` if the file cannot be read or has no two readings of one session.
        """
        steps = tuple(read_steps([path]))
        if not steps:
            raise EnergyError(
                f"{path} has nothing to replay: no session of it has two readings",
                fix="give a trace whose run lasted at least one interval",
            )
        tape = _Tape(steps)
        for (_, phase, _), run in groupby(steps, key=lambda step: (step.session, step.phase, _sources(step))):
            tape.add(phase, [part for step in run for part in step.components])
        meter = cls(tape.finish(), f"replay of {path}")
        meter.phases = tuple(tape.phases)
        return meter

    def describe(self) -> str:
        """The description given."""
        return self._description

    def read(self) -> tuple[Reading, ...]:
        """The next recorded readings."""
        readings = self._recorded[min(self._next, len(self._recorded) - 1)]
        self._next += 1
        return readings


class _Tape:
    """The readings that a trace takes: one at its start, two for each phase, one at its end.

    What was used between phases lies between the second reading of one and the first of the next.
    """

    def __init__(self, steps: Iterable[Step]) -> None:
        self._used: dict[str, ComponentEnergy] = {}
        for part in (part for step in steps for part in step.components):
            known = self._used.get(part.component)
            if known is None or known.source == "absent":
                self._used[part.component] = replace(part, energy=Energy(0.0, 0.0, 0.0))
        self._readings = [self._now()]
        self.phases: list[str] = []

    def add(self, phase: str, parts: Sequence[ComponentEnergy]) -> None:
        """What was used in a phase, each component from one source throughout."""
        self._change_sources(parts)
        before = self._now()
        for part in parts:
            # an absent component keeps its sum, for a later session to go on from
            self._used[part.component] = replace(part, energy=self._used[part.component].energy + part.energy)
        if phase != OUTSIDE:
            self._note(phase, before)

    def finish(self) -> list[tuple[Reading, ...]]:
        return [*self._readings, self._now()]

    def _change_sources(self, parts: Sequence[ComponentEnergy]) -> None:
        """Let components fall silent, come back or be measured otherwise in a step that has no energy to lose by it."""
        changed = {
            part.component: replace(part, energy=self._used[part.component].energy)
            for part in parts
            if part.source != self._used[part.component].source
        }
        if changed:
            before = self._now()
            self._used |= changed
            self._note(OUTSIDE, before)

    def _note(self, phase: str, before: tuple[Reading, ...]) -> None:
        self._readings += [before, self._now()]
        self.phases.append(phase)

    def _now(self) -> tuple[Reading, ...]:
        return tuple(
            absent(part.component)
            if part.source == "absent"
            else Reading(part.component, part.source, part.energy.energy_j, part.energy.low_j, part.energy.high_j)
            for part in self._used.values()
        )


def _sources(step: Step) -> tuple[tuple[str, Source], ...]:
    return tuple((part.component, part.source) for part in step.components)
