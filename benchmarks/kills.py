"""Runs killed at random instants, again and again, until they finish: are weights and samples still the same bits?

Each run is a whole ``lichen run`` on phantoms with SIGKILL after a random part of the time that an undisturbed run
takes, repeated until enough kills have happened; what it ends with is compared with the undisturbed run's files.

    python benchmarks/kills.py [--kills 100] [--seed 0]
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import write_results

from lichen.files import sha256_of

CHECKOUT = Path(__file__).resolve().parents[1]
SETTINGS = [
    *("--config", str(CHECKOUT / "tests/tiny.yaml"), "--sampling.batch-size", "2", "--quiet"),
    *("--training.checkpoint-every-s", "0.5"),
]
"""Checkpoints come far more often than in real runs, so that kills meet them as they are written."""
KILLS_PER_RUN = 5


def start(run: Path) -> subprocess.Popen[bytes]:
    """The command, on one thread."""
    return subprocess.Popen(
        [sys.executable, "-m", "lichen", "run", *SETTINGS, "--out", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def results(run: Path) -> dict[str, str]:
    """A hash of each file that must be the same."""
    paths = [run / "checkpoints/generator.safetensors", *sorted((run / "samples").glob("sample-*"))]
    return {path.name: sha256_of(path) for path in paths}


def phase_at_the_end(run: Path) -> str:
    """What the run was doing, by what it had left: the furthest stage that has begun."""
    stages = (
        ("audit, quality, report", run / "audit"),
        ("sampling", run / "samples"),
        ("diffusion", run / "checkpoints/autoencoder.state.safetensors"),
        ("autoencoder", run / "log.jsonl"),
        ("reading", run / "config.yaml"),
    )
    return next((name for name, path in stages if path.exists()), "start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    where: collections.Counter[str] = collections.Counter()
    runs = different = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        start(Path(folder) / "undisturbed").wait()
        undisturbed_s = time.monotonic() - begun
        wanted = results(Path(folder) / "undisturbed")
        while where.total() < arguments.kills:
            run = Path(folder) / f"run-{runs}"
            kills = 0
            while True:
                process = start(run)
                last = kills == KILLS_PER_RUN or where.total() == arguments.kills
                try:
                    code = process.wait(None if last else chance.uniform(0.05, 0.8) * undisturbed_s)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    where[phase_at_the_end(run)] += 1
                    kills += 1
                    continue
                break
            runs += 1
            failed += code != 3  # so few patients leave every verdict inconclusive
            different += results(run) != wanted
            print(f"{where.total()} kills, {runs} runs, {different} different, {failed} failed", flush=True)
    rows = [(name, str(count)) for name, count in sorted(where.items())]
    note = (
        f"{where.total()} kills over {runs} runs: {different} ended with other weights or samples, {failed} with an "
        "error."
    )
    write_results(__file__, ("furthest stage begun when killed", "kills"), rows, note)


if __name__ == "__main__":
    main()
