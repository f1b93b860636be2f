"""The trace of a run: what its meters said, on disk within seconds, whatever happens to the process.

One thread owns the meters and the file. Training asks it to note a change of phase and waits for its answer, but never
longer than ``ANSWER_S``, and no failure of a meter or of the disk reaches training.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import psutil

from lichen.energy.integrate import energy_between, read_traces
from lichen.energy.journal import Journal
from lichen.energy.readings import NO_READING, Energy, Meter, Reading, absent, total
from lichen.energy.records import OUTSIDE, Sample, Session, sample_line, session_line, wall_clock
from lichen.errors import EnergyError

ANSWER_S = 10.0
"""How long training waits for a meter or a disk at a change of phase; afterwards not at all until it answers."""
SOON_S = 0.05
"""How long ``so_far()`` waits for a newer reading; a slower meter is heard the next time."""
FRESH_S = 2.0
"""``so_far()`` has the meters read again after this long."""


def trace_name(rank: int = 0, host: str | None = None) -> str:
    """The file name of a process's trace, ``energy-<host>-<rank>.jsonl``, safe on every file system."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", socket.gethostname() if host is None else host).strip("._")[:64]
    return f"energy-{name or 'host'}-{rank}.jsonl"


@dataclass(frozen=True)
class _Order:
    """What the thread is asked to do, and how it tells that it is done."""

    kind: Literal["begin", "refresh", "switch", "stop"]
    phase: str = OUTSIDE
    done: threading.Event = field(default_factory=threading.Event)


class Trace:
    """Measures while it is open, and appends to ``path``; an interrupted run goes on in the same file.

        with Trace(folder / trace_name(), find_meters()) as trace:
            with trace.phase("diffusion"):
                train()

    All meters are read every ``interval_s`` and at each change of phase, and each reading is on disk before the next.
    ``synchronise`` is called before a change of phase, e.g. ``torch.cuda.synchronize``, so that work handed to a GPU
    counts for the phase that handed it over. ``sync`` is how a line is forced to disk.

    Nothing here raises because of meters or disk: ``problem`` says what is wrong. Phases are changed from one
    thread only.
    """

    def __init__(
        self,
        path: Path,
        meters: Sequence[Meter],
        *,
        interval_s: float = 10.0,
        synchronise: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sync: Callable[[int], None] = os.fsync,
    ) -> None:
        self.path = path
        self._meters, self._interval_s, self._clock = tuple(meters), interval_s, clock
        self._synchronise = synchronise
        self._journal = Journal(path, sync)
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="lichen-energy", daemon=True)
        self._phases: list[str] = []
        self._stuck = False
        self._refreshing = False
        self._last_read_s = -float("inf")
        self._earlier = NO_READING
        self._earlier_s = 0.0
        self._opened_s = clock()
        self._used = NO_READING
        self._failed: dict[int, str] = {}
        self._note: str | None = None
        # from here on the thread's own
        self._session = uuid.uuid4().hex[:16]
        self._samples = 0
        self._phase = OUTSIDE
        self._readings: dict[int, tuple[Reading, ...]] = {}

    @property
    def problem(self) -> str | None:
        """What keeps the trace from being complete, in a line for people; ``None`` if nothing does."""
        if self._stuck:
            return f"the energy meters or the disk of {self.path} have not answered for {ANSWER_S:g} s"
        return self._journal.problem or next(iter(self._failed.values()), None) or self._note

    def so_far(self) -> Energy:
        """The energy of everything in the file, earlier processes included, and of this one up to ``FRESH_S`` ago.

        Costs next to nothing: the thread is asked for a newer figure if the last one is old.
        """
        return self._earlier + self.spent()

    def elapsed_s(self) -> float:
        """How long the processes of this file have measured, this one included."""
        return self._earlier_s + (self._clock() - self._opened_s if self._thread.is_alive() else 0.0)

    def spent(self) -> Energy:
        """The energy of this process alone."""
        fresh = 0 <= self._clock() - self._last_read_s <= FRESH_S
        if not self._refreshing and not fresh and self._thread.is_alive():
            self._refreshing = True
            order = _Order("refresh")
            self._orders.put(order)
            order.done.wait(SOON_S)
        return self._used

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count what follows for ``name``; within another phase the inner one takes over and the outer resumes."""
        self._phases.append(name)
        self._switch()
        try:
            yield
        finally:
            self._phases.pop()
            self._switch()

    def __enter__(self) -> Trace:
        self._read_earlier()
        self._opened_s = self._clock()
        try:
            self._thread.start()
        except RuntimeError as error:  # a limit on threads or memory
            self._note = f"energy is not recorded: {error}"
        self._ask(_Order("begin"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ask(_Order("stop"))

    def _switch(self) -> None:
        if self._synchronise is not None:
            try:
                self._synchronise()
            except RuntimeError as error:  # a failed device: training meets the error itself
                self._note = f"the device could not be synchronised: {error}"
        self._ask(_Order("switch", self._phases[-1] if self._phases else OUTSIDE))

    def _ask(self, order: _Order) -> None:
        if not self._thread.is_alive():  # closed, never opened, or the child of a fork
            return
        self._orders.put(order)
        self._stuck = not order.done.wait(0 if self._stuck else ANSWER_S)

    def _read_earlier(self) -> None:
        try:
            phases = read_traces([self.path]) if self.path.is_file() else ()
        except (EnergyError, OSError) as error:
            self._note = f"earlier readings are not in the sum: {error.args[0] if error.args else error}"
            return
        self._earlier = total(phase.total for phase in phases)
        self._earlier_s = sum(phase.duration_s for phase in phases)

    # The thread's side.

    def _work(self) -> None:
        try:
            self._record()
        except Exception as error:  # noqa: BLE001 (nobody may wait for a thread that is no more)
            self._note = f"energy is no longer recorded ({type(error).__name__}: {error})"
        finally:
            while not self._orders.empty():
                self._orders.get().done.set()

    def _record(self) -> None:
        self._begin()
        next_s = self._clock() + self._interval_s
        while True:
            try:
                # no longer than an interval, also where the clock was set back
                order = self._orders.get(timeout=min(max(0.0, next_s - self._clock()), self._interval_s))
            except queue.Empty:
                self._note_sample()
                next_s = self._clock() + self._interval_s
                continue
            try:
                self._obey(order)
            finally:
                self._stuck = False
                order.done.set()
            if order.kind == "stop":
                return
            if order.kind == "switch":
                next_s = self._clock() + self._interval_s

    def _obey(self, order: _Order) -> None:
        if order.kind == "refresh":
            self._read()
            self._refreshing = False
        elif order.kind in {"switch", "stop"}:
            self._note_sample()
            self._phase = order.phase
        if order.kind == "stop":
            self._journal.close()

    def _begin(self) -> None:
        now_s = self._clock()
        readings = self._read()
        session = Session(
            id=self._session,
            host=socket.gethostname(),
            pid=os.getpid(),
            boot=_boot(),
            wall=wall_clock(),
            mono_s=now_s,
            interval_s=self._interval_s,
            meters=tuple(self._describe(position, meter) for position, meter in enumerate(self._meters)),
            devices={reading.component: reading.device for reading in readings if reading.device},
        )
        self._journal.append(session_line(session))
        self._write(readings)

    def _note_sample(self) -> None:
        self._write(self._read())

    def _write(self, readings: tuple[Reading, ...]) -> None:
        sample = Sample(self._session, self._samples, wall_clock(), self._last_read_s, self._phase, readings)
        self._samples += 1
        self._journal.append(sample_line(sample))

    def _read(self) -> tuple[Reading, ...]:
        """Read all meters and add to the sum what they counted since the last time."""
        self._last_read_s = self._clock()
        for position, meter in enumerate(self._meters):
            before = self._readings.get(position, ())
            after = self._read_one(position, meter, before)
            self._readings[position] = after
            if before:
                self._used += total(component.energy for component in energy_between(before, after))
        return _distinct(reading for readings in self._readings.values() for reading in readings)

    def _describe(self, position: int, meter: Meter) -> str:
        try:
            return meter.describe()
        except (Exception, SystemExit) as error:  # noqa: BLE001 (as in _read_one)
            return f"meter{position}: no description ({type(error).__name__}: {error})"

    def _read_one(self, position: int, meter: Meter, before: tuple[Reading, ...]) -> tuple[Reading, ...]:
        if position not in self._failed:
            try:
                return tuple(_plain(reading) for reading in meter.read())
            except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever a meter raises, training goes on)
                self._failed[position] = f"a meter failed ({type(error).__name__}: {error})"
        if not before:
            return (absent(f"meter{position}"),)
        return tuple(absent(reading.component, reading.device) for reading in before)


def _plain(reading: Reading) -> Reading:
    """The reading in Python's own numbers, which a file and a sum can hold; raises if it is none."""
    energy_j, low_j, high_j = (
        None if joules is None else float(joules) for joules in (reading.energy_j, reading.low_j, reading.high_j)
    )
    return replace(reading, energy_j=energy_j, low_j=low_j, high_j=high_j)


def _distinct(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """The readings with a second ``gpu0`` called ``gpu0#2``, so that two meters of one name add up and none is lost."""
    seen: dict[str, int] = {}
    named = []
    for reading in readings:
        seen[reading.component] = count = seen.get(reading.component, 0) + 1
        named.append(replace(reading, component=f"{reading.component}#{count}") if count > 1 else reading)
    return tuple(named)


def _boot() -> str:
    """What tells this start of this machine from any other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        return f"{socket.gethostname()}-{psutil.boot_time():.0f}"
