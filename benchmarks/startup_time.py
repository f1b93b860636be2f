"""How long ``lichen --help`` takes, beside an empty Python program and one that imports torch.

python benchmarks/startup_time.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from report import write_results

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "lichen --help": ["-m", "lichen", "--help"],
    "lichen run --help": ["-m", "lichen", "run", "--help"],
    "python -c 'import torch'": ["-c", "import torch"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds + 1):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    rows = []
    base = statistics.median(times["python -c pass"][1:])
    for name, all_s in times.items():
        warm = all_s[1:]
        rows.append(
            (f"`{name}`", f"{min(warm):.3f}", f"{statistics.median(warm):.3f}", f"{statistics.median(warm) / base:.1f}")
        )
    write_results(
        __file__, ("command", "fastest, s", "median, s", "against python"), rows, f"{rounds} rounds in turns."
    )


if __name__ == "__main__":
    main()
