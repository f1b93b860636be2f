"""One workload, three trackers: how far apart are they, by which choices, and what is left when these are the same?

A thread multiplies matrices while lichen, codecarbon and carbontracker measure the same process at the same time; then
it does so again for lichen and codecarbon's process mode. Each starts as its user would start it on a machine without
network who names no place (codecarbon's process mode is told one). Then their choices are made the same, one after the
other.

    python benchmarks/agreement.py [--peers PYTHON] [--seconds 90]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from peers import CARBONTRACKER_PUE, LICHEN_PLACE, TRACKERS, ask, environment, interpreter
from report import write_results

from lichen.carbon import J_PER_KWH, grams, intensity
from lichen.energy.process import WATTS_PER_CORE

LICHEN = "lichen.energy.Trace"
PASSES = (("zeus", "carbontracker", "codecarbon, online", LICHEN), ("codecarbon, process mode", LICHEN))
"""Those that measure at the same time, in the order of their starts; lichen's window is inside the others'. The two of
codecarbon are kept apart: they share psutil's memory of the last look at the load."""
ANSWER = "answer.json"
CPU_W = WATTS_PER_CORE.middle
TARGET = 0.03


def measure(names: list[str], seconds: float, folder: Path) -> dict[str, Any]:
    """What each of ``names`` says of the same ``seconds`` of work, and what the kernel says of it."""
    import numpy as np

    trackers = {}
    for name in names:
        if name.startswith("codecarbon"):  # it looks for its hardware at the first start, which takes a second
            once = TRACKERS[name][1](folder)
            once.start()
            once.stop()
        trackers[name] = TRACKERS[name][1](folder)
    left, right = (np.random.default_rng(0).standard_normal((768, 768), np.float32) for _ in range(2))
    for tracker in trackers.values():
        tracker.start()
    ended = threading.Event()
    looks = [kernel()]
    looker = threading.Thread(target=look, args=(looks, ended))
    looker.start()
    while time.monotonic() - looks[0]["wall_s"] < seconds:
        left @ right
    ended.set()
    looker.join()
    said = {name: trackers[name].stop() for name in reversed(names)}
    for name in names:
        if name.startswith("codecarbon"):
            said[name]["tdp_w"] = codecarbon_tdp_w()
    return {
        **said,
        "kernel": [{name: after[name] - before[name] for name in after} for before, after in pairwise(looks)],
    }


def look(looks: list[dict[str, float]], ended: threading.Event) -> None:
    """Ask the kernel every second, as codecarbon does: its power is no straight line of the load."""
    while not ended.wait(1.0):
        looks.append(kernel())
    looks.append(kernel())


def codecarbon_tdp_w() -> float:
    """The power of all processors at full load, as codecarbon takes it: from its table, or 4 W a thread."""
    from codecarbon.core.cpu import TDP
    from codecarbon.core.util import count_physical_cpus

    return float(TDP().tdp * count_physical_cpus())


def kernel() -> dict[str, float]:
    """Seconds so far: of the clock, of CPU by this process, and of CPU by the whole machine."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    times = psutil.cpu_times()
    # as psutil and so codecarbon count it; a guest's time is already in the user's
    idle_s = sum(getattr(times, name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))
    return {
        "wall_s": time.monotonic(),
        "process_s": own.ru_utime + own.ru_stime,
        "machine_s": sum(times) - idle_s,
    }


def in_child(python: str, names: list[str], seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [python, __file__, "--seconds", str(seconds)]
        for name in names:
            command += ["--tracker", name]
        subprocess.run(
            command,
            env=environment(),
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        said: dict[str, Any] = json.loads((Path(folder) / ANSWER).read_text(encoding="utf-8"))
    return said


@dataclass
class Column:
    """One tracker: what it said, and that after each correction."""

    kwh: float
    g: float | None
    lichen_kwh: float
    """What lichen said of the same run, with its estimate."""

    def cell(self) -> str:
        mass = "" if self.g is None else f", {self.g:.3g} g"
        return f"{1e6 * self.kwh:.1f} mWh{mass} (x {self.kwh / self.lichen_kwh:.3f})"


@dataclass(frozen=True)
class Inputs:
    """What is known of a run, for the models of all."""

    kwh: float
    low_kwh: float
    high_kwh: float
    ram_w: float
    seconds: float
    process_s: float
    """CPU time of the process, by the kernel."""
    machine_s: float
    """The same of all programs."""
    loads: tuple[tuple[float, float], ...]
    """(seconds, share of all cores in use), one after the other."""

    @classmethod
    def of(cls, said: dict[str, Any]) -> Inputs:
        lichen, looks = said[LICHEN], said["kernel"]
        low_j, middle_j, high_j = (sum(ends) for ends in zip(*lichen["joules"].values(), strict=True))
        cores = psutil.cpu_count() or 1
        return cls(
            kwh=middle_j / J_PER_KWH,
            low_kwh=low_j / J_PER_KWH,
            high_kwh=high_j / J_PER_KWH,
            ram_w=lichen["joules"]["ram"][1] / lichen["duration_s"],
            seconds=sum(seen["wall_s"] for seen in looks),
            process_s=sum(seen["process_s"] for seen in looks),
            machine_s=sum(seen["machine_s"] for seen in looks),
            loads=tuple((seen["wall_s"], min(1.0, seen["machine_s"] / seen["wall_s"] / cores)) for seen in looks),
        )


def kwh(watts: float, seconds: float) -> float:
    return watts * seconds / J_PER_KWH


def codecarbon_steps(said: dict[str, Any], inputs: Inputs) -> list[Callable[[float], float]]:
    """PUE, memory, CPU and scope for codecarbon: each takes its kWh and gives the corrected ones.

    ``hardware.CPU._get_power_from_cpu_load`` and ``ram.RAM._calculate_ram_power`` of codecarbon 3.3.2.
    """
    seconds, machine = said["duration"], said["tracking_mode"] == "machine"
    longer = seconds / inputs.seconds
    if machine:
        theirs_j = longer * sum(said["tdp_w"] * (0.1 + 0.9 * load**3) * took for took, load in inputs.loads)
        ours_j = longer * CPU_W * inputs.machine_s
        others_j = longer * CPU_W * (inputs.machine_s - inputs.process_s)
    else:
        theirs_j = said["cpu_energy"] * J_PER_KWH
        ours_j = theirs_j * CPU_W * said["cpu_count"] / said["tdp_w"]
        others_j = 0.0
    return [
        lambda before: before / said["pue"],
        lambda before: before - said["ram_energy"] + kwh(inputs.ram_w, seconds),
        lambda before: before + (ours_j - theirs_j) / J_PER_KWH,
        lambda before: before - others_j / J_PER_KWH,
    ]


def carbontracker_steps(said: dict[str, Any], inputs: Inputs) -> list[Callable[[float], float]]:
    """The same for carbontracker: ``generic.GenericCPU`` and ``tracker.total_energy_per_epoch`` of 2.4.7."""
    seconds = said["duration"]
    process_w = CPU_W * inputs.process_s / inputs.seconds
    return [
        lambda before: before / CARBONTRACKER_PUE,
        lambda before: before + kwh(inputs.ram_w, seconds),
        lambda before: before + kwh(process_w - said["watts"], seconds),
        lambda before: before,
    ]


def columns(said: dict[str, Any], inputs: Inputs, g_per_kwh: float) -> dict[str, list[Column]]:
    """For each other tracker of a run: as told, and after each correction."""
    found = {}
    for name, told in said.items():
        if name.startswith("codecarbon"):
            steps = codecarbon_steps(told, inputs)
        elif name == "carbontracker":
            steps = carbontracker_steps(told, inputs)
        else:
            continue
        energy_kwh = told["kwh"]
        column = [Column(energy_kwh, told["g"], inputs.kwh), Column(energy_kwh, energy_kwh * g_per_kwh, inputs.kwh)]
        for step in steps:
            energy_kwh = step(energy_kwh)
            column.append(Column(energy_kwh, energy_kwh * g_per_kwh, inputs.kwh))
        found[name] = column
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has the other trackers")
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--tracker", action="append", choices=TRACKERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tracker:
        said = measure(arguments.tracker, arguments.seconds, Path.cwd())
        Path(ANSWER).write_text(json.dumps(said), encoding="utf-8")
        return

    python = interpreter(arguments.peers)
    versions, skipped = ask(python, list(dict.fromkeys(name for names in PASSES for name in names)))
    place = intensity(LICHEN_PLACE)
    nowhere = intensity(None)
    assert place.g_per_kwh.estimate is not None
    table: dict[str, list[Column]] = {}
    lichens: list[Inputs] = []
    zeus = ""
    runs = []
    for names in PASSES:
        said = in_child(python, [name for name in names if name in versions], arguments.seconds)
        runs.append(said)
        print(json.dumps(said, indent=1), flush=True)
        if set(said[LICHEN]["sources"].values()) != {"estimated"}:
            raise SystemExit("this machine has counters of energy: these corrections are between models, without them")
        lichens.append(Inputs.of(said))
        table |= columns(said, lichens[-1], place.g_per_kwh.estimate)
        if "zeus" in said:
            zeus = f"zeus found {said['zeus']['devices']} devices and told {said['zeus']['kwh']:g} kWh. "

    lichen = lichens[0]
    world = grams((lichen.low_kwh * J_PER_KWH, lichen.kwh * J_PER_KWH, lichen.high_kwh * J_PER_KWH), nowhere)
    there = Column(lichen.kwh, lichen.kwh * place.g_per_kwh.estimate, lichen.kwh).cell()
    span = f"{1e6 * lichen.low_kwh:.1f} to {1e6 * lichen.high_kwh:.1f}"
    lichen_cells = [f"{1e6 * lichen.kwh:.1f} mWh ({span}), {world.low:.2g} to {world.high:.2g} g", *[there] * 5]
    labels = ("as told", "+ one place", "+ one PUE", "+ one model of memory", "+ one power of a core", "+ one scope")
    rows = [
        (label, lichen_cells[number], *(column[number].cell() for column in table.values()))
        for number, label in enumerate(labels)
    ]
    left = {name: column[-1].kwh / column[-1].lichen_kwh - 1 for name, column in table.items()}
    rows.append(("left over", "", *(f"{100 * share:+.2f} %" for share in left.values())))
    worst = max(map(abs, left.values()), default=0.0)
    told_g = [column[0].g for column in table.values() if column[0].g]
    apart = f"As told, the others' grams are {max(told_g) / min(told_g):.0f} times apart. " if told_g else ""
    cores, others = lichen.process_s / lichen.seconds, (lichen.machine_s - lichen.process_s) / lichen.seconds
    note = (
        f"{', '.join(dict.fromkeys(text for text in versions.values() if text != 'lichen'))}. {arguments.seconds:g} s "
        f"of one thread at work: {cores:.2f} cores in use by it and {others:.2f} by the rest of the machine; the "
        "process mode in a second such run. There is no RAPL counter and no GPU here, so every figure is an estimate "
        f"by a model, and so is what they agree on. {apart}{zeus}1 mWh = 1e-6 kWh; "
        "in brackets: energy against lichen's of the same run."
        f"\n\n{explanations(runs, place.g_per_kwh.estimate)}\n\n"
        f"After all corrections at most {100 * worst:.2f} % is left; the target is {100 * TARGET:g} %."
        + ("\n\n" + " ".join(skipped) if skipped else "")
    )
    write_results(__file__, ("", "lichen", *table), rows, note)


def explanations(runs: list[dict[str, Any]], g_per_kwh: float) -> str:
    """A line for each correction."""
    told = {name: words for said in runs for name, words in said.items()}
    machine, process = told.get("codecarbon, online"), told.get("codecarbon, process mode")
    tracker = told.get("carbontracker")
    place, memory, core = [], [], []
    if machine:
        place.append(f"codecarbon took {machine['place']}, {machine['g'] / machine['kwh']:.3g} g/kWh")
        memory.append(f"codecarbon has {machine['ram_power']:g} W for the memory slots it supposes in the machine")
        core.append(f"codecarbon has {machine['tdp_w']:g} W for all cores x (0.1 + 0.9 x load^3)")
    if process:
        place.append(f"in process mode it was told {process['place']}, {process['g'] / process['kwh']:.3g}")
        memory.append(f"{process['ram_power']:g} W at least in process mode")
        core.append(f"in process mode {process['tdp_w'] / process['cpu_count']:g} W a core in use")
    if tracker:
        place.append(f"carbontracker the world, {tracker['g'] / tracker['kwh']:.3g}")
        memory.append("carbontracker none")
        core.append(
            f"carbontracker {tracker['watts']:g} W, half of the design power of the first processor in its table with "
            "such a name, whatever the load"
        )
    lines = {
        "place": (
            f"without network and place {', '.join(place)}, and lichen a range over the world; all get {g_per_kwh:g}, "
            "lichen's for France"
        ),
        "PUE": f"carbontracker's kWh are x {CARBONTRACKER_PUE:g}; all get 1",
        "memory": f"{', '.join(memory)}; all get lichen's, memory of the process x W/GB",
        "power of a core": (
            f"{', '.join(core)}; what that gives for the load that the kernel tells is exchanged for lichen's "
            f"{CPU_W:g} W a core in use"
        ),
        "scope": (
            "codecarbon counts the whole machine unless told otherwise; the CPU time of other programs, by the kernel, "
            "is taken off"
        ),
        "what is left": (
            "how each of them read the clock and the CPU time; of carbontracker, which reads no load, the clock alone"
        ),
    }
    return "\n".join(f"- {name}: {text}." for name, text in lines.items())


if __name__ == "__main__":
    main()
