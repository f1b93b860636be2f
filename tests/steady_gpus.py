"""A driver, to be put in place of pynvml, of GPUs that always draw the same power: joules are watts x seconds."""
# ruff: noqa: ARG002, N802 (the functions are NVML's own)

from __future__ import annotations

import time


class SteadyNvml:
    """GPUs of ``watts``; they fail all together once ``broken``."""

    class NVMLError(Exception):
        """The driver's own."""

    def __init__(self, *watts: float) -> None:
        self.watts, self.broken = watts, False

    def nvmlInit(self) -> None:
        """Nothing to do."""

    def nvmlDeviceGetCount(self) -> int:
        """How many there are."""
        return len(self.watts)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        """The index itself."""
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        """A name of its own for each."""
        return f"GPU-steady-{handle}"

    def nvmlDeviceGetName(self, handle: int) -> str:
        """One name for all."""
        return f"Steady {self.watts[handle]:g} W"

    def nvmlDeviceGetMigMode(self, handle: int) -> tuple[int, int]:
        """Not partitioned."""
        return (0, 0)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        """Millijoules since the machine was started."""
        if self.broken:
            raise RuntimeError("not even the driver's own error")
        return round(time.monotonic() * self.watts[handle] * 1000)
