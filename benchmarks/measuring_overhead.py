"""What measuring costs: lichen, codecarbon, carbontracker and zeus beside no tracker at all, in one run and in turns.

Each turn is a fresh process. Asleep, all at the same time: the tracker is imported and started, and the process sleeps
for a window. At work, one after the other: training-like steps for a quarter of a window without the tracker, a whole
window with it, and a quarter without it again.

    python benchmarks/measuring_overhead.py [--peers PYTHON] [--rounds 3] [--seconds 30]
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from peers import TRACKERS, ask, environment, interpreter
from report import write_results

NAMES = [name for name in TRACKERS if name != "codecarbon, online"]
SIDE = 768
"""Two square matrices of this side are multiplied in one step, about 10 ms on one core."""
MB = 1e6
ANSWER = "answer.json"


def process_cpu_s() -> float:
    """CPU seconds of this process, threads that have ended included, and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Steps:
    """Steps of a fixed amount of work, on the main thread."""

    def __init__(self) -> None:
        chance = np.random.default_rng(0)
        self._left, self._right = (chance.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
        self._out = np.empty((SIDE, SIDE), np.float32)

    def run(self, seconds: float, after: Callable[[], None] = lambda: None) -> tuple[float, int]:
        """(wall seconds, steps) of at least ``seconds``."""
        begun = now = time.perf_counter()
        done = 0
        while now - begun < seconds:
            np.matmul(self._left, self._right, out=self._out)
            after()
            done += 1
            now = time.perf_counter()
        return now - begun, done


def timed(what: Callable[[], object]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


class Started:
    """A tracker that was imported, made and started, and what that took."""

    def __init__(self, name: str, folder: Path) -> None:
        module, make = TRACKERS[name]
        self._me = psutil.Process()
        self._resident = self._me.memory_info().rss
        self.import_s = timed(lambda: importlib.import_module(module)) if module else 0.0
        begun_s = time.perf_counter()
        self.tracker = make(folder)
        self.tracker.start()
        self.start_s = time.perf_counter() - begun_s

    def memory_mb(self) -> float:
        """What the process grew by since before the import."""
        return (self._me.memory_info().rss - self._resident) / MB


def asleep(name: str, seconds: float, folder: Path) -> dict[str, float]:
    started = Started(name, folder)
    cpu_s, wall_s = process_cpu_s(), time.perf_counter()
    time.sleep(seconds)
    idle = (process_cpu_s() - cpu_s) / (time.perf_counter() - wall_s)
    started.tracker.stop()
    return {"idle": idle}


def at_work(name: str, seconds: float, folder: Path) -> dict[str, float]:
    steps = Steps()
    steps.run(1.0)
    without = [steps.run(seconds / 4)]
    started = Started(name, folder)
    cpu_s, own_s = process_cpu_s(), time.thread_time()
    with_it = steps.run(seconds, started.tracker.step)
    busy = (process_cpu_s() - cpu_s - (time.thread_time() - own_s)) / with_it[0]
    memory_mb = started.memory_mb()
    stop_s = timed(started.tracker.stop)
    without.append(steps.run(seconds / 4))
    step_s = sum(wall for wall, _ in without) / sum(done for _, done in without)
    return {
        "import_s": started.import_s,
        "start_s": started.start_s,
        "stop_s": stop_s,
        "busy": busy,
        "step_s": step_s,
        "ratio": with_it[0] / with_it[1] / step_s,
        "memory_mb": memory_mb,
    }


WORKLOADS = {"asleep": asleep, "at work": at_work}


def turns_side_by_side(python: str, names: list[str], workload: str, seconds: float) -> dict[str, dict[str, float]]:
    """The figures of each tracker's process; the processes run at the same time."""
    with tempfile.TemporaryDirectory() as root:
        children = {}
        for number, name in enumerate(names):
            folder = Path(root) / str(number)
            folder.mkdir()
            command = [python, __file__, "--turn", name, "--workload", workload, "--seconds", str(seconds)]
            children[folder] = (
                name,
                subprocess.Popen(
                    command, env=environment(), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ),
            )
        figures = {}
        for folder, (name, child) in children.items():
            if child.wait():
                raise SystemExit(f"{name} ended with an error")
            figures[name] = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
    return figures


def percent(share: float) -> str:
    return f"{abs(round(100 * share, 3)) if abs(share) < 1e-5 else 100 * share:.3f} %"


def row(name: str, turns: list[dict[str, float]], idle_without: float, memory_without: float) -> tuple[str, ...]:
    def middle(figure: str) -> float:
        return statistics.median(turn[figure] for turn in turns)

    ratios = sorted(turn["ratio"] for turn in turns)
    return (
        name,
        percent(middle("idle") - idle_without),
        percent(middle("busy")),
        f"{middle('ratio'):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
        f"{middle('import_s'):.2f}",
        f"{middle('start_s'):.3f}",
        f"{middle('stop_s'):.3f}",
        f"{middle('memory_mb') - memory_without:.0f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has the other trackers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0, help="a window; some trackers look every 15 s only")
    parser.add_argument("--turn", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--workload", choices=WORKLOADS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.turn:
        figures = WORKLOADS[arguments.workload](arguments.turn, arguments.seconds, Path.cwd())
        Path(ANSWER).write_text(json.dumps(figures), encoding="utf-8")
        return

    python = interpreter(arguments.peers)
    versions, skipped = ask(python, NAMES)
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in versions}
    for number in range(arguments.rounds):
        idle = turns_side_by_side(python, list(turns), "asleep", arguments.seconds)
        for name in list(turns) if number % 2 == 0 else list(reversed(turns)):
            turns[name].append(idle[name] | turns_side_by_side(python, [name], "at work", arguments.seconds)[name])
            print(number, name, json.dumps(turns[name][-1]), flush=True)

    nothing = turns["nothing"]
    idle_without = statistics.median(turn["idle"] for turn in nothing)
    memory_without = statistics.median(turn["memory_mb"] for turn in nothing)
    rows = [row(name, turns[name], idle_without, memory_without) for name in turns]
    others = ", ".join(dict.fromkeys(text for name, text in versions.items() if name.partition(".")[0] != "lichen"))
    step_ms = 1e3 * statistics.median(turn["step_s"] for turn in nothing)
    most = max(
        100 * statistics.median(turn[figure] for turn in turns[name])
        for name in turns
        if name.startswith("lichen")
        for figure in ("idle", "busy")
    )
    note = (
        f"{others.replace('nothing, ', '')}; all with their defaults, without network, output thrown away, in one "
        f"interpreter. Medians of {arguments.rounds} rounds, windows of {arguments.seconds:g} s.\n\n"
        "CPU is CPU time of the tracker per second of run, as a share of one core: asleep, that of the process less "
        "that of one without tracker; at work, that of all threads and children but the one that trains (the "
        "difference of two whole processes at work is noise 100 times as large). "
        f"A step is a product of two {SIDE} x {SIDE} matrices, {step_ms:.1f} ms on one thread; its ratio is the mean "
        "step with the tracker against the mean step just before and just after, in the same process, with the lowest "
        "and the highest round; the row without tracker tells the noise. Memory is what the process grew by from "
        "before the import, less the same without tracker.\n\n"
        f"lichen used at most {most:.3f} % of one core; the target is 0.5 %."
        + ("\n\n" + " ".join(skipped) if skipped else "")
    )
    header = ("tracker", "CPU, asleep", "CPU, at work", "step ratio", "import, s", "start, s", "stop, s", "memory, MB")
    write_results(__file__, header, rows, note)


if __name__ == "__main__":
    main()
