"""GPU counters, with a stand-in for the driver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_nvml import UUIDS, FakeNvml, gpu_meters_of
from lichen.energy import PhaseEnergy, Reading, Trace, find_meters, read_traces, survey_meters
from lichen.energy.nvml import visible_devices


def read(nvml: FakeNvml, environment: Mapping[str, str] | None = None) -> list[Reading]:
    return [reading for meter in gpu_meters_of(nvml, environment) for reading in meter.read()]


def run(path: Path, nvml: FakeNvml, *joules: list[float | None], environment: Mapping[str, str] | None = None) -> None:
    """One phase per list of later counters."""
    with Trace(path, gpu_meters_of(nvml, environment)) as trace:
        for number, later in enumerate(joules):
            with trace.phase(f"phase {number}"):
                nvml.joules = later


def phases(*paths: Path) -> dict[str, PhaseEnergy]:
    return {phase.phase: phase for phase in read_traces(paths)}


def test_a_gpu_that_dies_is_absent_from_then_on_and_keeps_what_it_had_used(tmp_path: Path) -> None:
    path = tmp_path / "energy.jsonl"
    run(path, FakeNvml([0.0, 0.0]), [100.0, 100.0], [200.0, None], [300.0, 300.0])
    first, second, third = (phases(path)[f"phase {number}"] for number in range(3))
    assert (first.total.energy_j, first.absent) == (200.0, ())
    assert (second.total.energy_j, second.absent) == (100.0, ("gpu1",))
    assert (third.total.energy_j, third.absent) == (100.0, ("gpu1",)), "a GPU that came back is not trusted"
    assert [part.energy.energy_j for part in third.components if part.source == "absent"] == [None]


def test_a_gpu_without_a_counter_is_absent_and_the_total_is_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "energy.jsonl"
    run(path, FakeNvml([None, 0.0]), [None, 50.0])
    phase = phases(path)["phase 0"]
    assert (phase.total.energy_j, phase.absent) == (50.0, ("gpu0",))


def test_a_gpu_that_fell_off_the_bus_is_absent_and_the_others_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "energy.jsonl"
    run(path, FakeNvml([0.0] * 3, lost=frozenset({1})), [10.0, 0.0, 10.0])
    phase = phases(path)["phase 0"]
    assert (phase.total.energy_j, phase.absent) == (20.0, ("gpu1",))


def test_a_counter_that_falls_is_a_reloaded_driver_and_no_reading() -> None:
    nvml = FakeNvml([100.0])
    (meter,) = gpu_meters_of(nvml)
    nvml.joules = [1.0]
    assert [reading.source for reading in meter.read()] == ["absent"]
    nvml.joules = [200.0]
    assert [reading.source for reading in meter.read()] == ["absent"]
    assert "its counter fell" in meter.describe()


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [
        (None, (0, 1, 2, 3)),
        ("", ()),
        ("2,0", (2, 0)),
        (" 1 , 1,GPU-abbb-1", (1,)),
        ("GPU-cccc", (2,)),
        ("GPU-a,0", ()),  # not unique: hides itself and all after it
        ("0,-1,1", (0,)),
        ("1,9,0", (1,)),
        ("MIG-1234,0", ("MIG-1234", 0)),
        ("NoDevFiles", ()),
        (",0", ()),
        ("0,,1", (0,)),
        ("GPU-,0", ()),
        ("gpu-cccc-2", ()),
        ("1" * 5000, ()),  # more digits than Python turns into a number
        ("١", ()),  # a digit to Python and not to CUDA
        ("1.0,2", ()),
        ("+1", ()),
        ("0x1", ()),
    ],
)
def test_visible_devices_mean_what_they_mean_to_cuda(setting: str | None, chosen: tuple[int | str, ...]) -> None:
    assert visible_devices(setting, UUIDS[:4]) == chosen


def test_only_visible_gpus_are_counted() -> None:
    readings = read(FakeNvml([0.0] * 4), {"CUDA_VISIBLE_DEVICES": "GPU-cccc-2,0"})
    assert [(reading.component, reading.device) for reading in readings] == [("gpu2", UUIDS[2]), ("gpu0", UUIDS[0])]


def test_no_visible_gpu_is_said_and_not_counted_as_zero() -> None:
    survey = survey_meters(nvml=FakeNvml([0.0]), rapl_root=Path("/nowhere"), environment={"CUDA_VISIBLE_DEVICES": ""})
    assert any("CUDA_VISIBLE_DEVICES" in note for note in survey.notes)
    assert not any(meter.describe().startswith("gpu") for meter in survey.meters)


def test_a_slice_of_a_gpu_is_absent_because_it_has_no_power_of_its_own() -> None:
    by_name = read(FakeNvml([0.0]), {"CUDA_VISIBLE_DEVICES": "MIG-1234"})
    whole = read(FakeNvml([0.0], partitioned=True))
    assert [reading.source for reading in by_name + whole] == ["absent", "absent"]


def test_the_ranks_of_a_host_share_its_gpus_out_and_count_each_once() -> None:
    def seen_by(rank: int) -> list[str]:
        environment = {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2"}
        return [reading.component for reading in read(FakeNvml([0.0] * 4), environment)]

    assert (seen_by(0), seen_by(1)) == (["gpu0", "gpu2"], ["gpu1", "gpu3"])


def test_of_a_job_the_first_process_on_a_host_counts_every_gpu_and_the_others_none(tmp_path: Path) -> None:
    def seen_by(rank: int) -> list[str]:
        meters = find_meters(
            nvml=FakeNvml([0.0] * 4),
            rapl_root=tmp_path,
            environment={"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": "0,1,3"},
            whole_machine=rank == 0,
        )
        readings = (reading for meter in meters for reading in meter.read())
        return [reading.component for reading in readings if reading.component.startswith("gpu")]

    assert (seen_by(0), seen_by(1)) == (["gpu0", "gpu1", "gpu3"], [])


@pytest.mark.parametrize(("rank", "ranks"), [("5", "4"), ("x", "2"), ("-1", "2"), ("0", "1" * 5000), ("0", "0")])
def test_a_launcher_that_says_something_odd_leaves_all_gpus_to_the_process(rank: str, ranks: str) -> None:
    readings = read(FakeNvml([0.0] * 8), {"LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": ranks})
    assert len(readings) == 8


@given(st.text(), st.text(), st.text())
def test_no_environment_makes_the_search_for_meters_fail(setting: str, rank: str, ranks: str) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": setting, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": ranks}
    names = {reading.component for reading in read(FakeNvml([0.0] * 4), environment)}
    assert {name for name in names if not name.startswith("gpu-MIG-")} <= {"gpu0", "gpu1", "gpu2", "gpu3"}


def test_a_rank_that_sees_one_gpu_counts_it_whatever_its_number() -> None:
    environment = {"LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "4", "CUDA_VISIBLE_DEVICES": "3"}
    assert [reading.component for reading in read(FakeNvml([0.0] * 4), environment)] == ["gpu3"]


def test_two_ranks_that_count_one_gpu_over_the_same_time_count_it_once(tmp_path: Path) -> None:
    nvml = FakeNvml([0.0])
    one, two = tmp_path / "energy-h-0.jsonl", tmp_path / "energy-h-1.jsonl"
    clock = [0.0]

    first, second = (Trace(path, gpu_meters_of(nvml), interval_s=1e6, clock=lambda: clock[0]) for path in (one, two))
    with first, second, first.phase("train"):
        clock[0], nvml.joules = 10.0, [1000.0]
        with second.phase("train"):
            clock[0], nvml.joules = 40.0, [4000.0]
    assert phases(one)["train"].total.energy_j == 4000.0
    assert phases(two)["train"].total.energy_j == 3000.0
    for paths in ((one, two), (two, one)):
        assert sum(phase.total.energy_j or 0 for phase in read_traces(paths)) == pytest.approx(4000.0)


def test_a_machine_without_a_driver_has_no_gpu_meter_and_says_why() -> None:
    survey = survey_meters(nvml=FakeNvml([]), rapl_root=Path("/nowhere"), devices=Path("/nowhere"), environment={})
    assert any("Driver Not Loaded" in note for note in survey.notes)


@pytest.mark.parametrize("device", ["nvidia0", "kfd"])
def test_a_gpu_that_is_there_and_cannot_be_measured_is_absent_and_not_zero(tmp_path: Path, device: str) -> None:
    (tmp_path / device).touch()
    meters = find_meters(nvml=FakeNvml([]), rapl_root=tmp_path, devices=tmp_path, environment={})
    assert [reading.source for reading in meters[0].read()] == ["absent"]


def test_meters_are_found_on_this_machine_and_read_something() -> None:
    readings = [reading for meter in find_meters() for reading in meter.read()]
    assert any(reading.component.startswith("cpu") for reading in readings)
