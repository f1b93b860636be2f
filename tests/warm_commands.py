"""lichen's commands as processes of their own that find their libraries loaded: as by hand, but seconds sooner each."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_LOADED = multiprocessing.get_context("forkserver")
_LOADED.set_forkserver_preload(
    [
        *("lichen.chain", "lichen.cli", "lichen.options", "lichen.images.phantoms", "monai.networks.nets"),
        "torch._dynamo",  # which the first optimizer of a process loads, for seconds
    ]
)


class Command:
    """``lichen`` with ``arguments`` at work in ``folder``, which is told, asked and ended as a ``Popen`` is.

    ``first`` is called in its process before anything else; it must be something that can be pickled.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        first: Callable[[], object] | None = None,
    ) -> None:
        self._words, self._said = ["lichen", *arguments], tempfile.NamedTemporaryFile()  # noqa: SIM115 (lives as long)
        given = (list(arguments), folder, dict(environment), self._said.name, first)
        self._process = _LOADED.Process(target=_command, args=given)
        self._process.start()

    def poll(self) -> int | None:
        """The exit code, or None while it is at work."""
        return self._process.exitcode

    def wait(self, timeout_s: float) -> int:
        """The exit code, once it has ended; TimeoutExpired, and the process goes on, where it is not done in time."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._words, timeout_s)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> int:
        """End it without a word to it, and return its exit code."""
        self._process.kill()
        return self.wait(600)

    def said(self) -> str:
        """What it wrote so far, on either stream."""
        return Path(self._said.name).read_text(encoding="utf-8", errors="replace")


def run_lichen(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    first: Callable[[], object] | None = None,
) -> subprocess.CompletedProcess[str]:
    """``lichen`` with ``arguments`` in ``folder``; both its streams are in ``stderr``.

    Raises TimeoutExpired where it is not done in time.
    """
    command = Command(arguments, folder, environment, first)
    try:
        code = command.wait(timeout_s)
    except subprocess.TimeoutExpired:
        command.kill()
        raise
    return subprocess.CompletedProcess(["lichen", *arguments], code, "", command.said())


def _command(
    arguments: list[str], folder: Path, environment: dict[str, str], said: str, first: Callable[[], object] | None
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(said, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    if first is not None:
        first()
    from lichen.cli import main

    main(arguments)
