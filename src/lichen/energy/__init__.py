"""How many joules a run used: meters, and a trace that survives the process.

Works alone, for any program:

    with Trace(Path("energy.jsonl"), find_meters()) as trace:
        with trace.phase("train"):
            train()
    for phase in read_traces([Path("energy.jsonl")]):
        print(phase.phase, phase.total.energy_j, phase.absent)
"""

from lichen.energy.find import Survey, find_meters, survey_meters
from lichen.energy.forecast import Forecast, Interval, Pace, PhaseForecast, expect, pace
from lichen.energy.integrate import read_sessions, read_traces
from lichen.energy.nvml import Nvml
from lichen.energy.probe import Stopwatch
from lichen.energy.process import ProcessMeter, Watts
from lichen.energy.rapl import RaplMeter
from lichen.energy.readings import (
    NO_READING,
    ComponentEnergy,
    Energy,
    Meter,
    PhaseEnergy,
    Reading,
    Source,
    total,
)
from lichen.energy.records import Session
from lichen.energy.replay import ReplayMeter
from lichen.energy.trace import Trace, trace_name

__all__ = [
    "NO_READING",
    "ComponentEnergy",
    "Energy",
    "Forecast",
    "Interval",
    "Meter",
    "Nvml",
    "Pace",
    "PhaseEnergy",
    "PhaseForecast",
    "ProcessMeter",
    "RaplMeter",
    "Reading",
    "ReplayMeter",
    "Session",
    "Source",
    "Stopwatch",
    "Survey",
    "Trace",
    "Watts",
    "expect",
    "find_meters",
    "pace",
    "read_sessions",
    "read_traces",
    "survey_meters",
    "total",
    "trace_name",
]
