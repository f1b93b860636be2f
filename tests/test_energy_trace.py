"""The trace: known energies in, the same joules out, whatever happens to the process or the disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichen.energy import Energy, PhaseEnergy, Reading, ReplayMeter, Trace, read_sessions, read_traces, trace_name
from lichen.energy.readings import measured
from lichen.energy.records import parse_line
from lichen.errors import EnergyError


def joules(*values: float | None, component: str = "gpu0") -> ReplayMeter:
    """A meter that was read as these cumulative joules, one after the other, within 10 %."""
    return ReplayMeter(
        [
            (
                Reading(component, "absent", None, None, None)
                if value is None
                else measured(component, "counter", value, 0.1),
            )
            for value in values
        ]
    )


def phases(*paths: Path) -> dict[str, PhaseEnergy]:
    return {phase.phase: phase for phase in read_traces(paths)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / trace_name(0, "host")


class Failing:
    """A meter that raises what no meter should."""

    def __init__(self, after: int) -> None:
        self.left = after

    def describe(self) -> str:
        return "failing"

    def read(self) -> tuple[Reading, ...]:
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("the meter is broken")
        return (measured("gpu0", "counter", 10.0 * -self.left, 0.0),)


def test_a_power_profile_comes_out_as_its_joules(path: Path) -> None:
    # 100 W for an hour, then 250 W for half an hour, then 0: read at the start, at each change of phase, at the end
    with Trace(path, [joules(0, 0, 360_000, 360_000, 810_000, 810_000)]) as trace:
        with trace.phase("train"):
            pass
        with trace.phase("sample"):
            pass
    found = phases(path)
    assert found["train"].total.bounds_j() == pytest.approx((324_000, 360_000, 396_000))
    assert found["sample"].total.energy_j == 450_000
    assert found["other"].total.energy_j == 0


def test_an_inner_phase_takes_over_and_the_outer_resumes(path: Path) -> None:
    with Trace(path, [joules(0, 1, 11, 111, 1111, 1111)]) as trace, trace.phase("train"), trace.phase("validate"):
        pass
    found = phases(path)
    assert [(name, found[name].total.energy_j) for name in found] == [("other", 1), ("train", 1010), ("validate", 100)]


def test_an_error_in_training_passes_through_and_leaves_the_energy(path: Path) -> None:
    with pytest.raises(KeyError), Trace(path, [joules(0, 0, 5)]) as trace, trace.phase("train"):
        raise KeyError("mine")
    assert phases(path)["train"].total.energy_j == 5


def test_a_resumed_run_adds_up_and_never_counts_twice(path: Path, tmp_path: Path) -> None:
    for _ in range(3):
        with Trace(path, [joules(50, 50, 150)]) as trace, trace.phase("train"):
            pass
    assert phases(path)["train"].total.energy_j == 300
    assert len(read_sessions([path])) == 3
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(path.read_bytes())
    assert phases(path, copy, path)["train"].total.energy_j == 300


def test_so_far_is_the_energy_of_earlier_processes_and_of_this_one(path: Path) -> None:
    with Trace(path, [joules(0, 0, 100)]) as trace, trace.phase("train"):
        pass
    assert trace.so_far().energy_j == 100
    with Trace(path, [joules(1000, 1000, 1010)]) as trace:
        assert trace.so_far().energy_j == 100
        with trace.phase("train"):
            pass
        assert trace.so_far().bounds_j() == pytest.approx((99, 110, 121))


def test_so_far_asks_the_meters_at_most_once_in_two_seconds(path: Path) -> None:
    meter = joules(0, 7)
    clock = [0.0]
    with Trace(path, [meter], interval_s=1000, clock=lambda: clock[0]) as trace:
        for _ in range(1000):
            trace.so_far()
        assert trace.so_far().energy_j is None, "one reading is no difference"
        clock[0] = 3.0
        for _ in range(1000):
            trace.so_far()
            if trace.so_far().energy_j is not None:
                break
            time.sleep(0.001)
        assert trace.so_far().energy_j == 7
        assert meter._next == 2


def test_a_thread_reads_the_meters_at_each_interval(path: Path) -> None:
    with Trace(path, [joules(0, 1, 2, 3, 4)], interval_s=0.02), path.open() as file:
        deadline = time.monotonic() + 10
        lines: list[str] = []
        while len(lines) < 5 and time.monotonic() < deadline:
            lines += file.readlines()
            time.sleep(0.01)
    assert len(lines) >= 5


def test_an_absent_component_is_left_out_of_the_total_and_named(path: Path) -> None:
    meters = [joules(0, 0, 10), joules(None, None, None, component="gpu1")]
    with Trace(path, meters) as trace, trace.phase("train"):
        pass
    phase = phases(path)["train"]
    assert (phase.total.energy_j, phase.absent) == (10, ("gpu1",))


def test_two_meters_of_one_name_add_up(path: Path) -> None:
    with Trace(path, [joules(0, 0, 10), joules(0, 0, 32)]) as trace, trace.phase("train"):
        pass
    assert phases(path)["train"].total.energy_j == 42


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_meter_that_raises_is_absent_and_training_goes_on(path: Path, after: int) -> None:
    with Trace(path, [Failing(after), joules(0, 0, 5, component="cpu")]) as trace, trace.phase("train"):
        pass
    phase = phases(path)["train"]
    assert trace.problem == "a meter failed (ZeroDivisionError: the meter is broken)"
    assert phase.total.energy_j == 5
    assert len(phase.absent) == 1


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -5.0])
def test_an_impossible_reading_is_no_reading(path: Path, odd: float) -> None:
    meter = ReplayMeter([(Reading("gpu0", "counter", value, value, value),) for value in (0.0, 0.0, odd)])
    with Trace(path, [meter]) as trace, trace.phase("train"):
        pass
    assert phases(path)["train"].total.energy_j is None
    assert phases(path)["train"].absent == ("gpu0",)


def test_a_meter_that_hangs_holds_training_up_once_and_is_reported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lichen.energy.trace.ANSWER_S", 0.1)
    release = threading.Event()

    class Hanging(ReplayMeter):
        def read(self) -> tuple[Reading, ...]:
            if self._next == 2:
                release.wait(20)
            return super().read()

    meter = Hanging([(measured("gpu0", "counter", joule, 0.0),) for joule in (0.0, 0.0, 40.0)])
    with Trace(path, [meter]) as trace:
        with trace.phase("train"):
            pass
        start = time.monotonic()
        for _ in range(100):
            with trace.phase("train"):
                pass
        assert time.monotonic() - start < 5  # a hundred waits would be ten seconds
        assert "have not answered" in (trace.problem or "")
        release.set()
    deadline = time.monotonic() + 10
    while trace._thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sum(phase.total.energy_j or 0 for phase in read_traces([path])) == 40
    assert trace.problem is None


def test_a_failing_sync_is_reported_and_the_lines_are_not_counted_twice(path: Path) -> None:
    calls: Iterator[int] = iter(range(1000))

    def sync(descriptor: int) -> None:
        if next(calls) in {2, 3}:
            raise OSError(5, "Input/output error")
        os.fsync(descriptor)

    with Trace(path, [joules(0, 0, 10, 20)], sync=sync) as trace:
        with trace.phase("train"):
            assert "Input/output error" in (trace.problem or "")
        with trace.phase("train"):
            assert trace.problem is None, "the disk is well again"
    assert phases(path)["train"].total.energy_j == 10
    assert trace.so_far().energy_j == 20
    assert sum(phase.total.energy_j or 0 for phase in read_traces([path])) == 20


def test_a_full_disk_stops_neither_training_nor_the_sum() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with Trace(full, [joules(0, 0, 10)]) as trace, trace.phase("train"):
        pass
    assert trace.problem == "/dev/full cannot be written: No space left on device"
    assert trace.so_far().energy_j == 10


def test_a_folder_that_cannot_be_made_is_a_problem_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Trace(tmp_path / "file" / "energy.jsonl", [joules(0, 0, 10)]) as trace, trace.phase("train"):
        pass
    assert trace.problem is not None
    assert "energy.jsonl cannot be written" in trace.problem


@given(cut=st.integers(0, 2000))
def test_a_trace_cut_anywhere_loses_at_most_the_interval_it_was_in(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "energy.jsonl"
    with Trace(path, [joules(0, 10, 20, 30, 40)]) as trace, trace.phase("train"), trace.phase("validate"):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - min(cut, len(whole))])
    lines_left = path.read_bytes().count(b"\n")
    kept = sum(phase.total.energy_j or 0 for phase in read_traces([path]))
    # the session line, the sample of 0 J, then 10 J a line up to 40; a line lacks at most its end when it is understood
    assert kept in {min(40, 10 * max(0, lines_left - 2)), min(40, 10 * max(0, lines_left - 1))}
    with Trace(path, [joules(0, 0, 7)]) as trace, trace.phase("again"):
        pass
    assert phases(path)["again"].total.energy_j == 7
    assert trace.so_far().energy_j == pytest.approx(kept + 7)


VICTIM = """
import sys, time
from pathlib import Path
from lichen.energy import Trace, Reading
class Clock:
    start = time.monotonic()
    def describe(self): return "1000 W"
    def read(self):
        j = 1000 * (time.monotonic() - self.start)
        return (Reading("gpu0", "counter", j, j, j),)
with Trace(Path(sys.argv[1]), [Clock()], interval_s=0.05) as trace, trace.phase("train"):
    print("go", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_leaves_all_that_it_had_read(path: Path, kill: signal.Signals) -> None:
    start_s, lines = time.monotonic(), 0
    for _ in range(2):  # and the second process goes on in the first one's file
        with subprocess.Popen([sys.executable, "-c", VICTIM, path], stdout=subprocess.PIPE) as victim:
            assert victim.stdout is not None
            victim.stdout.readline()
            begun = len(path.read_text().splitlines())
            while (lines := len(path.read_text().splitlines())) < begun + 6:
                assert victim.poll() is None
                time.sleep(0.01)
            victim.send_signal(kill)
    first, second = read_sessions([path])
    assert first.id != second.id
    assert lines > 2 * 6
    # each line is a reading, an interval of 50 ms or more after the one before
    most_j = 1000 * (time.monotonic() - start_s)
    assert 1000 * 0.05 * 2 * 5 <= (phases(path)["train"].total.energy_j or 0) <= most_j


def test_two_processes_that_write_one_file_are_both_counted(path: Path) -> None:
    one, two = Trace(path, [joules(0, 0, 10)]), Trace(path, [joules(500, 500, 520)])
    with one, two, one.phase("train"), two.phase("train"):
        pass
    assert phases(path)["train"].total.energy_j == 30


def test_many_threads_may_ask_how_much_it_is_so_far(path: Path) -> None:
    with Trace(path, [joules(*range(1000))], interval_s=0.001) as trace:
        seen: list[list[float]] = [[] for _ in range(8)]

        def ask(mine: list[float]) -> None:
            mine.extend(trace.so_far().energy_j or 0.0 for _ in range(2000))

        threads = [threading.Thread(target=ask, args=(mine,)) for mine in seen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(mine == sorted(mine) for mine in seen)
    assert trace.problem is None
    assert sum(phase.total.energy_j or 0 for phase in read_traces([path])) == trace.so_far().energy_j


def test_phases_that_ran_side_by_side_took_as_long_as_the_longest(tmp_path: Path) -> None:
    clock = [0.0]
    paths = [tmp_path / f"energy-h-{rank}.jsonl" for rank in range(2)]
    for path, seconds in zip(paths, (10, 30), strict=True):
        for _ in range(2):  # each resumed once
            trace = Trace(path, [joules(0, 0, 5)], interval_s=1000, clock=lambda: clock[0])
            with trace, trace.phase("train"):
                clock[0] += seconds
    assert phases(*paths)["train"].duration_s == 60
    assert phases(*paths)["train"].total.energy_j == 20


def test_wall_clocks_are_for_people_and_a_jump_changes_nothing(path: Path) -> None:
    with Trace(path, [joules(0, 0, 10)]) as trace, trace.phase("train"):
        pass
    before = phases(path)
    path.write_text(path.read_text().replace('"wall":"2', '"wall":"1'))
    assert phases(path) == before


def test_every_line_is_json_that_is_understood_and_says_who_measured(path: Path) -> None:
    with Trace(path, [joules(0, 0, 10)]) as trace, trace.phase("train"):
        pass
    lines = path.read_text().splitlines()
    assert all(parse_line(line) is not None for line in lines)
    session = json.loads(lines[0])
    assert (session["kind"], session["pid"], session["meters"]) == (
        "session",
        os.getpid(),
        ["replay of recorded readings"],
    )
    assert all({"wall", "mono_s", "phase", "readings"} <= json.loads(line).keys() for line in lines[1:])


def test_a_file_that_is_no_trace_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"loss": 1}\n{"loss": 2}\n')
    with pytest.raises(EnergyError, match=r"log\.jsonl is no trace"):
        read_traces([path])
    with pytest.raises(EnergyError, match=r"none\.jsonl cannot be read"):
        read_traces([tmp_path / "none.jsonl"])


def test_the_device_is_synchronised_before_each_change_of_phase(path: Path) -> None:
    calls: list[str] = []

    def synchronise() -> None:
        calls.append("sync")
        if len(calls) == 2:
            raise RuntimeError("CUDA error")

    with Trace(path, [joules(0, 0, 10)], synchronise=synchronise) as trace, trace.phase("train"):
        pass
    assert len(calls) == 2
    assert trace.problem == "the device could not be synchronised: CUDA error"
    assert phases(path)["train"].total.energy_j == 10


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("n7.cluster-a", "energy-n7.cluster-a-3.jsonl"),
        ("../a b:c", "energy-a_b_c-3.jsonl"),
        ("", "energy-host-3.jsonl"),
    ],
)
def test_the_file_name_of_a_trace_is_safe_on_every_file_system(host: str, name: str) -> None:
    assert trace_name(3, host) == name


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=20))
def test_an_energy_of_parts_is_their_sum(parts: list[float]) -> None:
    whole = sum((Energy(part, part, part) for part in parts), start=Energy(None, None, None))
    assert whole.energy_j == pytest.approx(sum(parts))
