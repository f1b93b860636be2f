"""Replay: a recorded trace in, the same joules out."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_nvml import FakeNvml, gpu_meters_of
from lichen.energy import PhaseEnergy, Reading, ReplayMeter, Source, Trace, read_sessions, read_traces
from lichen.energy.readings import absent, measured
from lichen.errors import EnergyError

SOURCES: tuple[Source, ...] = ("counter", "polled", "estimated")


def replayed(recorded: Path, copy: Path) -> dict[str, PhaseEnergy]:
    meter = ReplayMeter.of_trace(recorded)
    with Trace(copy, [meter], interval_s=1e6, sync=lambda _: None) as trace:
        for phase in meter.phases:
            with trace.phase(phase):
                pass
    return phases(copy)


def phases(path: Path) -> dict[str, PhaseEnergy]:
    return {phase.phase: phase for phase in read_traces([path])}


def assert_same_joules(recorded: dict[str, PhaseEnergy], again: dict[str, PhaseEnergy]) -> None:
    """Per phase: total, interval, and the sources with their energies; a phase of nothing may be missing."""

    def figures(found: dict[str, PhaseEnergy]) -> dict[tuple[str, str, str], tuple[float, ...]]:
        return {
            (name, part.component, part.source): part.energy.bounds_j() or ()
            for name, phase in found.items()
            for part in phase.components
            if part.energy.energy_j
        }

    mine, others = figures(recorded), figures(again)
    assert mine.keys() == others.keys()
    for key, bounds_j in mine.items():
        assert others[key] == pytest.approx(bounds_j, abs=1e-4), key


def test_a_run_of_two_sessions_and_several_phases_is_replayed_to_the_same_joules(tmp_path: Path) -> None:
    recorded = tmp_path / "energy.jsonl"
    for start_j in (0.0, 7e6):  # the second process finds the driver's counter somewhere else
        nvml = FakeNvml([start_j, 10.0])
        with Trace(recorded, gpu_meters_of(nvml)) as trace:
            nvml.joules[0] = start_j + 1
            with trace.phase("train"):
                nvml.joules = [start_j + 101, 60.0]
                with trace.phase("validate"):
                    nvml.joules[0] = start_j + 141
                nvml.joules[0] = start_j + 200
            with trace.phase("sample"):
                nvml.joules[0] = start_j + 1200
    again = replayed(recorded, tmp_path / "copy.jsonl")
    assert {name: phase.total.energy_j for name, phase in again.items()} == pytest.approx(
        {"other": 2, "train": 2 * (100 + 50 + 59), "validate": 80, "sample": 2000}
    )
    assert_same_joules(phases(recorded), again)
    assert not any(phase.absent for phase in again.values())
    assert len(read_sessions([tmp_path / "copy.jsonl"])) == 1


Session = tuple[list[tuple[str, float]], Source, int, bool]


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from(["train", "sample", ""]), st.floats(0, 1e6)), max_size=6),
            st.sampled_from(SOURCES),
            st.integers(0, 12),
            st.booleans(),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_trace_is_replayed_to_the_same_joules(
    tmp_path_factory: pytest.TempPathFactory, sessions: list[Session]
) -> None:
    """Sessions of phases side by side or within each other, measured in any way, with a GPU that dies at some time."""
    folder = tmp_path_factory.mktemp("replay")
    recorded = folder / "energy.jsonl"
    for steps, source, dies_after, nested in sessions:
        cpu, gpu = [0.0], [0.0]
        for number, (_, joules) in enumerate(steps):
            for _ in range(2):
                cpu.append(cpu[-1] + number)
                gpu.append(gpu[-1] + joules)
        cpu.append(cpu[-1] + 3.0)
        gpu.append(gpu[-1] + 5.0)
        meter = ReplayMeter(
            [
                (
                    measured("cpu", "estimated", cpu_j, 0.5),
                    absent("gpu0") if read >= dies_after else measured("gpu0", source, gpu_j, 0.05),
                )
                for read, (cpu_j, gpu_j) in enumerate(zip(cpu, gpu, strict=True))
            ]
        )
        with Trace(recorded, [meter], interval_s=1e6, sync=lambda _: None) as trace, ExitStack() as outer:
            for name, _ in steps:
                outer.enter_context(trace.phase(name or "other"))
                if not nested:
                    outer.close()
    before, after = phases(recorded), replayed(recorded, folder / "copy.jsonl")
    assert_same_joules(before, after)
    for name, phase in before.items():
        assert set(phase.absent) <= set(after[name].absent)
        assert name == "other" or set(phase.absent) == set(after[name].absent)


VICTIM = """
import sys, time
from pathlib import Path
from lichen.energy import Reading, Trace
class Clock:
    def describe(self): return "1000 W"
    def read(self):
        j = 1000 * time.monotonic()
        return (Reading("gpu0", "counter", j, j, j),)
with Trace(Path(sys.argv[1]), [Clock()], interval_s=0.02) as trace, trace.phase(sys.argv[2]):
    print("go", flush=True)
    time.sleep(60)
"""


def test_what_killed_processes_left_is_replayed(tmp_path: Path) -> None:
    recorded = tmp_path / "energy.jsonl"
    for phase in ("train", "train", "sample"):
        with subprocess.Popen([sys.executable, "-c", VICTIM, recorded, phase], stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None
            victim.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                victim.wait(0.2)
            victim.kill()
    again = replayed(recorded, tmp_path / "copy.jsonl")
    assert_same_joules(phases(recorded), again)
    assert (again["train"].total.energy_j or 0) > (again["sample"].total.energy_j or 0) > 0


def test_two_processes_that_counted_one_gpu_are_replayed_as_counting_it_once(tmp_path: Path) -> None:
    recorded = tmp_path / "energy.jsonl"
    nvml, clock = FakeNvml([0.0]), [0.0]
    one, two = (Trace(recorded, gpu_meters_of(nvml), interval_s=1e6, clock=lambda: clock[0]) for _ in range(2))
    with one, two, one.phase("train"):
        clock[0], nvml.joules = 10.0, [1000.0]
        with two.phase("train"):
            clock[0], nvml.joules = 40.0, [4000.0]
    again = replayed(recorded, tmp_path / "copy.jsonl")
    assert sum(phase.total.energy_j or 0 for phase in again.values()) == pytest.approx(4000.0)
    assert_same_joules(phases(recorded), again)


def test_a_replay_that_is_over_stands_still(tmp_path: Path) -> None:
    recorded = tmp_path / "energy.jsonl"
    meter = ReplayMeter([(Reading("gpu0", "counter", j, j, j),) for j in (0.0, 0.0, 50.0)])
    with Trace(recorded, [meter]) as trace, trace.phase("train"):
        pass
    again = ReplayMeter.of_trace(recorded)
    assert again.phases == ("train",)
    assert [again.read()[0].energy_j for _ in range(6)] == [0.0, 0.0, 50.0, 50.0, 50.0, 50.0]


def test_a_trace_of_one_reading_has_nothing_to_replay(tmp_path: Path) -> None:
    recorded = tmp_path / "energy.jsonl"
    with Trace(recorded, []):
        pass
    recorded.write_text("".join(recorded.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(EnergyError, match="nothing to replay"):
        ReplayMeter.of_trace(recorded)
    with pytest.raises(EnergyError, match=r"none\.jsonl cannot be read"):
        ReplayMeter.of_trace(tmp_path / "none.jsonl")
