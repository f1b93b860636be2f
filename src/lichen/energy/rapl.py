"""CPU packages and memory: the RAPL counters that Linux shows under ``/sys/class/powercap`` (Intel, and AMD since Zen).

They count the whole machine, other programs included. Reading them needs a right that most systems give to root only.

A counter that is smaller than before has wrapped, or began anew because the machine slept. Only the power that a wrap
would mean tells the two apart. And a counter that was not read for long may have wrapped unseen; the interval says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lichen.energy.readings import Reading, absent, measured

POWERCAP = Path("/sys/class/powercap")
PACKAGE_ERROR = 0.05
"""Relative error of the package counter since Haswell (Hackenberg et al., IPDPSW 2015: close to a reference meter)."""
DRAM_ERROR = 0.20
"""Relative error of the memory counter (Desrochers et al., MEMSYS 2016: within 20 %)."""

MOST_W = 1000.0
"""No package with the memory beside it draws more: the largest are made for 500 W (AMD EPYC 9965)."""
STEP_S = 1.0
"""Counters and clocks are not read at one moment, nor does a counter move all the time: power is compared over this
time at least."""


class _Domain:
    """One counter in microjoules that starts again at 0 after ``max_energy_range_uj``."""

    def __init__(self, folder: Path, component: str, error: float, device: str, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last_s = clock()
        self._unseen_uj = 0
        self._file, self._component, self._error, self._device = folder / "energy_uj", component, error, device
        self._range_uj = _number(folder / "max_energy_range_uj")
        self._last_uj = _number(self._file)
        self._total_uj = 0
        self.failure = ""

    def read(self) -> Reading:
        if not self.failure:
            self._count()
        if self.failure:
            return absent(self._component, self._device)
        counted = measured(self._component, "counter", self._total_uj / 1e6, self._error, self._device)
        return replace(counted, high_j=(self._total_uj * (1 + self._error) + self._unseen_uj) / 1e6)

    def _count(self) -> None:
        try:
            now_uj = _number(self._file)
        except (OSError, ValueError) as error:
            self.failure = f"{self._file}: {error}"
            return
        now_s = self._clock()
        passed_s, self._last_s = max(0.0, now_s - self._last_s), now_s
        step_uj, self._last_uj = now_uj - self._last_uj, now_uj
        if step_uj < 0:
            step_uj += self._range_uj
            if not 0 <= step_uj <= MOST_W * 1e6 * max(passed_s, STEP_S):
                self.failure = f"{self._file}: it began anew, as after the machine slept"
                return
        self._total_uj += step_uj
        wraps = (MOST_W * 1e6 * passed_s - step_uj) // self._range_uj if self._range_uj > 0 else 0.0
        self._unseen_uj += int(max(0.0, wraps)) * self._range_uj


class RaplMeter:
    """The energy of each CPU package (``cpu0``, ...) and of the memory beside it (``ram0``, ...), where counted.

    A counter wraps after minutes to hours (65 to 262 kJ); read it once a minute, or the high end grows.

    Raises ``OSError`` or ``ValueError`` if a package counter is there and cannot be read; without any there are no
    ``components``.
    """

    def __init__(self, root: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        self._domains: dict[str, _Domain] = {}
        for folder in sorted(root.glob("intel-rapl:*")):
            name = (folder / "name").read_text(encoding="ascii").strip()
            number = folder.name.split(":")[1]
            if name.startswith("package-"):
                self._domains[f"cpu{number}"] = _Domain(folder, f"cpu{number}", PACKAGE_ERROR, f"rapl-{name}", clock)
            elif name == "dram":
                self._domains[f"ram{number}"] = _Domain(
                    folder, f"ram{number}", DRAM_ERROR, f"rapl-dram-{number}", clock
                )

    @property
    def components(self) -> tuple[str, ...]:
        """What is counted, e.g. ``("cpu0", "ram0")``."""
        return tuple(sorted(self._domains))

    def describe(self) -> str:
        """What is counted, or why not."""
        failures = [domain.failure for domain in self._domains.values() if domain.failure]
        how = (
            f"; no reading since: {failures[0]}" if failures else ", other programs included, within 5 % (memory 20 %)"
        )
        return f"{', '.join(self.components)}: RAPL counters of the whole machine{how}"

    def read(self) -> tuple[Reading, ...]:
        """One reading per counter."""
        return tuple(self._domains[component].read() for component in self.components)


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))
