"""What measuring costs: lichen, codecarbon, carbontracker and zeus beside no tracker at all, in one run and in turns.

Each round starts one process for each tracker. All sleep for a window; then they work in turns of a tenth of a second,
so that what else the machine does falls on all alike: a turn is a few training-like steps of a fixed amount of work.

    python benchmarks/measuring_overhead.py [--peers PYTHON] [--rounds 3] [--asleep 60] [--turns 200]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
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
from peers import TRACKERS, Tracker, ask, environment, interpreter
from report import write_results

NAMES = [name for name in TRACKERS if name != "codecarbon, online"]
NOTHING, AGAIN = "nothing", "nothing, again"
"""What the others are compared with, and a second one that tells how much of a difference is chance."""
SIDE = 768
"""Two square matrices of this side are multiplied in one step, about 10 ms on one core."""
TURN_S = 0.1
MB = 1e6

Figures = dict[str, float]


def cpu_s() -> float:
    """CPU seconds of this process, threads that have ended included, and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Process:
    """The process that is measured: it does what it is told, a word a line, and answers with a line of figures."""

    def __init__(self, name: str, folder: Path) -> None:
        self._module, self._make = TRACKERS[name]
        self._folder, self._me = folder, psutil.Process()
        chance = np.random.default_rng(0)
        self._left, self._right = (chance.standard_normal((SIDE, SIDE), np.float32) for _ in range(2))
        self._out = np.empty((SIDE, SIDE), np.float32)
        self._tracker = Tracker(folder)
        self.work()

    def start(self) -> Figures:
        resident, begun_s = self._me.memory_info().rss, time.perf_counter()
        if self._module:
            importlib.import_module(self._module)
        imported_s = time.perf_counter()
        self._tracker = self._make(self._folder)
        self._tracker.start()
        started_s = time.perf_counter()
        self._resident = resident
        return {"import_s": imported_s - begun_s, "start_s": started_s - imported_s}

    def work(self) -> Figures:
        """Steps on the main thread for one turn."""
        begun_s = now_s = time.perf_counter()
        steps = 0
        while now_s - begun_s < TURN_S:
            np.matmul(self._left, self._right, out=self._out)
            self._tracker.step()
            steps += 1
            now_s = time.perf_counter()
        return {"wall_s": now_s - begun_s, "steps": steps}

    def used(self) -> Figures:
        """What the tracker has used: CPU seconds of all but the thread that trains, and memory since its import."""
        memory_mb = (self._me.memory_info().rss - self._resident) / MB
        return {"at_s": time.perf_counter(), "cpu_s": cpu_s() - time.thread_time(), "memory_mb": memory_mb}

    def stop(self) -> Figures:
        begun_s = time.perf_counter()
        self._tracker.stop()
        return {"stop_s": time.perf_counter() - begun_s}

    def obey(self, answers: int) -> None:
        words: dict[str, Callable[[], Figures]] = {
            "start": self.start,
            "work": self.work,
            "used": self.used,
            "stop": self.stop,
        }
        with os.fdopen(answers, "w") as file:
            for line in sys.stdin:
                print(json.dumps(words[line.strip()]()), file=file, flush=True)


class Child:
    """A ``Process`` in an interpreter of its own."""

    def __init__(self, python: str, name: str, folder: Path) -> None:
        folder.mkdir()
        reading, writing = os.pipe()
        tracker = NOTHING if name == AGAIN else name
        self._process = subprocess.Popen(
            [python, __file__, "--be", tracker, "--answers", str(writing)],
            env=environment(),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[writing],
            text=True,
        )
        os.close(writing)
        self._name, self._answers = name, os.fdopen(reading)

    def ask(self, word: str) -> Figures:
        """Have it do something and wait for the figures."""
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)
        line = self._answers.readline()
        if not line:
            raise SystemExit(f"{self._name} ended at {word!r}")
        figures: Figures = json.loads(line)
        return figures

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._answers.close()


def used_per_s(before: Figures, after: Figures) -> float:
    return (after["cpu_s"] - before["cpu_s"]) / (after["at_s"] - before["at_s"])


def one_round(python: str, names: list[str], asleep_s: float, turns: int) -> dict[str, Figures]:
    """The figures of each tracker."""
    with tempfile.TemporaryDirectory() as root:
        children = {name: Child(python, name, Path(root) / str(number)) for number, name in enumerate(names)}
        figures = {name: child.ask("start") for name, child in children.items()}
        begun = {name: child.ask("used") for name, child in children.items()}
        time.sleep(asleep_s)
        slept = {name: child.ask("used") for name, child in children.items()}
        work: dict[str, list[Figures]] = {name: [] for name in names}
        for number in range(turns):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                work[name].append(children[name].ask("work"))
        worked = {name: child.ask("used") for name, child in children.items()}
        for name, child in children.items():
            figures[name] |= child.ask("stop")
            child.end()
            figures[name] |= {
                "asleep": used_per_s(begun[name], slept[name]),
                "at_work": used_per_s(slept[name], worked[name]),
                "memory_mb": worked[name]["memory_mb"],
                "step_s": sum(turn["wall_s"] for turn in work[name]) / sum(turn["steps"] for turn in work[name]),
            }
    return figures


def percent(share: float) -> str:
    return f"{max(0.0, 100 * share):.3f} %"


def row(name: str, rounds: list[dict[str, Figures]]) -> tuple[str, ...]:
    def middle(figure: str) -> float:
        return statistics.median(figures[name][figure] for figures in rounds)

    ratios = sorted(figures[name]["step_s"] / figures[NOTHING]["step_s"] for figures in rounds)
    memory_mb = statistics.median(figures[name]["memory_mb"] - figures[NOTHING]["memory_mb"] for figures in rounds)
    return (
        name,
        percent(middle("asleep")),
        percent(middle("at_work")),
        f"{statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})",
        f"{middle('import_s'):.2f}",
        f"{middle('start_s'):.3f}",
        f"{middle('stop_s'):.3f}",
        f"{memory_mb:.0f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has the other trackers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--asleep", type=float, default=60.0, help="seconds; some trackers look every 15 s only")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--be", choices=NAMES, help=argparse.SUPPRESS)
    parser.add_argument("--answers", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.be:
        Process(arguments.be, Path.cwd()).obey(arguments.answers)
        return

    python = interpreter(arguments.peers)
    versions, skipped = ask(python, NAMES)
    names = [*versions, AGAIN]
    rounds = []
    for _ in range(arguments.rounds):
        rounds.append(one_round(python, names, arguments.asleep, arguments.turns))
        print(json.dumps(rounds[-1], indent=1), flush=True)

    others = ", ".join(dict.fromkeys(text for text in versions.values() if text not in {NOTHING, "lichen"}))
    step_ms = 1e3 * statistics.median(figures[NOTHING]["step_s"] for figures in rounds)
    most = max(
        statistics.median(figures[name][figure] for figures in rounds)
        for name in versions
        if name.startswith("lichen")
        for figure in ("asleep", "at_work")
    )
    note = (
        f"{others}; all with their defaults, without network, output thrown away, in one interpreter. Medians of "
        f"{arguments.rounds} rounds of {arguments.asleep:g} s asleep and {arguments.turns} turns of {TURN_S:g} s.\n\n"
        "CPU is CPU time of all threads and children but the thread that trains, as a share of one core; without "
        f"tracker there are none. A step is a product of two {SIDE} x {SIDE} matrices, {step_ms:.1f} ms on one thread; "
        f"its ratio is the mean step against that of the process without tracker, with the lowest and highest round: "
        f"the row `{AGAIN}` tells what is chance, and so do zeus, which does nothing meanwhile, and "
        "ratios below 1. Start is making and starting the tracker. numpy and psutil are "
        "loaded already; memory is what came with the tracker since before its import.\n\n"
        f"lichen used at most {percent(most)} of one core; the target is 0.5 %."
        + ("\n\n" + " ".join(skipped) if skipped else "")
    )
    header = ("tracker", "CPU, asleep", "CPU, at work", "step ratio", "import, s", "start, s", "stop, s", "memory, MB")
    write_results(__file__, header, [row(name, rounds) for name in names], note)


if __name__ == "__main__":
    main()
