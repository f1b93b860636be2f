"""Results files: what was run, where and when, and a table; one Markdown file beside each script."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path


def write_results(
    script: str, header: Sequence[str], rows: Sequence[Sequence[str]], note: str, *, of: str | None = None
) -> None:
    """Write and print ``<script>.md``: command, commit, hardware, date, and the table.

    ``of``: what the results are of, where a script has several: ``<script>_<of>.md``.
    """
    path = Path(script).with_suffix(".md")
    path = path if of is None else path.with_stem(f"{path.stem}_{of}")
    lines = [
        f"# {path.stem.replace('_', ' ').capitalize()}",
        "",
        f"- command: `{' '.join(['python', f'benchmarks/{Path(script).name}', *map(_argument, sys.argv[1:])])}`",
        f"- commit: {_commit()}",
        f"- hardware: {_cpu()}, {os.cpu_count()} cores",
        f"- software: Python {platform.python_version()}, PyTorch {_torch()}",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
        "",
        note,
        "",
        _row(header),
        _row(["---"] * len(header)),
        *(_row(row) for row in rows),
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _argument(word: str) -> str:
    """A path of this machine by its last part alone."""
    return Path(word).name if Path(word).is_absolute() else word


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run(["git", "status", "--porcelain", "src"], capture_output=True, text=True, check=False)
    return (done.stdout.strip() or "unknown") + (" with changes" if dirty.stdout.strip() else "")


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _torch() -> str:
    import torch

    return str(torch.__version__)
