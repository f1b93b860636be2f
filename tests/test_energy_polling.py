"""Polled power: known profiles in, their joules out, and nothing worse than a missing reading when it goes wrong."""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_nvml import FakeNvml, gpu_meters_of
from lichen.energy import Trace, read_traces
from lichen.energy.polling import LATE_S, PowerIntegrator, poll_in_background

Profile = Callable[[float], float]


class Hardware:
    """A sensor whose power is a function of time, and the clock to ask it by."""

    def __init__(self, power_w: Profile) -> None:
        self.now_s, self._power_w = 0.0, power_w

    def clock(self) -> float:
        return self.now_s

    def read_w(self) -> float:
        return self._power_w(self.now_s)

    def integrator(self, *, limit_w: float | None = 300.0, error: float = 0.05) -> PowerIntegrator:
        return PowerIntegrator(self.read_w, limit_w=limit_w, error=error, clock=self.clock)


def polled(power_w: Profile, times_s: list[float], *, error: float = 0.0) -> tuple[float, float, float]:
    """(low, energy, high) of a profile that is asked for at these times, the first at 0."""
    hardware = Hardware(power_w)
    integrator = hardware.integrator(error=error)
    for hardware.now_s in times_s:
        integrator.poll()
    bounds = integrator.read().bounds_j()
    assert bounds is not None, integrator.failure
    return bounds


def tenths(seconds: float) -> list[float]:
    return [step / 10 for step in range(1, round(seconds * 10) + 1)]


def test_a_constant_power_is_power_times_time_within_the_sensors_error() -> None:
    assert polled(lambda _: 250.0, tenths(3600), error=0.05) == pytest.approx(
        (0.95 * 900_000, 900_000, 1.05 * 900_000), rel=1e-9
    )


def test_a_ramp_is_half_its_end_times_its_time_and_the_interval_is_one_poll_of_it_wide() -> None:
    low, energy, high = polled(lambda s: 100 * s, tenths(10))
    assert energy == pytest.approx(100 * 10**2 / 2)
    assert (low, high) == pytest.approx((energy - 1000 * 0.1 / 2, energy + 1000 * 0.1 / 2))


def square(seconds: float) -> float:
    """300 W in the first half of each second, 100 W in the second: 200 J a second."""
    return 300.0 if seconds % 1 < 0.5 else 100.0


def test_a_square_wave_lies_within_an_interval_of_one_poll_for_each_of_its_edges() -> None:
    low, energy, high = polled(square, [0.07 + tenth for tenth in [0.0, *tenths(100)]])
    true_j = 100 * 200 + 0.07 * 300  # the profile repeats each second; what is beyond the last one is at 300 W
    assert low < true_j < high
    assert energy == pytest.approx(true_j, rel=0.01)
    assert high - low == pytest.approx(200 * 200 * 0.1, rel=0.01)  # 200 edges of 200 W, each somewhere in 0.1 s


@given(
    edges_s=st.lists(st.floats(0.05, 20.0), min_size=1, max_size=20),
    waits_s=st.lists(st.floats(0.001, LATE_S), min_size=1, max_size=50),
)
def test_whatever_changes_once_between_two_polls_lies_within_the_interval(
    edges_s: list[float], waits_s: list[float]
) -> None:
    """Power steps up at each edge, so between two polls it stays between what they say."""
    times_s = [sum(waits_s[: n + 1]) for n in range(len(waits_s))]
    low, energy, high = polled(lambda s: 50.0 + sum(10.0 for edge in edges_s if edge <= s), times_s)
    end_s = times_s[-1]
    true_j = 50.0 * end_s + sum(10.0 * max(0.0, end_s - edge) for edge in edges_s)
    assert low - 1e-6 <= true_j <= high + 1e-6
    assert low <= energy <= high


def test_a_long_gap_is_between_nothing_and_the_boards_limit_and_the_rest_stays_sharp() -> None:
    hardware = Hardware(lambda _: 200.0)
    integrator = hardware.integrator(error=0.0)
    for hardware.now_s in [0.1, 0.2, 3600.2, 3600.3]:
        integrator.poll()
    assert integrator.read().bounds_j() == pytest.approx((0.3 * 200, 3600.3 * 200, 0.3 * 200 + 3600 * 300))


def test_a_long_gap_of_a_board_without_a_known_limit_is_no_reading_from_then_on() -> None:
    hardware = Hardware(lambda _: 200.0)
    integrator = hardware.integrator(limit_w=None)
    hardware.now_s = 5.0
    assert integrator.read().energy_j is None
    assert integrator.failure == "not polled for 5.0 s, and its highest power is not known"
    hardware.now_s = 5.1
    assert integrator.read().energy_j is None


@pytest.mark.parametrize("power_w", [math.nan, math.inf, -math.inf, -1.0, 2**32 / 1000])
def test_an_impossible_power_is_no_reading_from_then_on(power_w: float) -> None:
    said = [100.0, power_w, 100.0]
    integrator = PowerIntegrator(lambda: said.pop(0), limit_w=300.0)
    for _ in range(2):
        assert integrator.read().energy_j is None
    assert "its sensor said" in integrator.failure
    assert said == [100.0], "a sensor that failed is not asked again"


def test_a_clock_that_runs_backwards_is_no_reading_rather_than_a_negative_one() -> None:
    hardware = Hardware(lambda _: 100.0)
    integrator = hardware.integrator()
    for hardware.now_s in [10.0, 9.0]:
        integrator.poll()
    assert integrator.read().energy_j is None
    assert integrator.failure == "the clock ran backwards"


def test_a_gpu_without_a_counter_is_measured_by_its_power(tmp_path: Path) -> None:
    path = tmp_path / "energy.jsonl"
    nvml = FakeNvml([None, 0.0], [150.0, None])
    with Trace(path, gpu_meters_of(nvml)) as trace, trace.phase("train"):
        time.sleep(0.5)
        nvml.joules[1] = 30.0
    phase = next(phase for phase in read_traces([path]) if phase.phase == "train")
    bounds_j = {part.component: part.energy.bounds_j() for part in phase.components}
    assert {part.component: part.source for part in phase.components} == {"gpu0": "polled", "gpu1": "counter"}
    assert bounds_j["gpu0"] == pytest.approx(
        tuple(150.0 * phase.duration_s * part for part in (0.95, 1, 1.05)), rel=0.02
    )
    assert bounds_j["gpu1"] == pytest.approx((28.5, 30.0, 31.5))
    assert phase.absent == ()


def test_power_is_polled_ten_times_a_second_while_nobody_reads_the_meter() -> None:
    nvml = FakeNvml([None], [100.0])
    meters, start_s = gpu_meters_of(nvml), time.monotonic()

    def polls_in_a_second() -> int:
        before = nvml.polls
        time.sleep(1.0)
        return nvml.polls - before

    assert any(polls_in_a_second() >= 8 for _ in range(20)), "a busy machine wakes threads late, but not always"
    nvml.watts, before = [200.0], nvml.polls
    while nvml.polls < before + 3:
        time.sleep(0.05)
    nvml.watts = [100.0]
    (reading,) = meters[0].read()
    assert reading.low_j is not None
    assert reading.high_j is not None
    assert reading.low_j / 0.95 > 100 * (time.monotonic() - start_s), "the peak between two readings was seen"


def test_a_gpu_whose_power_fails_is_absent_from_then_on_and_its_thread_ends() -> None:
    nvml = FakeNvml([None], [100.0])
    (meter,) = gpu_meters_of(nvml)
    assert [reading.source for reading in meter.read()] == ["polled"]
    nvml.watts = [None]
    assert ended(power_threads())
    nvml.watts = [100.0]
    assert [(reading.source, reading.energy_j) for reading in meter.read()] == [("absent", None)]
    assert "stopped answering (NVMLError: Not Supported)" in meter.describe()


def test_a_gpu_with_neither_counter_nor_power_is_absent_and_says_why() -> None:
    for watts in (None, 0.0):  # 0 W is what a broken sensor says: a GPU that answers draws some
        (meter,) = gpu_meters_of(FakeNvml([None], [watts]))
        assert [reading.source for reading in meter.read()] == ["absent"]
        assert "no energy counter" in meter.describe()
        assert power_threads() == []


def test_a_slice_of_a_gpu_is_not_polled() -> None:
    (meter,) = gpu_meters_of(FakeNvml([None], [100.0], partitioned=True))
    assert [reading.source for reading in meter.read()] == ["absent"]


def test_the_thread_ends_when_its_meter_is_no_longer_in_use() -> None:
    meters = gpu_meters_of(FakeNvml([None, None], [100.0, 100.0]))
    threads = power_threads()
    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)
    del meters
    gc.collect()
    assert ended(threads)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit, MemoryError])
def test_a_driver_that_raises_anything_ends_the_reading_and_not_the_program(error: type[BaseException]) -> None:
    def broken() -> float:
        raise error

    integrator = PowerIntegrator(broken)
    poll_in_background(integrator, 0.001)
    assert integrator.read().energy_j is None


def power_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "lichen-power"]


def ended(threads: list[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(10)
    return not any(thread.is_alive() for thread in threads)


@pytest.fixture(autouse=True)
def _no_thread_is_left_over() -> None:
    gc.collect()
    assert ended(power_threads())


PROGRAM = """
import os, signal, sys, threading, time
sys.path.insert(0, {tests!r})
from fake_nvml import FakeNvml, gpu_meters_of
nvml = FakeNvml([None], [100.0])
meters = gpu_meters_of(nvml)
"""


def program(code: str, seconds: float = 20) -> subprocess.CompletedProcess[str]:
    """Run as a program that has one GPU of 100 W without a counter."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM.format(tests=str(Path(__file__).parent)) + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def test_a_program_ends_at_once_and_silently_while_its_gpu_is_polled() -> None:
    done = program("import time; time.sleep(0.3); print(time.monotonic())")
    assert time.monotonic() - float(done.stdout) < 5
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_neither_hangs_nor_counts_again_and_the_parent_goes_on() -> None:
    # many children, so that some are forked while the lock is held
    done = program("""
class Slow(FakeNvml):
    def nvmlDeviceGetPowerUsage(self, handle):
        time.sleep(0.05)
        return super().nvmlDeviceGetPowerUsage(handle)
meters = gpu_meters_of(Slow([None], [100.0]))
before = meters[0].read()[0].energy_j
for _ in range(20):
    time.sleep(0.02)
    child = os.fork()
    if not child:
        alive = [thread for thread in threading.enumerate() if thread.name == "lichen-power"]
        os._exit(0 if meters[0].read()[0].source == "absent" and not alive else 1)
    assert os.waitpid(child, 0)[1] == 0
print(meters[0].read()[0].source, meters[0].read()[0].energy_j > before)
""")
    assert (done.stdout, done.stderr) == ("polled True\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no signals that stop a process")
def test_a_program_that_was_stopped_does_not_know_what_its_gpu_did() -> None:
    done = program("""
child = os.fork()
if not child:
    time.sleep(0.2)
    os.kill(os.getppid(), signal.SIGSTOP)
    time.sleep(2)
    os.kill(os.getppid(), signal.SIGCONT)
    os._exit(0)
start_s = time.monotonic()
while time.monotonic() - start_s < 2:
    time.sleep(0.01)
reading = meters[0].read()[0]
os.waitpid(child, 0)
print(reading.low_j, reading.high_j)
""")
    low_j, high_j = map(float, done.stdout.split())
    assert low_j < 100 * 1.0
    assert high_j > 300 * 1.9, "it may have drawn its limit all the time"
