"""CPU and memory without any counter: what this process and its children used x watts typical of such hardware."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from lichen.energy.readings import Reading


@dataclass(frozen=True)
class Watts:
    """A power per unit that is known roughly."""

    low: float
    middle: float
    high: float


WATTS_PER_CORE = Watts(2.0, 7.0, 15.0)
"""W per busy core. Thermal design power / cores is 4 to 10 W in server processors since 2016 and 7 to 24 W in desktop
ones (Green Algorithms' table of 75 processors: 3.8 to 24; EPYC 7552 4.2, Xeon Gold 6148 7.5, Ryzen 9 3950X 6.6, Core
i7-9700K 11.9). A hardware thread that shares its core counts as a whole one here, hence the low end at half of 4."""

WATTS_PER_GB = Watts(0.08, 0.3725, 0.75)
"""W per GB of resident memory: 0.3725 in Green Algorithms (Lannelongue et al. 2021, after Karyakin and Salem 2017),
0.08 in its present reference values; the high end is twice the middle."""

TICK_S = 0.01
"""Linux counts CPU time in steps of this length."""

RESCAN_S = 10.0
"""Children are looked for this often: it takes milliseconds on a machine with many processes."""


class ProcessMeter:
    """CPU time x W per core and resident memory x W per GB, of this process and its descendants.

    A child counts while it runs, and after its end through its parent, which the system credits with its time when it
    waits for it. So nothing is counted twice, and the sum never falls: it stands still while a child's time is on its
    way.
    Other programs, and what the machine uses when idle, are not counted.
    """

    def __init__(
        self,
        *,
        cpu: bool = True,
        memory: bool = True,
        watts_per_core: Watts = WATTS_PER_CORE,
        watts_per_gb: Watts = WATTS_PER_GB,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu, self._memory, self._clock = cpu, memory, clock
        self._watts_per_core, self._watts_per_gb = watts_per_core, watts_per_gb
        self._process = psutil.Process()
        self._children: list[psutil.Process] = []
        self._scanned_s = -float("inf")
        self._last_s = clock()
        self._first_cpu_s, self._last_gb = self._use()
        self._cpu_s = self._gb_s = 0.0
        self._has_read = False

    def describe(self) -> str:
        """What is estimated, with which watts."""
        core, gb = self._watts_per_core, self._watts_per_gb
        parts = []
        if self._cpu:
            parts.append(
                f"cpu: estimated, CPU time of this process x {core.middle:g} W ({core.low:g} to {core.high:g})"
            )
        if self._memory:
            parts.append(f"ram: estimated, memory in use x {gb.middle:g} W/GB ({gb.low:g} to {gb.high:g})")
        return "; ".join(parts)

    def read(self) -> tuple[Reading, ...]:
        """The estimates asked for, ``cpu`` and ``ram``."""
        now_s = self._clock()
        cpu_s, gb = self._use()
        self._cpu_s = max(self._cpu_s, cpu_s - self._first_cpu_s)
        self._gb_s += (gb + self._last_gb) / 2 * max(0.0, now_s - self._last_s)
        self._last_s, self._last_gb = now_s, gb
        readings = []
        if self._cpu:
            tick_s = TICK_S if self._has_read else 0.0  # once: what one reading lacks, the next one has
            readings.append(_estimate("cpu", self._cpu_s, self._watts_per_core, tick_s))
        if self._memory:
            readings.append(_estimate("ram", self._gb_s, self._watts_per_gb))
        self._has_read = True
        return tuple(readings)

    def _use(self) -> tuple[float, float]:
        """CPU seconds ever used and gigabytes now resident, each parent read before its children.

        In that order a child that ends between two reads is missed once and found at the next, never counted twice.
        """
        if self._clock() - self._scanned_s >= RESCAN_S:
            self._children = self._process.children(recursive=True)
            self._scanned_s = self._clock()
        cpu_s, gb = _use_of(self._process, shares_memory=False)
        for child in self._children:
            try:
                if not child.is_running():  # ended, and its number may already be another program's
                    continue
                child_cpu_s, child_gb = _use_of(child, shares_memory=True)
            except psutil.Error:
                continue
            cpu_s, gb = cpu_s + child_cpu_s, gb + child_gb
        return cpu_s, gb


def _use_of(process: psutil.Process, *, shares_memory: bool) -> tuple[float, float]:
    with process.oneshot():
        times, memory = process.cpu_times(), process.memory_info()
    # macOS and Windows do not tell the time of ended children: their processes have 0 here
    cpu_s = times.user + times.system + times.children_user + times.children_system
    shared = getattr(memory, "shared", 0) if shares_memory else 0
    return cpu_s, max(memory.rss - shared, 0) / 1e9


def _estimate(component: str, unit_s: float, watts: Watts, slack_s: float = 0.0) -> Reading:
    low_j, high_j = max(0.0, unit_s - slack_s) * watts.low, (unit_s + slack_s) * watts.high
    return Reading(component, "estimated", unit_s * watts.middle, low_j, high_j)
