"""CPU and memory: counters in a made-up tree, and estimates of real processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lichen.energy import ProcessMeter, RaplMeter, Reading, Watts, find_meters, survey_meters

BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


def domain(root: Path, folder: str, name: str, uj: int, range_uj: int = 262_143_328_850) -> Path:
    place = root / folder
    place.mkdir(parents=True)
    (place / "name").write_text(f"{name}\n")
    (place / "max_energy_range_uj").write_text(f"{range_uj}\n")
    counter = place / "energy_uj"
    counter.write_text(f"{uj}\n")
    return counter


def energies(readings: tuple[Reading, ...]) -> dict[str, float | None]:
    return {reading.component: reading.energy_j for reading in readings}


def test_packages_and_memory_are_counted_and_their_parts_are_not_counted_again(tmp_path: Path) -> None:
    package = domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    core = domain(tmp_path, "intel-rapl:0:0", "core", 0)
    memory = domain(tmp_path, "intel-rapl:0:1", "dram", 500_000)
    platform = domain(tmp_path, "intel-rapl:1", "psys", 0)
    again = domain(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    meter = RaplMeter(tmp_path)
    for counter in (core, platform, again):
        counter.write_text("999000000")
    package.write_text("11000000")
    memory.write_text("1500000")
    readings = meter.read()
    assert energies(readings) == {"cpu0": 10.0, "ram0": 1.0}
    assert [(reading.low_j, reading.high_j) for reading in readings] == [(9.5, 10.5), (0.8, 1.2)]


def test_a_counter_that_wraps_goes_on(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 9_000_000, range_uj=10_000_000)
    meter = RaplMeter(tmp_path)
    counter.write_text("2000000")
    assert energies(meter.read()) == {"cpu0": 3.0}
    counter.write_text("1000000")
    assert energies(meter.read()) == {"cpu0": 12.0}


def test_a_counter_that_began_anew_is_absent_and_no_wrap(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 200_000_000_000)
    clock = [0.0]
    meter = RaplMeter(tmp_path, clock=lambda: clock[0])
    clock[0] = 10.0
    counter.write_text("1000000")  # as a wrap it would be 63 kJ in 10 s
    assert energies(meter.read()) == {"cpu0": None}
    assert "began anew" in meter.describe()


def test_wraps_that_may_have_gone_unseen_are_in_the_interval(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 0, range_uj=100_000_000_000)
    clock = [0.0]
    meter = RaplMeter(tmp_path, clock=lambda: clock[0])
    clock[0] = 50.0
    counter.write_text("10000000000")
    assert [(r.low_j, r.energy_j, r.high_j) for r in meter.read()] == [pytest.approx((9500, 10_000, 10_500))]
    clock[0] += 450.0  # at 1000 W that is 450 kJ: the 50 kJ that are seen, and up to four rounds of 100 kJ
    counter.write_text("60000000000")
    assert [(r.low_j, r.energy_j, r.high_j) for r in meter.read()] == [pytest.approx((57_000, 60_000, 463_000))]


def test_a_counter_that_fails_is_absent_from_then_on(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = RaplMeter(tmp_path)
    counter.unlink()
    assert energies(meter.read()) == {"cpu0": None}
    counter.write_text("5000000")
    assert energies(meter.read()) == {"cpu0": None}
    assert "no reading since" in meter.describe()


def test_a_counter_that_may_not_be_read_gives_way_to_an_estimate_and_the_fix_is_said(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    counter.unlink()
    counter.mkdir()  # for root every file is readable; a folder is not
    survey = survey_meters(rapl_root=tmp_path, environment={})
    assert any("sudo chmod" in note for note in survey.notes)
    assert {(r.component, r.source) for meter in survey.meters for r in meter.read()} >= {("cpu", "estimated")}


def test_a_counter_that_stands_still_gives_way_to_an_estimate(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl:0", "package-0", 123)
    survey = survey_meters(rapl_root=tmp_path, environment={})
    assert any("stand still" in note for note in survey.notes)
    assert any(r.source == "estimated" for meter in survey.meters for r in meter.read() if r.component == "cpu")


def test_a_moving_package_counter_replaces_the_cpu_estimate_and_leaves_that_of_memory(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", 0)
    stop = threading.Event()

    def move() -> None:
        for uj in range(1, 100_000):
            other = counter.with_name("new")
            other.write_text(str(uj))
            other.replace(counter)
            if stop.wait(0.001):
                return

    thread = threading.Thread(target=move)
    thread.start()
    meters = find_meters(rapl_root=tmp_path, environment={})
    stop.set()
    thread.join()
    found = {(reading.component, reading.source) for meter in meters for reading in meter.read()}
    assert {pair for pair in found if not pair[0].startswith("gpu")} == {("cpu0", "counter"), ("ram", "estimated")}


def test_cpu_time_times_watts_is_the_estimate_with_its_interval() -> None:
    meter = ProcessMeter(memory=False, watts_per_core=Watts(2.0, 7.0, 15.0))
    start = time.process_time()
    while time.process_time() - start < 0.2:
        pass
    used_s = time.process_time() - start
    (reading,) = meter.read()
    assert (reading.component, reading.source) == ("cpu", "estimated")
    assert reading.energy_j == pytest.approx(7.0 * used_s, rel=0.25)  # the system's clock ticks every 10 ms
    assert reading.energy_j is not None
    assert (reading.low_j, reading.high_j) == pytest.approx((reading.energy_j * 2 / 7, reading.energy_j * 15 / 7))


def test_a_childs_cpu_time_counts_while_it_runs_and_after_it_ended_and_never_twice() -> None:
    clock = [0.0]
    meter = ProcessMeter(memory=False, watts_per_core=Watts(1.0, 1.0, 1.0), clock=lambda: clock[0])
    waiting = BURN.format(seconds=0.5) + "print('burnt', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "burnt\n"
        clock[0] = 100.0  # children are looked for again
        running = meter.read()[0].energy_j
        child.communicate("\n")
    ended = meter.read()[0].energy_j
    assert running is not None
    assert ended is not None
    assert 0.5 <= running <= ended < 0.9


def test_the_estimate_never_falls_while_children_come_and_go() -> None:
    meter = ProcessMeter(memory=False)
    seen = [0.0]
    for _ in range(3):
        subprocess.run([sys.executable, "-c", BURN.format(seconds=0.05)], check=True)
        seen.append(meter.read()[0].energy_j or 0.0)
    assert seen == sorted(seen)
    assert seen[-1] >= 7 * 0.15


def test_a_clock_that_is_set_back_takes_no_energy_away() -> None:
    clock = [1000.0]
    meter = ProcessMeter(cpu=False, clock=lambda: clock[0])
    seen = []
    for clock[0] in (1010.0, 500.0, 510.0):
        seen.append(meter.read()[0].energy_j or 0.0)
    assert 0 < seen[0] == seen[1] < seen[2]


def test_resident_memory_times_time_times_watts_per_gigabyte_is_the_estimate_of_memory() -> None:
    clock = [0.0]
    meter = ProcessMeter(cpu=False, watts_per_gb=Watts(1.0, 2.0, 3.0), clock=lambda: clock[0])
    block = bytearray(400_000_000)
    block[::4096] = b"\1" * len(block[::4096])
    (before,) = meter.read()
    clock[0] = 10.0
    (after,) = meter.read()
    assert before.energy_j == 0.0
    assert after.energy_j is not None
    assert 10 * 0.4 * 2 < after.energy_j < 10 * 4 * 2
    assert (after.low_j, after.high_j) == pytest.approx((after.energy_j / 2, after.energy_j * 1.5))
    assert len(block) == 400_000_000
