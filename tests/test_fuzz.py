"""Damaged files of every format are read or refused: a few hundred cases of the ten thousand of the benchmark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CASES = 280


def test_damaged_files_are_read_or_refused_in_one_line(data_dir: Path) -> None:
    program = Path(__file__).resolve().parents[1] / "benchmarks/fuzz.py"
    done = subprocess.run(
        [sys.executable, str(program), "--cases", str(CASES), "--check", "--data", str(data_dir)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{CASES} cases, 0 failed" in done.stdout
