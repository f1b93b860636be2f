"""From cumulative readings to joules per phase; from trace files to what a run used."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from lichen.energy.readings import NO_READING, ComponentEnergy, Energy, PhaseEnergy, Reading, total
from lichen.energy.records import Sample, Session, parse_line
from lichen.errors import EnergyError

_Span = tuple[float, float]


@dataclass(frozen=True)
class Step:
    """What was used between two samples of a session."""

    path: Path
    session: str
    phase: str
    duration_s: float
    components: tuple[ComponentEnergy, ...]


def energy_between(before: Iterable[Reading], after: Iterable[Reading]) -> tuple[ComponentEnergy, ...]:
    """What each component used between two cumulative readings.

    A component that is missing or absent at either end, or whose reading fell, is ``absent`` in between: its energy is
    unknown, not 0.
    """
    first = {reading.component: reading for reading in before}
    last = {reading.component: reading for reading in after}
    return tuple(_component(name, first.get(name), last.get(name)) for name in {**first, **last})


def read_traces(paths: Iterable[Path]) -> tuple[PhaseEnergy, ...]:
    """The energy of each phase over all sessions of all files, in order of first appearance.

    A session, also one that is in two files because a run was copied, counts once; so does a device that several ranks'
    traces counted over the same time. A cut line, as a kill leaves it, is passed over: it costs at most one interval.

    Raises ``EnergyError`` if a file is missing or no line of it is a trace's.
    """
    phases: dict[str, _PhaseSum] = {}
    for step in read_steps(paths):
        phases.setdefault(step.phase, _PhaseSum()).add(step)
    return tuple(phase.result(name) for name, phase in phases.items())


def read_steps(paths: Iterable[Path]) -> Iterator[Step]:
    """The same, sample by sample: session after session, each device once. Raises ``EnergyError`` likewise."""
    covered: dict[tuple[str, str], list[_Span]] = {}
    for recording in _recordings(paths):
        own: dict[tuple[str, str], list[_Span]] = {}
        for before, after in pairwise(recording.in_order()):
            span = (before.mono_s, max(after.mono_s, before.mono_s))
            parts = []
            for part in energy_between(before.readings, after.readings):
                device = recording.device_of(part.component)
                if device is None or part.source == "absent":
                    parts.append(part)
                    continue
                share = 1.0 - _covered_share(span, covered.get(device, ()))
                parts.append(ComponentEnergy(part.component, part.source, part.energy.scaled(share)))
                _extend(own.setdefault(device, []), span)
            yield Step(recording.path, after.session, after.phase, span[1] - span[0], tuple(parts))
        for device, spans in own.items():
            covered.setdefault(device, []).extend(spans)


def read_sessions(paths: Iterable[Path]) -> tuple[Session, ...]:
    """Who measured, with which meters, in order of first appearance. Raises ``EnergyError`` as ``read_traces`` does."""
    return tuple(recording.session for recording in _recordings(paths) if recording.session is not None)


@dataclass
class _Recording:
    """A session's samples by number, so that a line written twice counts once."""

    path: Path
    session: Session | None = None
    samples: dict[int, Sample] = field(default_factory=dict)

    def in_order(self) -> list[Sample]:
        return [self.samples[n] for n in sorted(self.samples)]

    def device_of(self, component: str) -> tuple[str, str] | None:
        """(boot of the host, device) of a component that other processes may count too."""
        device = self.session.devices.get(component, "") if self.session else ""
        return (self.session.boot, device) if self.session and device else None


@dataclass
class _PhaseSum:
    duration_s: dict[Path, float] = field(default_factory=dict)
    energy: dict[ComponentEnergy, Energy] = field(default_factory=dict)
    absent: dict[str, None] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        self.duration_s[step.path] = self.duration_s.get(step.path, 0.0) + step.duration_s
        for part in step.components:
            kind = ComponentEnergy(part.component, part.source, NO_READING)
            self.energy[kind] = self.energy.get(kind, NO_READING) + part.energy
            if part.source == "absent":
                self.absent[part.component] = None

    def result(self, phase: str) -> PhaseEnergy:
        read = {kind.component for kind in self.energy if kind.source != "absent"}
        components = tuple(
            ComponentEnergy(kind.component, kind.source, energy)
            for kind, energy in self.energy.items()
            if kind.source != "absent" or kind.component not in read
        )
        everything = total(component.energy for component in components)
        return PhaseEnergy(phase, max(self.duration_s.values()), components, everything, tuple(self.absent))


def _component(name: str, first: Reading | None, last: Reading | None) -> ComponentEnergy:
    if first and last and first.source == last.source:
        energy_j, low_j, high_j = (
            _difference(old, new)
            for old, new in ((first.energy_j, last.energy_j), (first.low_j, last.low_j), (first.high_j, last.high_j))
        )
        if energy_j is not None and low_j is not None and high_j is not None:
            # the ends are clamped because differences of large rounded numbers may cross by a microjoule
            return ComponentEnergy(name, last.source, Energy(min(low_j, energy_j), energy_j, max(high_j, energy_j)))
    return ComponentEnergy(name, "absent", NO_READING)


def _difference(old: float | None, new: float | None) -> float | None:
    """What came since, or ``None`` where that is unknown or impossible: a fall, an infinity, no number."""
    if old is None or new is None or not math.isfinite(new - old) or new < old:
        return None
    return new - old


def _recordings(paths: Iterable[Path]) -> list[_Recording]:
    found: dict[str, _Recording] = {}
    for path in paths:
        for record in _records(path):
            recording = found.setdefault(record.session if isinstance(record, Sample) else record.id, _Recording(path))
            if isinstance(record, Session):
                recording.session = record
            else:
                recording.samples.setdefault(record.n, record)
    return list(found.values())


def _records(path: Path) -> Iterator[Session | Sample]:
    """The records of a file; what is no record is passed over, unless nothing else is there."""
    understood = lines = 0
    try:
        # a power cut may leave zeros or half a letter: such a line is no record, and the others are still good
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                lines += 1
                record = parse_line(line)
                if record is not None:
                    understood += 1
                    yield record
    except OSError as error:
        raise EnergyError(
            f"{path} cannot be read: {error.strerror or error}", fix="give a file that a run wrote, energy-*.jsonl"
        ) from error
    if lines > 1 and not understood:
        raise EnergyError(f"{path} is no trace of energy readings", fix="give a file that a run wrote, energy-*.jsonl")


def _extend(spans: list[_Span], span: _Span) -> None:
    """Add a span that begins no earlier than the last one, joined to it if they touch."""
    if spans and span[0] <= spans[-1][1]:
        spans[-1] = (spans[-1][0], max(spans[-1][1], span[1]))
    else:
        spans.append(span)


def _covered_share(span: _Span, covered: Iterable[_Span]) -> float:
    """The share of ``span`` that lies in any of the others, which may overlap."""
    start, end = span
    if end <= start:
        return 0.0
    reached, inside = start, 0.0
    for low, high in sorted(covered):
        low, high = max(low, reached), min(high, end)  # noqa: PLW2901 (clipped to what is left of the span)
        if high > low:
            inside += high - low
            reached = high
    return inside / (end - start)
