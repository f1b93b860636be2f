"""Processes killed as they measure, at random instants: how much energy is lost, is any counted twice, can it be read?

Each process measures a made-up device of constant power with ``lichen.energy.Trace`` and tells over a pipe, which
outlives it, when it changed its phase; so the truth is known to the millisecond. Half of the kills come one to a file;
the other half come again and again to processes that resume in the same file, which at last ends undisturbed.

    python benchmarks/trace_kills.py [--kills 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from report import write_results

from lichen.energy import Reading, Trace, read_traces
from lichen.energy.records import OUTSIDE, parse_line

WATTS = 100.0
INTERVAL_S = 0.5
KILLS_PER_FILE = 5
LATEST_S = 3.0
"""Kills come up to this long after a process was started, so some meet it before it measures."""
UNDISTURBED_S = 0.7
STAYS_S = {"slow": (0.2, 1.5), "fast": (0.001, 0.02)}
"""How long a phase lasts. With fast ones the process is writing most of the time, so kills meet it as it writes."""


class SteadyMeter:
    """A device of ``WATTS`` since the meter was made."""

    def __init__(self) -> None:
        self.made_s = time.monotonic()

    def describe(self) -> str:
        return f"a made-up device of {WATTS:g} W"

    def read(self) -> tuple[Reading, ...]:
        energy_j = WATTS * (time.monotonic() - self.made_s)
        return (Reading("steady", "counter", energy_j, energy_j, energy_j),)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


@contextmanager
def told(trace: Trace, name: str, outer: str) -> Iterator[None]:
    """A phase whose changes are told before and after."""
    phase = trace.phase(name)
    say("to", name, time.monotonic())
    phase.__enter__()
    say("in", name, time.monotonic())
    yield
    say("to", outer, time.monotonic())
    phase.__exit__(None, None, None)
    say("in", outer, time.monotonic())


def measure(path: Path, seed: int, stay: str, seconds: float) -> None:
    """The process that is killed: phases within phases, until ``seconds`` have gone."""
    chance = random.Random(seed)
    meter = SteadyMeter()
    say("to", OUTSIDE, meter.made_s)
    with Trace(path, [meter], interval_s=INTERVAL_S) as trace:
        say("in", OUTSIDE, time.monotonic())
        say("earlier", (trace.so_far().energy_j or 0.0) - (trace.spent().energy_j or 0.0))
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            name = chance.choice("abc")
            with told(trace, name, OUTSIDE):
                time.sleep(chance.uniform(*STAYS_S[stay]))
                if chance.random() < 0.5:
                    with told(trace, "inner", name):
                        time.sleep(chance.uniform(*STAYS_S[stay]))
        say("to", "end", time.monotonic())
    say("in", "end", time.monotonic())


@dataclass
class Truth:
    """What one process measured, by what it told: seconds in each phase, at least and at most."""

    total_s: float = 0.0
    low_s: dict[str, float] = field(default_factory=dict)
    high_s: dict[str, float] = field(default_factory=dict)
    last: tuple[str, ...] = ()
    """The phases that it may have been in at its end."""


def truth_of(changes: list[tuple[str, str, float]], end_s: float) -> Truth:
    """The truth of a process that told ``changes`` and was surely dead at ``end_s``."""
    truth = Truth()
    if not changes:
        return truth
    low_s: defaultdict[str, float] = defaultdict(float)
    high_s: defaultdict[str, float] = defaultdict(float)
    present, entered = "", (0.0, 0.0)
    leaving: tuple[str, float] | None = None
    for kind, name, at_s in changes:
        if kind == "to":
            leaving = name, at_s
            continue
        assert leaving is not None
        if present:
            low_s[present] += max(0.0, leaving[1] - entered[1])
            high_s[present] += at_s - entered[0]
        present, entered, leaving = name, (leaving[1], at_s), None
    if present == "end":
        end_s = entered[1]
    else:
        if present:
            low_s[present] += max(0.0, (leaving[1] if leaving else end_s) - entered[1])
            high_s[present] += end_s - entered[0]
        if leaving:
            high_s[leaving[0]] += end_s - leaving[1]
        truth.last = tuple(name for name in (present, leaving[0] if leaving else "") if name)
    truth.total_s, truth.low_s, truth.high_s = end_s - changes[0][2], dict(low_s), dict(high_s)
    return truth


@dataclass
class Findings:
    """What all processes came to."""

    kills: int = 0
    before_the_meter: int = 0
    lost: list[float] = field(default_factory=list)
    """By each kill of a process that measured, in intervals."""
    lost_undisturbed: list[float] = field(default_factory=list)
    too_much_s: float = 0.0
    """Most seconds that any phase of any process has beyond the truth."""
    too_little_s: float = 0.0
    """The same below the truth, in phases that were not cut short by the kill."""
    wrong_sums: int = 0
    lines: int = 0
    cut_lines: int = 0
    unreadable: int = 0


def recorded_s(path: Path, findings: Findings) -> dict[str, float]:
    """Seconds of ``WATTS`` in each phase, as a reader finds them."""
    if not path.is_file():
        return {}
    try:
        phases = read_traces([path])
    except Exception as error:  # noqa: BLE001 (any error at all is what this script looks for)
        print(f"{path.name}: {type(error).__name__}: {error}", flush=True)
        findings.unreadable += 1
        return {}
    return {phase.phase: (phase.total.energy_j or 0.0) / WATTS for phase in phases}


def one_process(path: Path, chance: random.Random, findings: Findings, *, kill: bool) -> None:
    """Run a process on ``path``, kill it or not, and compare what came into the file with the truth."""
    before_s = recorded_s(path, findings)
    options = {
        "--measure": str(path),
        "--seed": str(chance.randrange(2**31)),
        "--stay": chance.choice(sorted(STAYS_S)),
        "--seconds": "3600" if kill else str(UNDISTURBED_S),
    }
    words = [word for option in options.items() for word in option]
    process = subprocess.Popen([sys.executable, __file__, *words], stdout=subprocess.PIPE)
    assert process.stdout is not None
    if kill:
        time.sleep(chance.uniform(0.05, LATEST_S))
        process.kill()
    text = process.stdout.read().decode()
    process.wait()
    end_s = time.monotonic()
    if process.returncode != (-signal.SIGKILL if kill else 0):
        raise SystemExit(f"a process ended by itself with {process.returncode}")

    lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
    changes = [(words[0], words[1], float(words[2])) for words in lines if words[0] != "earlier"]
    truth = truth_of(changes, end_s)
    after_s = recorded_s(path, findings)
    lost = (truth.total_s - sum(after_s.values()) + sum(before_s.values())) / INTERVAL_S
    findings.kills += kill
    if not kill:
        findings.lost_undisturbed.append(lost)
    elif changes:
        findings.lost.append(lost)
    else:
        findings.before_the_meter += 1
    for name in {*after_s, *truth.high_s}:
        came_s = after_s.get(name, 0.0) - before_s.get(name, 0.0)
        findings.too_much_s = max(findings.too_much_s, came_s - truth.high_s.get(name, 0.0))
        if name not in truth.last:
            findings.too_little_s = max(findings.too_little_s, truth.low_s.get(name, 0.0) - came_s)
    for words in lines:
        if words[0] == "earlier" and abs(float(words[1]) / WATTS - sum(before_s.values())) > 1e-6:
            findings.wrong_sums += 1


def look_at_lines(path: Path, findings: Findings) -> None:
    """Count the lines and those that are no records."""
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        findings.lines += 1
        findings.cut_lines += bool(line.strip()) and parse_line(line.decode(errors="replace")) is None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--stay", choices=STAYS_S, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure, arguments.seed, arguments.stay, arguments.seconds)
        return

    chance = random.Random(arguments.seed)
    findings = Findings()
    files = 0
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        while findings.kills < arguments.kills:
            path = Path(folder) / f"energy-{files}.jsonl"
            files += 1
            resumes = findings.kills >= arguments.kills // 2
            for _ in range(min(KILLS_PER_FILE if resumes else 1, arguments.kills - findings.kills)):
                one_process(path, chance, findings, kill=True)
            if resumes:
                one_process(path, chance, findings, kill=False)
            look_at_lines(path, findings)
            print(f"{findings.kills} kills, worst {max(findings.lost, default=0):.3f} intervals", flush=True)
    took_s = time.monotonic() - begun_s

    rows = [
        ("kills", str(findings.kills)),
        ("of these before the process measured", str(findings.before_the_meter)),
        ("files; processes that ended undisturbed", f"{files}; {len(findings.lost_undisturbed)}"),
        ("lost by a kill, worst, in intervals", f"{max(findings.lost):.3f}"),
        ("lost by a kill, median, in intervals", f"{statistics.median(findings.lost):.3f}"),
        ("kills that lost more than one interval", str(sum(lost > 1 for lost in findings.lost))),
        ("lost by an undisturbed process, worst", f"{1e3 * INTERVAL_S * max(findings.lost_undisturbed):.1f} ms"),
        ("counted beyond the truth in any phase, most", f"{1e3 * findings.too_much_s:.2f} ms"),
        ("missing in phases that the kill did not cut, most", f"{1e3 * findings.too_little_s:.2f} ms"),
        ("resumed processes whose sum so far was not the file's", str(findings.wrong_sums)),
        ("lines; cut lines among them", f"{findings.lines}; {findings.cut_lines}"),
        ("times a reader stopped", str(findings.unreadable)),
    ]
    note = (
        f"SIGKILL at a random instant up to {LATEST_S:g} s after the start of a process that measures a made-up device "
        f"of {WATTS:g} W every {INTERVAL_S:g} s and changes its phase, half of the processes within milliseconds. Half "
        f"of the kills in files of their own, half {KILLS_PER_FILE} to a file, resumed. Energy is given as time of the "
        f"device; it counts from the making of the meter to when the process was surely dead. What "
        "an undisturbed process lacks is the time from there to its first reading, in which it reads what the file "
        f"already holds. Took {took_s:.0f} s."
    )
    write_results(__file__, ("figure", "value"), rows, note)


if __name__ == "__main__":
    main()
