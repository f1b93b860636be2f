"""The lines of a trace: what is written and what is understood again.

A trace is a file of JSON lines. Each process that measures writes one ``session`` line and then ``sample`` lines:

    {"kind": "session", "session": "5f0c", "host": "n7", "pid": 41, "boot": "...", "wall": "2026-01-01T00:00:00+00:00",
     "mono_s": 8.0, "interval_s": 10.0, "meters": ["gpu0 (NVIDIA H100): ..."], "devices": {"gpu0": "GPU-..."}}
    {"kind": "sample", "session": "5f0c", "n": 1, "wall": "...", "mono_s": 18.0, "phase": "diffusion",
     "readings": [["gpu0", "counter", energy_j, low_j, high_j], ["cpu", "estimated", ...]]}

A sample's readings are cumulative since the session's meters were made, and ``phase`` is what was going on since the
sample before. Lines of several sessions may alternate. ``mono_s`` is the host's monotonic clock; ``wall`` is for
people.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args

from lichen.energy.readings import Reading, Source

OUTSIDE = "other"
"""The phase of what was measured while no phase was open."""

_SOURCES = frozenset(get_args(Source))


@dataclass(frozen=True)
class Session:
    """One process that measured."""

    id: str
    host: str
    pid: int
    boot: str
    """Unique to this start of the machine; monotonic clocks are comparable within it."""
    wall: str
    mono_s: float
    interval_s: float
    meters: tuple[str, ...]
    devices: dict[str, str] = field(default_factory=dict)
    """Component -> hardware, where it may be counted by other processes too."""


@dataclass(frozen=True)
class Sample:
    """All meters, read once."""

    session: str
    n: int
    wall: str
    mono_s: float
    phase: str
    readings: tuple[Reading, ...]


def session_line(session: Session) -> str:
    """One line for a session, line end included."""
    return _line(
        {
            "kind": "session",
            "session": session.id,
            "host": session.host,
            "pid": session.pid,
            "boot": session.boot,
            "wall": session.wall,
            "mono_s": session.mono_s,
            "interval_s": session.interval_s,
            "meters": session.meters,
            "devices": session.devices,
        }
    )


def sample_line(sample: Sample) -> str:
    """One line for a sample, line end included."""
    readings = [
        [reading.component, reading.source, *map(_rounded, (reading.energy_j, reading.low_j, reading.high_j))]
        for reading in sample.readings
    ]
    return _line(
        {
            "kind": "sample",
            "session": sample.session,
            "n": sample.n,
            "wall": sample.wall,
            "mono_s": sample.mono_s,
            "phase": sample.phase,
            "readings": readings,
        }
    )


def parse_line(line: str) -> Session | Sample | None:
    """The record in a line, or ``None`` if it is none, e.g. because a kill cut it."""
    try:
        record = json.loads(line)
        if record["kind"] == "session":
            return Session(
                id=str(record["session"]),
                host=str(record["host"]),
                pid=int(record["pid"]),
                boot=str(record["boot"]),
                wall=str(record["wall"]),
                mono_s=_finite(record["mono_s"]),
                interval_s=_finite(record["interval_s"]),
                meters=tuple(map(str, record["meters"])),
                devices={str(component): str(device) for component, device in record["devices"].items()},
            )
        if record["kind"] == "sample":
            return Sample(
                session=str(record["session"]),
                n=int(record["n"]),
                wall=str(record["wall"]),
                mono_s=_finite(record["mono_s"]),
                phase=str(record["phase"]),
                readings=tuple(_reading(*values) for values in record["readings"]),
            )
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return None


def wall_clock() -> str:
    """Now, in ISO 8601 and UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _finite(seconds: str | float) -> float:
    """A time to calculate with; JSON readers take ``NaN`` and ``1e999`` as well."""
    value = float(seconds)
    if not math.isfinite(value):
        raise ValueError(f"{seconds} is no time")
    return value


def _reading(component: object, source: Any, *joules: object) -> Reading:
    energy_j, low_j, high_j = (None if value is None else float(str(value)) for value in joules)
    if source not in _SOURCES:
        raise ValueError(f"no source of readings is called {source}")
    return Reading(str(component), source, energy_j, low_j, high_j)


def _rounded(joules: float | None) -> float | None:
    return None if joules is None else round(joules, 6)


def _line(record: dict[str, object]) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"
