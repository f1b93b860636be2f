"""lichen commands as processes of their own: begun with a log, asked to save and end, and never twice at once."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lichen.errors import RunError

LAST_WORDS = 2
"""Lines of a failed process's output that are repeated; all of them are in its log."""


def lichen_command(words: Sequence[str], processes: int = 1) -> list[str]:
    """``lichen WORDS`` by this Python, by a team of ``processes`` where there are several."""
    if processes == 1:
        return [sys.executable, "-m", "lichen", *words]
    team = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *team, "-m", "lichen", "--", *words]


def begin(command: Sequence[str], log: Path, threads: int, *, out: int | None = None) -> subprocess.Popen[bytes]:
    """Begin ``command`` with so many ``threads``; what it says is added to ``log``, or goes to ``out`` and there.

    The log is locked for as long as the process lives, by the process itself: whoever began it may die before.

    Raises:
        RunError: another process writes to the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(max(1, threads))}
    with log.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunError(f"another process writes to {log}", fix="wait for it") from error
        return subprocess.Popen(command, stdout=file if out is None else out, stderr=file, env=environment)


def is_going(log: Path) -> bool:
    """Whether a process that was begun with this log is at work, on this machine or on one that shares its locks."""
    try:
        with log.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to save and end, and wait until it has."""
    if process.poll() is None:
        process.terminate()
    process.communicate()


def last_words(log: Path, begun: int = 0) -> str:
    """The end of what a process said; ``begun``: the bytes of the log that those before it wrote."""
    said = log.read_bytes()[begun:] if log.exists() else b""
    lines = said.decode(errors="replace").splitlines()
    return "; ".join(line.strip() for line in lines[-LAST_WORDS:]) or "it said nothing"


def ended(code: int) -> str:
    """How a process ended: ``code 2``, ``killed by signal 9``."""
    return f"code {code}" if code >= 0 else f"killed by signal {-code}"
