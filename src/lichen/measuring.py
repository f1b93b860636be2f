"""Energy and grams of anybody's code: the meters, the trace and the carbon table, wired together."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ContextDecorator, suppress
from dataclasses import asdict
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType, TracebackType
from typing import Any, TypeVar

from lichen.carbon import (
    Intensity,
    Range,
    contract,
    energy_range_text,
    energy_text,
    grams,
    grams_range_text,
    grams_text,
    intensity,
    load_table,
)
from lichen.carbon.words import one_line
from lichen.energy import Energy, PhaseEnergy, Trace, find_meters, read_sessions, read_traces, total
from lichen.errors import ConfigError, EnergyError

F = TypeVar("F", bound=Callable[..., Any])


class Measured(ABC):
    """Energy and grams of the phases that something measured; where its electricity comes from is known beforehand."""

    def __init__(self, name: str, place: Intensity, pue: float | None = None) -> None:
        grams((0.0, 0.0, 0.0), place, pue)  # an impossible PUE is said before the work and not after it
        self.name, self.place = name, place
        self._pue = pue

    @property
    @abstractmethod
    def phases(self) -> tuple[PhaseEnergy, ...]:
        """Energy and duration by phase and component, each with its source; empty where nothing was measured yet."""

    @property
    def energy(self) -> Energy:
        """The energy in joules with its interval; all None where nothing can be measured."""
        return total(phase.total for phase in self.phases)

    @property
    def carbon_g(self) -> Range | None:
        """Grams of CO2e (low, estimate, high); None where nothing can be measured."""
        return self._grams(self.energy)

    @property
    def duration_s(self) -> float:
        """How long it took."""
        return sum(phase.duration_s for phase in self.phases)

    @property
    def sources(self) -> dict[str, str]:
        """How each component was measured: counter, polled, estimated or absent."""
        return {part.component: part.source for phase in self.phases for part in phase.components}

    def __str__(self) -> str:
        """Energy and grams in a line for people."""
        name, bounds_j, carbon_g = one_line(self.name), self.energy.bounds_j(), self.carbon_g
        if bounds_j is None or carbon_g is None:
            return f"{name}: not measured; lichen doctor says why"
        sources = ", ".join(sorted(set(self.sources.values())))
        span = energy_range_text(*bounds_j)
        where = "" if carbon_g.estimate is None else f" ({grams_range_text(carbon_g)}) in {self.place.zone_name}"
        return f"{name}: {energy_text(bounds_j[1])} ({span}; {sources}), {grams_text(carbon_g)} CO2e{where}"

    def as_json(self) -> dict[str, Any]:
        """The same for other programs, with the place, its year and whom the figures are to be credited to."""
        carbon_g, bounds_j = self.carbon_g, self.energy.bounds_j()
        return {
            "name": self.name,
            "duration_s": self.duration_s,
            "energy_j": None if bounds_j is None else dict(zip(("low", "estimate", "high"), bounds_j, strict=True)),
            "carbon_g": None if carbon_g is None else asdict(carbon_g),
            "sources": self.sources,
            "zone": self.place.zone,
            "month": self.place.month,
            "year": self.place.year,
            "pue": self._pue,
            "attribution": self.place.attribution,
        }

    def _grams(self, energy: Energy) -> Range | None:
        bounds_j = energy.bounds_j()
        return None if bounds_j is None else grams(bounds_j, self.place, self._pue)


class Measurement(Measured, ContextDecorator):
    """What the code inside uses; made by ``lichen.measure``. The figures are there when the block has ended.

    As a decorator it measures each call on its own and hands the result to ``done``. With a file ``trace`` its readings
    survive the process, and the figures include what earlier blocks of the same name left in it.
    """

    def __init__(
        self,
        name: str,
        place: Intensity,
        pue: float | None = None,
        done: Callable[[Measurement], None] | None = None,
        trace: Path | None = None,
    ) -> None:
        super().__init__(name, place, pue)
        if trace is not None:
            _refuse_foreign(trace)
        self.done, self.trace = done, trace
        self.problem: str | None = None
        """What kept the trace from being complete, in a line for people."""
        self._phases: tuple[PhaseEnergy, ...] = ()

    @classmethod
    def at(
        cls,
        grid: str | None,
        month: int | None,
        *,
        name: str,
        pue: float | None = None,
        g_per_kwh: float | None = None,
        intensity_file: Path | None = None,
        trace: Path | None = None,
        done: Callable[[Measurement], None] | None = None,
    ) -> Measurement:
        """The measurement that ``lichen.measure`` describes; raises CarbonError, or ConfigError for its trace."""
        table = None if intensity_file is None else load_table(intensity_file)
        place = intensity(grid, month, table=table) if g_per_kwh is None else contract(g_per_kwh, grid, table=table)
        return cls(name, place, pue, done, trace)

    @property
    def phases(self) -> tuple[PhaseEnergy, ...]:
        """Energy and duration by component, each with its source; empty until the block has ended."""
        return self._phases

    def __enter__(self) -> Measurement:
        self._held = None if self.trace is None else _hold(self.trace)
        self._folder = TemporaryDirectory(prefix="lichen-")
        path = self.trace or Path(self._folder.name) / "energy.jsonl"
        self._trace = Trace(path, find_meters(), synchronise=synchronise)
        self._trace.__enter__()
        self._phase = self._trace.phase(self.name)
        self._phase.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._phase.__exit__(None, None, None)
        self._trace.__exit__(None, None, None)
        self.problem = self._trace.problem
        try:
            found = read_traces([self._trace.path])
        except EnergyError:  # the disk took nothing: what was measured is lost, and what was done inside is not
            found = ()
        self._phases = tuple(phase for phase in found if phase.phase == self.name)
        self._folder.cleanup()
        if self._held is not None:
            os.close(self._held)
        if self.done is not None:
            self.done(self)

    def __call__(self, function: F) -> F:
        """Measure each call of ``function``.

        Raises ConfigError if nobody would hear of the result, or if a call only begins the work: a generator's or a
        coroutine's would end at once and count nothing.
        """
        if self.done is None:
            raise ConfigError(
                f"the results of {self.name!r} would go nowhere",
                fix="give done=, a function that takes the measurement",
            )
        if any(is_kind(function) for is_kind in (isgeneratorfunction, isasyncgenfunction, iscoroutinefunction)):
            raise ConfigError(
                f"{one_line(function.__name__)} is a generator or a coroutine: a call of it only begins its work",
                fix="use a with block around what runs it to its end",
            )
        return super().__call__(function)

    def _recreate_cm(self) -> Measurement:
        return Measurement(self.name, self.place, self._pue, self.done, self.trace)


def _hold(trace: Path) -> int | None:
    """Keep other measurements out of the file ``trace``: they would count each other. Closing what is returned ends it.

    Raises ConfigError if another one is at work in it. A file that cannot be opened is not held: ``problem`` tells why.
    """
    try:
        held = os.open(trace, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        if not isinstance(error, BlockingIOError):  # a disk without locks
            return None
        raise ConfigError(
            f"another measurement is writing to {trace}", fix="wait for it, or give this one a trace of its own"
        ) from error
    return held


def measure_command(command: Sequence[str], measurement: Measurement) -> int:
    """Run a program and its children under ``measurement``; return its exit code as a shell would.

    SIGTERM is passed on to it, so that what is measured can end in its own way. Raises ConfigError if there is no such
    program.
    """
    if not command:
        raise ConfigError("there is no command to measure", fix="e.g. lichen measure -- python train.py")
    with measurement:
        try:
            process = subprocess.Popen(command)
        except OSError as error:
            raise ConfigError(
                f"{one_line(command[0]) or 'nothing'} cannot be started ({error.strerror})",
                fix="check the command after --",
            ) from error

        def pass_on(number: int, _: FrameType | None) -> None:
            process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGUSR1)}
        # the terminal sends Ctrl-C to both; the program decides
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            code = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _refuse_foreign(trace: Path) -> None:
    """Readings are added to a trace or to a new file, never to a file of something else, a folder or a device."""
    if not trace.exists() and trace.name:
        return
    with suppress(EnergyError):
        if trace.is_file() and (not trace.stat().st_size or read_sessions([trace]) or read_traces([trace])):
            return
    raise ConfigError(f"{trace} is no trace of energy readings", fix="name a new file, or one that a trace began")


def synchronise() -> None:
    """Wait for the GPU, so that work handed to it counts for the phase that handed it over."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
