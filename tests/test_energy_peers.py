"""What other trackers get wrong when they measure, one test each; programs run as users run them.

carbontracker 2.4.7 averages several GPUs, and ends the training process when its monitor fails. codecarbon 3.3.2 puts a
machine without network in Quebec, leaves no file after SIGKILL, and counts a GPU without an energy counter as
0 kWh. zeus 0.16 reports a total of 0 J where there is no GPU. codecarbon calls three hosts unasked.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fake_nvml import FakeNvml, gpu_meters_of
from lichen.energy import PhaseEnergy, Trace, read_traces, survey_meters
from test_offline import FORBIDDING

TESTS = Path(__file__).parent
ELSEWHERE = {
    "the building's overhead is one fixed number": (
        "test_carbon_grams.py::test_an_unknown_pue_stretches_only_the_high_end_and_estimates_the_computer_alone"
    ),
    "an unknown place is a country": (
        "test_carbon_grams.py::test_no_place_is_the_range_of_the_world_without_an_estimate"
    ),
    "a killed process leaves nothing": "test_energy_trace.py::test_a_killed_process_leaves_all_that_it_had_read",
    "a command asks the network": "test_offline.py::test_every_command_works_without_network_and_without_a_home",
}
"""Defects of the same list, and the tests that keep us from them."""


@pytest.mark.parametrize("defect", ELSEWHERE)
def test_the_defects_that_other_files_test_are_tested_there(defect: str) -> None:
    file, _, name = ELSEWHERE[defect].partition("::")
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def phases(path: Path) -> dict[str, PhaseEnergy]:
    return {phase.phase: phase for phase in read_traces([path])}


def on_a_machine(folder: Path, gpus: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python where the driver, found as ``pynvml``, has these GPUs: the arguments of ``FakeNvml``."""
    driver = folder / "driver"
    driver.mkdir()
    (driver / "pynvml.py").write_text(
        f"import sys\nfrom fake_nvml import FakeNvml\nsys.modules[__name__] = FakeNvml({gpus})\n"
    )
    search = [str(driver), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    hidden = {"CUDA_VISIBLE_DEVICES", "LOCAL_RANK", "LOCAL_WORLD_SIZE"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={name: value for name, value in os.environ.items() if name not in hidden}
        | {"PYTHONPATH": os.pathsep.join(search), "OMP_NUM_THREADS": "1"},
        timeout=120,
    )


def measured(folder: Path, gpus: str) -> dict[str, object]:
    """What ``lichen measure`` says of a program that sleeps for a second."""
    program = [sys.executable, "-c", "import time; time.sleep(1)"]
    done = on_a_machine(folder, gpus, "-m", "lichen", "measure", "--json", "--", *program)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stderr)
    return found


def test_two_gpus_of_100_w_for_an_hour_use_a_fifth_of_a_kilowatt_hour(tmp_path: Path) -> None:
    path, nvml = tmp_path / "energy.jsonl", FakeNvml([7.0, 5e6])
    with Trace(path, gpu_meters_of(nvml)) as trace, trace.phase("train"):
        nvml.joules = [7.0 + 360_000, 5e6 + 360_000]
    phase = phases(path)["train"]
    assert phase.total.kwh == pytest.approx(0.2)
    assert phase.total.bounds_j() == pytest.approx((0.95 * 720_000, 720_000, 1.05 * 720_000))
    assert {(part.component, part.source) for part in phase.components} == {("gpu0", "counter"), ("gpu1", "counter")}
    assert phase.absent == ()


def test_four_polled_gpus_of_100_w_draw_400_w_and_not_100(tmp_path: Path) -> None:
    found = measured(tmp_path, "[None] * 4, [100.0] * 4")
    energy_j, duration_s, sources = found["energy_j"], found["duration_s"], found["sources"]
    assert isinstance(energy_j, dict)
    assert isinstance(duration_s, float)
    assert isinstance(sources, dict)
    assert {sources[f"gpu{index}"] for index in range(4)} == {"polled"}
    assert 390 < energy_j["estimate"] / duration_s < 450  # and some watts of CPU and memory


TRAINING = """
import shutil, sys, time
from pathlib import Path
import pynvml
from lichen.energy import Trace, find_meters

class Meter:
    def __init__(self, error): self.error, self.left = error, 2
    def describe(self): raise self.error
    def read(self):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return ()

start_s, folder = time.monotonic(), Path(sys.argv[1])
strangers = [Meter(error) for error in (ZeroDivisionError(), SystemExit(3), OSError(5, "gone"), MemoryError())]
with Trace(folder / "energy.jsonl", [*find_meters(), *strangers], interval_s=0.02) as trace, trace.phase("train"):
    for step in range(20):
        time.sleep(0.02)
        if step == 5:  # both GPUs fall off the bus
            pynvml.joules, pynvml.watts = [None, None], [None, None]
        if step == 10:  # and the disk goes away
            shutil.rmtree(folder)
            folder.touch()
print("trained", step + 1, trace.problem is not None, time.monotonic() - start_s < 5)
"""


def test_a_monitor_that_fails_in_every_way_never_ends_training(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    done = on_a_machine(tmp_path, "[0.0, None], [None, 100.0]", "-c", TRAINING, folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "trained 20 True True\n", "")


def test_a_gpu_without_counter_and_sensor_is_said_to_be_missing_and_not_counted_as_0(tmp_path: Path) -> None:
    found = measured(tmp_path, "[None], [None]")
    sources = found["sources"]
    assert isinstance(sources, dict)
    assert sources["gpu0"] == "absent"
    path, nvml = tmp_path / "energy.jsonl", FakeNvml([None])
    with Trace(path, gpu_meters_of(nvml)) as trace, trace.phase("train"):
        pass
    assert phases(path)["train"].total.energy_j is None
    assert phases(path)["train"].absent == ("gpu0",)


def test_no_gpu_at_all_is_said_and_is_no_total_of_0(tmp_path: Path) -> None:
    survey = survey_meters(nvml=FakeNvml([]), rapl_root=tmp_path, devices=tmp_path, environment={})
    assert "GPU: none found; the NVIDIA driver does not answer (Driver Not Loaded)" in survey.notes
    path = tmp_path / "energy.jsonl"
    with Trace(path, gpu_meters_of(FakeNvml([]))) as trace, trace.phase("train"):
        pass
    assert phases(path)["train"].total.bounds_j() is None
    assert trace.so_far().energy_j is None


def test_measuring_opens_no_socket(tmp_path: Path) -> None:
    code = """
import time
import lichen
with lichen.measure("work") as cost:
    time.sleep(0.3)
assert cost.sources["gpu0"] == "polled", cost.sources
print(cost.carbon_g.low < cost.carbon_g.high, cost.carbon_g.estimate)
"""
    done = on_a_machine(tmp_path, "[None], [100.0]", "-c", FORBIDDING + code)
    assert (done.stdout, done.stderr) == ("True None\n", ""), "and the place, which nobody looked up, is a range"
