"""lichen's commands as processes of their own that find their libraries loaded: as by hand, but seconds sooner each."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

_LOADED = multiprocessing.get_context("forkserver")
_LOADED.set_forkserver_preload(["lichen.chain", "lichen.cli", "monai.networks.nets"])


def run_lichen(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """``lichen`` with ``arguments`` in ``folder``; both its streams are in ``stderr``.

    Raises TimeoutExpired where it is not done in time.
    """
    with tempfile.NamedTemporaryFile() as said:
        process = _LOADED.Process(target=_command, args=(list(arguments), folder, dict(environment), said.name))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(["lichen", *arguments], timeout_s)
        output = Path(said.name).read_text(encoding="utf-8", errors="replace")
    return subprocess.CompletedProcess(["lichen", *arguments], process.exitcode, "", output)


def _command(arguments: list[str], folder: Path, environment: dict[str, str], said: str) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    file = os.open(said, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    from lichen.cli import main

    main(arguments)
