"""A driver of several GPUs, made of lists: the part of ``pynvml`` that lichen asks, for tests without a GPU."""
# ruff: noqa: ARG002, N802 (the functions are NVML's own)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lichen.energy import Meter, find_meters

UUIDS = ("GPU-aaaa-0", "GPU-abbb-1", "GPU-cccc-2", "GPU-dddd-3", "GPU-eeee-4", "GPU-ffff-5", "GPU-0000-6", "GPU-1111-7")


class FakeNvml:
    """Some GPUs by their counters in joules and their power in watts, both of which a test may change at any time.

    ``None`` is a question that the GPU answers with an error: from the start it has no such counter or sensor, later
    it has failed. ``lost`` are GPUs that have fallen off the bus: the driver counts them and gives no handle.
    """

    class NVMLError(Exception):
        pass

    def __init__(
        self,
        joules: Sequence[float | None],
        watts: Sequence[float | None] | None = None,
        *,
        limit_w: float | None = 300.0,
        partitioned: bool = False,
        lost: frozenset[int] = frozenset(),
    ) -> None:
        self.joules = list(joules)
        self.watts: list[float | None] = [None] * len(self.joules) if watts is None else list(watts)
        self.limit_w, self.partitioned, self.lost = limit_w, partitioned, lost
        self.polls = 0

    def nvmlInit(self) -> None:
        if not self.joules:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.joules)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index in self.lost:
            raise self.NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return UUIDS[handle]

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "Fake 100"

    def nvmlDeviceGetMigMode(self, handle: int) -> tuple[int, int]:
        if not self.partitioned:
            raise self.NVMLError("Not Supported")
        return (1, 1)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return self._milli(self.joules[handle])

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        self.polls += 1
        return self._milli(self.watts[handle])

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return self._milli(self.limit_w)

    def _milli(self, value: float | None) -> int:
        if value is None:
            raise self.NVMLError("Not Supported")
        return round(value * 1000)


def gpu_meters_of(nvml: FakeNvml, environment: Mapping[str, str] | None = None) -> list[Meter]:
    """The meters of its GPUs, as a program on such a machine finds them."""
    nowhere = Path("/nowhere")
    meters = find_meters(nvml=nvml, rapl_root=nowhere, devices=nowhere, environment=environment or {})
    return [meter for meter in meters if meter.describe().startswith("gpu")]
