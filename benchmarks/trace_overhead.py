"""What measuring costs: CPU time of one sample (meters read, line written and synced) and of one ``so_far()``.

python benchmarks/trace_overhead.py [SAMPLES]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from report import write_results

from lichen.energy import Trace, find_meters
from lichen.energy.trace import FRESH_S

CHILDREN = 4


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    sleepers = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(CHILDREN)]
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(Path(folder), samples)
    finally:
        for sleeper in sleepers:
            sleeper.communicate(b"\n")
    meters = "; ".join(meter.describe() for meter in find_meters())
    note = (
        f"Meters: {meters}. {CHILDREN} child processes, {len(psutil.pids())} processes on the machine. "
        "The share of a core is that of a sample and a look for new children every 10 s and of reading the meters "
        f"every {FRESH_S:g} s, as a progress bar causes it."
    )
    write_results(__file__, ("figure", "value"), list(figures.items()), note)


def measure(folder: Path, samples: int) -> dict[str, str]:
    with Trace(folder / "energy.jsonl", find_meters(), interval_s=1e6) as trace:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for _ in range(samples // 2):
            with trace.phase("train"):
                pass
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        calls = 100_000
        asked_s = time.perf_counter()
        for _ in range(calls):
            trace.so_far()
        asked_s = time.perf_counter() - asked_s
        lines = (folder / "energy.jsonl").stat().st_size / samples
    scans = [scan() for _ in range(20)]
    sample_s = cpu_s / samples
    share = sample_s * (1 / 10 + 1 / FRESH_S) + min(scans) / 10
    return {
        "CPU time of a sample": f"{1e3 * sample_s:.2f} ms",
        "wall time of a change of phase, disk included": f"{1e3 * wall_s / samples:.1f} ms",
        "CPU time of a look for new children": f"{1e3 * min(scans):.2f} ms",
        "`so_far()`": f"{1e6 * asked_s / calls:.1f} us",
        "size of a sample": f"{lines:.0f} bytes",
        "share of one core": f"{100 * share:.2f} %",
    }


def scan() -> float:
    start = time.process_time()
    psutil.Process().children(recursive=True)
    return time.process_time() - start


if __name__ == "__main__":
    main()
