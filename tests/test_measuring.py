"""Anybody's code can be measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import lichen
from lichen.carbon import intensity
from lichen.errors import CarbonError, ConfigError
from lichen.measuring import Measurement, measure_command


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(i * i for i in range(1000))


def test_a_block_has_energy_and_grams_with_their_sources() -> None:
    begun_s = time.monotonic()
    with lichen.measure("work", grid="FR") as cost:
        assert cost.energy.energy_j is None
        burn(0.3)
    took_s = time.monotonic() - begun_s
    low, middle, high = cost.energy.bounds_j() or (0, 0, 0)
    assert 0.3 * 2 * 0.9 < low < middle < high  # at least 2 W per core
    assert cost.carbon_g is not None
    assert cost.carbon_g.estimate == pytest.approx(middle / 3.6e6 * (intensity("FR").g_per_kwh.estimate or 0))
    assert 0.25 < cost.duration_s <= took_s
    assert set(cost.sources.values()) <= {"counter", "polled", "estimated"}
    assert "France" in str(cost)


def test_an_unknown_place_is_a_range_and_a_wrong_one_an_error() -> None:
    with lichen.measure("work") as cost:
        burn(0.05)
    assert cost.carbon_g is not None
    assert cost.carbon_g.estimate is None
    with pytest.raises(CarbonError):
        lichen.measure("work", grid="Atlantis")
    with pytest.raises(CarbonError, match="PUE"):
        lichen.measure("work", pue=0.5)


def test_each_call_of_a_decorated_function_is_measured_on_its_own() -> None:
    found: list[Measurement] = []

    @lichen.measure("call", done=found.append)
    def work(depth: int) -> int:
        burn(0.05)
        return depth and work(depth - 1) + 1

    assert work(1) == 1
    inner, outer = (cost.energy.energy_j for cost in found)
    assert inner is not None
    assert outer is not None
    assert outer > inner > 0
    with pytest.raises(ConfigError, match="would go nowhere"):
        lichen.measure("call")(burn)


def test_what_fails_inside_is_measured_and_still_fails() -> None:
    with pytest.raises(KeyError), lichen.measure("work") as cost:  # noqa: PT012 (the measurement is what is tested)
        burn(0.05)
        raise KeyError
    assert cost.energy.energy_j is not None


def test_children_count_and_exit_codes_are_passed_on() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))']); sys.exit(7)"
    measurement = Measurement("program", intensity("DE"))
    assert measure_command([sys.executable, "-c", code], measurement) == 7
    assert (measurement.energy.energy_j or 0) > 0
    assert measure_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], measurement) == 137
    with pytest.raises(ConfigError, match="cannot be started"):
        measure_command(["no-such-program"], measurement)
    with pytest.raises(ConfigError, match="no command"):
        measure_command([], measurement)


def test_the_command_leaves_stdout_to_the_program() -> None:
    program = [sys.executable, "-c", "print('mine'); raise SystemExit(3)"]
    done = subprocess.run(
        [sys.executable, "-m", "lichen", "measure", "--carbon.grid", "NO", "--json", "--", *program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == "mine\n"
    found = json.loads(done.stderr)
    assert found["zone"] == "NO"
    assert found["carbon_g"]["low"] <= found["carbon_g"]["estimate"] <= found["carbon_g"]["high"]


def test_readings_are_never_added_to_a_file_of_something_else(tmp_path: Path) -> None:
    own = tmp_path / "notes.txt"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for text in ("my notes\n", '{"loss": 1.0}\n{"loss": 0.9}\n'):
        own.write_text(text)
        with pytest.raises(ConfigError, match="is no trace of energy readings"):
            lichen.measure("work", trace=own)
        assert own.read_text() == text
    for path in (tmp_path, pipe, Path()):
        with pytest.raises(ConfigError, match="is no trace of energy readings"):
            lichen.measure("work", trace=path)
    own.write_text("")
    for _ in range(2):
        with lichen.measure("work", trace=own) as cost:
            burn(0.05)
        assert cost.problem is None
    assert sum(record["kind"] == "session" for record in map(json.loads, own.read_text().splitlines())) == 2


def test_what_keeps_a_trace_from_the_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with lichen.measure("work", trace=tmp_path / "file" / "trace.jsonl") as cost:
        pass
    assert "cannot be written" in (cost.problem or "")


def test_a_name_cannot_move_the_cursor() -> None:
    with lichen.measure("a\x1b[2J\nb") as cost:
        pass
    assert str(cost).isprintable()


def test_what_only_begins_its_work_when_called_cannot_be_decorated() -> None:
    def steps() -> Iterator[int]:
        yield 1

    async def later() -> None: ...

    for function in (steps, later):
        with pytest.raises(ConfigError, match="only begins its work"):
            lichen.measure("work", done=print)(function)


def test_two_measurements_do_not_write_to_one_trace_at_once(tmp_path: Path) -> None:
    trace = tmp_path / "energy.jsonl"
    with lichen.measure("work", trace=trace):
        burn(0.02)
        with pytest.raises(ConfigError, match="another measurement is writing"), lichen.measure("work", trace=trace):
            pass
    with lichen.measure("work", trace=trace) as cost:  # afterwards it is free again, and the sum goes on
        burn(0.02)
    assert cost.energy.energy_j is not None
