"""What breaks around a trace: clocks, strangers' meters, limits of the system, other writers, damaged files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichen.energy import PhaseEnergy, Reading, ReplayMeter, Trace, read_sessions, read_traces
from lichen.energy.readings import measured
from lichen.energy.records import parse_line


def joules(*values: float) -> ReplayMeter:
    return ReplayMeter([(measured("gpu0", "counter", value, 0.1),) for value in values])


def phases(*paths: Path) -> dict[str, PhaseEnergy]:
    return {phase.phase: phase for phase in read_traces(paths)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "energy.jsonl"


def test_a_monotonic_clock_that_is_set_back_takes_nothing_away_and_stops_no_reading(path: Path) -> None:
    clock = [1e6]
    with Trace(path, [joules(*range(1000))], interval_s=0.02, clock=lambda: clock[0]) as trace:
        with trace.phase("train"):
            clock[0] = 0.0
            trace.so_far()  # has the meters read again, as no figure is from the future
            deadline = time.monotonic() + 30
            while trace._samples <= 5:  # the thread does not wait for the old time to come again
                assert time.monotonic() < deadline
                time.sleep(0.01)
        assert trace.so_far().energy_j == pytest.approx(trace._samples - 1, abs=2)
    assert (phases(path)["train"].total.energy_j or 0) > 3
    assert phases(path)["train"].duration_s >= 0


class Stranger:
    """A meter that gives what no meter should."""

    def __init__(self, gives: object) -> None:
        self.gives = gives

    def describe(self) -> str:
        return "a stranger's"

    def read(self) -> tuple[Reading, ...]:
        return self.gives  # type: ignore[return-value]


class Half:
    """A number that is none of Python's own, as numpy has."""

    def __float__(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    "gives",
    [None, 7, (None,), ("gpu0",), (Reading("gpu0", "counter", "many", 0, 0),)],  # type: ignore[arg-type]
)
def test_a_meter_that_gives_no_readings_is_a_problem_and_the_others_are_counted(path: Path, gives: object) -> None:
    with Trace(path, [Stranger(gives), joules(0, 0, 30)]) as trace, trace.phase("train"):
        pass
    assert "a meter failed" in (trace.problem or "")
    assert phases(path)["train"].total.energy_j == 30
    assert phases(path)["train"].absent == ("meter0",)


def test_a_meter_that_counts_in_numbers_of_its_own_is_understood(path: Path) -> None:
    half = Half()
    with Trace(path, [Stranger((Reading("gpu0", "counter", half, half, half),))]) as trace:  # type: ignore[arg-type]
        pass
    assert trace.problem is None
    assert json.loads(path.read_text().splitlines()[-1])["readings"] == [["gpu0", "counter", 0.5, 0.5, 0.5]]


def test_a_phase_named_after_a_file_with_half_a_letter_is_found_again(path: Path) -> None:
    with Trace(path, [joules(0, 0, 5)]) as trace, trace.phase("IRM-t\udce9te-ü"):
        pass
    assert trace.problem is None
    assert phases(path)["IRM-t\udce9te-ü"].total.energy_j == 5


def test_a_thread_that_cannot_go_on_says_so_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    start_s = time.monotonic()
    with Trace(tmp_path / "no\0path", [joules(0, 0, 5)]) as trace, trace.phase("train"):
        pass
    assert time.monotonic() - start_s < 5
    assert trace.problem == "energy is no longer recorded (ValueError: embedded null byte)"


def test_a_system_that_allows_no_further_thread_does_not_stop_training(path: Path) -> None:
    code = """
import resource, sys, threading
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fake_nvml import FakeNvml, gpu_meters_of
from lichen.energy import Trace
threading.stack_size(1 << 32)  # no thread fits into the memory that is allowed
resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))
nvml = FakeNvml([None], [100.0])
with Trace(Path(sys.argv[1]), gpu_meters_of(nvml)) as trace, trace.phase("train"):
    print("trained")
print(trace.problem)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, path, Path(__file__).parent], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "trained\nenergy is not recorded: can't start new thread\n"


WRITER = """
import sys
from pathlib import Path
from lichen.energy import Reading, Trace
class Many:
    joule = 0
    def describe(self): return "many GPUs"
    def read(self):
        self.joule += 1
        return tuple(Reading(f"gpu{n}", "counter", self.joule, self.joule, self.joule) for n in range(200))
with Trace(Path(sys.argv[1]), [Many()], interval_s=1e6) as trace:
    print("go", flush=True)
    for _ in range(int(sys.argv[2])):
        with trace.phase("train"):
            pass
"""


def test_processes_that_write_one_file_at_a_time_spoil_no_line_also_when_one_is_killed(path: Path) -> None:
    def writer(rounds: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", WRITER, path, str(rounds)], stdout=subprocess.PIPE)

    with writer(100) as one, writer(100) as two, writer(10**6) as victim:
        for process in (one, two, victim):
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(0.2)
        victim.kill()
    lines = [line for line in path.read_text().splitlines() if line]  # a writer who finds a torn line leaves it behind
    spoilt = [line for line in lines if parse_line(line) is None]
    assert len(spoilt) <= 1, "the victim's last"
    assert len(read_sessions([path])) == 3
    # each of the two took 202 readings of 200 GPUs
    total_j = sum(phase.total.energy_j or 0 for phase in read_traces([path]))
    assert total_j == 200 * (len(lines) - len(spoilt) - 3 - 3)
    assert total_j > 200 * 2 * 201


@pytest.mark.parametrize(
    "line",
    [
        '{"kind":"sample","session":"a","n":Infinity,"wall":"","mono_s":1,"phase":"x","readings":[]}',
        '{"kind":"sample","session":"a","n":1,"wall":"","mono_s":NaN,"phase":"x","readings":[]}',
        '{"kind":"sample","session":"a","n":1,"wall":"","mono_s":1e999,"phase":"x","readings":[]}',
        '{"kind":"sample","session":"a","n":1,"wall":"","mono_s":1,"phase":"x","readings":[["gpu0",[],1,1,1]]}',
        '{"kind":"sample","session":"a","n":1,"wall":"","mono_s":1,"phase":"x","readings":[["gpu0","counter",1]]}',
        '{"kind":"sample","session":"a","n":1,"wall":"","mono_s":1,"phase":"x","readings":7}',
        "[" * 100_000,
        '{"kind":' * 100_000,
        "1" * 10_000,
        '"kind"',
        "null",
        "\0" * 100,
    ],
)
def test_a_damaged_line_is_passed_over(path: Path, line: str) -> None:
    assert parse_line(line) is None
    with Trace(path, [joules(0, 0, 10)]) as trace, trace.phase("train"):
        pass
    path.write_text(f"{line}\n{path.read_text()}{line}\n")
    assert phases(path)["train"].total.energy_j == 10


@given(st.floats(0, 1), st.binary(min_size=1, max_size=8))
def test_a_file_damaged_anywhere_is_still_read_and_never_gives_a_negative_energy(
    tmp_path_factory: pytest.TempPathFactory, where: float, damage: bytes
) -> None:
    path = tmp_path_factory.mktemp("damage") / "energy.jsonl"
    with Trace(path, [joules(0, 10, 20, 30, 40)], sync=lambda _: None) as trace, trace.phase("a"), trace.phase("b"):
        pass
    data = bytearray(path.read_bytes())
    at = round(where * (len(data) - len(damage)))
    data[at : at + len(damage)] = damage
    path.write_bytes(data)
    for phase in read_traces([path]):
        assert phase.total.energy_j is None or phase.total.energy_j >= 0
        assert phase.duration_s >= 0
    read_sessions([path])
