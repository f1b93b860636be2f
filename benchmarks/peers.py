"""lichen and the trackers it stands beside, each behind the same two calls.

Imported in the interpreter that has them (``--peers``), with lichen by ``PYTHONPATH``; each package is imported when
its tracker is made, so that the import can be timed and a missing one costs only itself.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parents[1] / "src"
NO_NETWORK = "http://127.0.0.1:9"
"""A proxy that nobody runs: what asks the network is refused at once, here and on a machine that has one."""
LICHEN_PLACE = "FR"
CODECARBON_PLACE = "FRA"
CARBONTRACKER_PUE = 1.58
"""Built into carbontracker 2.4, ``constants.PUE_2023``: part of each kWh it tells."""


class Tracker:
    """The run without a tracker, and what the others fill in."""

    def __init__(self, folder: Path) -> None: ...

    def start(self) -> None: ...

    def step(self) -> None:
        """What a training loop does for it after each step."""

    def stop(self) -> dict[str, Any]:
        """What it says: ``kwh`` and ``g`` where it says so, and what else tells how it got there."""
        return {}


class LichenTrace(Tracker):
    """``lichen.energy.Trace`` with the meters found here, one phase."""

    def __init__(self, folder: Path) -> None:
        from lichen.energy import Trace, find_meters

        self._trace = Trace(folder / "energy.jsonl", find_meters())
        self._stack = ExitStack()

    def start(self) -> None:
        self._stack.enter_context(self._trace)
        self._stack.enter_context(self._trace.phase("train"))

    def stop(self) -> dict[str, Any]:
        from lichen.energy import read_traces

        self._stack.close()
        phases = [phase for phase in read_traces([self._trace.path]) if phase.phase == "train"]
        parts = {part.component: part for phase in phases for part in phase.components}
        return {
            "duration_s": sum(phase.duration_s for phase in phases),
            "joules": {name: part.energy.bounds_j() for name, part in parts.items()},
            "sources": {name: part.source for name, part in parts.items()},
        }


class LichenAsked(LichenTrace):
    """The same, asked for its sum after every step, as a progress bar does; the meters are read every 2 s then."""

    def step(self) -> None:
        self._trace.so_far()


class LichenMeasure(Tracker):
    """``lichen.measure``."""

    def __init__(self, _folder: Path) -> None:
        import lichen

        self._measurement = lichen.measure("train", grid=LICHEN_PLACE)

    def start(self) -> None:
        self._measurement.__enter__()

    def stop(self) -> dict[str, Any]:
        self._measurement.__exit__(None, None, None)
        return self._measurement.as_json()


class _CodeCarbon(Tracker):
    """What codecarbon's trackers have in common: its own defaults, no place asked over the network."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker

    def start(self) -> None:
        self._tracker.start()

    def stop(self) -> dict[str, Any]:
        kg = self._tracker.stop()
        data = self._tracker.final_emissions_data
        inputs = ("duration", "cpu_energy", "ram_energy", "ram_power", "cpu_count", "cpu_utilization_percent")
        return {
            "kwh": data.energy_consumed,
            "g": 1000 * kg,
            "place": f"{data.country_name}, {data.region}" if data.region else data.country_name,
            **{name: getattr(data, name) for name in (*inputs, "tracking_mode", "pue")},
        }


def _offline(folder: Path) -> _CodeCarbon:
    from codecarbon import OfflineEmissionsTracker

    return _CodeCarbon(OfflineEmissionsTracker(country_iso_code=CODECARBON_PLACE, output_dir=str(folder)))


def _offline_process(folder: Path) -> _CodeCarbon:
    from codecarbon import OfflineEmissionsTracker

    return _CodeCarbon(
        OfflineEmissionsTracker(
            country_iso_code=CODECARBON_PLACE, output_dir=str(folder), tracking_mode="process", project_name="process"
        )
    )


def _online(folder: Path) -> _CodeCarbon:
    from codecarbon import EmissionsTracker

    return _CodeCarbon(EmissionsTracker(output_dir=str(folder)))


class CarbonTracker(Tracker):
    """carbontracker over one epoch, its log kept."""

    def __init__(self, folder: Path) -> None:
        from carbontracker.tracker import CarbonTracker as Theirs

        self._folder = folder / "carbontracker"
        self._tracker = Theirs(epochs=1, log_dir=str(self._folder))

    def start(self) -> None:
        self._tracker.epoch_start()

    def stop(self) -> dict[str, Any]:
        from carbontracker.parser import parse_all_logs

        thread = self._tracker.tracker
        self._tracker.epoch_end()  # the last epoch: it prints its sum and ends its threads
        log = parse_all_logs(log_dir=str(self._folder))[0]
        return {
            "kwh": log["actual"]["energy (kWh)"],
            "g": log["actual"]["co2eq (g)"],
            "duration": thread.epoch_times[-1],
            "watts": float(log["components"]["cpu"]["avg_power_usages (W)"].mean()),
        }


class Zeus(Tracker):
    """zeus's monitor, one window."""

    def __init__(self, _folder: Path) -> None:
        from zeus.monitor import ZeusMonitor

        self._monitor = ZeusMonitor()

    def start(self) -> None:
        self._monitor.begin_window("train")

    def stop(self) -> dict[str, Any]:
        seen = self._monitor.end_window("train")
        parts = [seen.gpu_energy, seen.cpu_energy or {}, seen.dram_energy or {}]
        return {"kwh": sum(sum(part.values()) for part in parts) / 3.6e6, "devices": sum(map(len, parts))}


TRACKERS: dict[str, tuple[str, Callable[[Path], Tracker]]] = {
    "nothing": ("", Tracker),
    "lichen.energy.Trace": ("lichen.energy", LichenTrace),
    "lichen.energy.Trace, so_far() each step": ("lichen.energy", LichenAsked),
    "lichen.measure": ("lichen.measuring", LichenMeasure),
    "codecarbon": ("codecarbon", _offline),
    "codecarbon, process mode": ("codecarbon", _offline_process),
    "codecarbon, online": ("codecarbon", _online),
    "carbontracker": ("carbontracker.tracker", CarbonTracker),
    "zeus": ("zeus.monitor", Zeus),
}
"""Name -> (what importing it means, how it is made). Making it is part of starting it."""


def version(name: str) -> str:
    """The tracker's name with its version, e.g. ``codecarbon 3.3.2``."""
    package = TRACKERS[name][0].partition(".")[0]
    return package if package in {"", "lichen"} else f"{package} {importlib.metadata.version(package)}"


def environment() -> dict[str, str]:
    """What a child is given: one thread, lichen from this checkout, no network."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NO_NETWORK)
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCES), **proxies}


def interpreter(given: str) -> str:
    """Where it is, links kept: a virtual environment is known by them."""
    return str(Path(shutil.which(given) or given).absolute())


def ask(python: str, names: list[str]) -> tuple[dict[str, str], list[str]]:
    """The trackers of ``names`` that ``python`` can import, with their versions; a sentence for each that it cannot."""
    found, skipped = {}, []
    for name in names:
        done = subprocess.run(
            [python, __file__, name], env=environment(), capture_output=True, text=True, check=False, timeout=120
        )
        if done.returncode:
            error = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            skipped.append(f"{name} is skipped: it cannot be imported ({error}).")
        else:
            found[name] = done.stdout.strip().splitlines()[-1]
    return found, skipped


if __name__ == "__main__":
    if TRACKERS[sys.argv[1]][0]:
        importlib.import_module(TRACKERS[sys.argv[1]][0])
    print(version(sys.argv[1]) or sys.argv[1])
