"""A file that only grows, a line at a time, each line on disk before the next; it never raises."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

MOST_WAITING = 10_000
"""Lines kept in memory while the disk refuses them. Beyond that the oldest go; readings are cumulative, so what is lost
with them is only when the energy was used."""


class Journal:
    """Appends lines with ``fsync``; what the disk refuses waits in memory and is tried again with the next line.

    After a failure the file may end in half a line, so it is opened anew and a line end comes first. A line whose sync
    failed is written again: readers must know a repeated line.
    """

    def __init__(self, path: Path, sync: Callable[[int], None] = os.fsync) -> None:
        self._path, self._sync = path, sync
        self._descriptor: int | None = None
        self._waiting: list[str] = []
        self.problem: str | None = None
        """Why lines are waiting, for people; ``None`` while all are on disk."""

    def append(self, line: str) -> None:
        """Write a line (line end included) and all that wait."""
        self._waiting.append(line)
        del self._waiting[:-MOST_WAITING]
        try:
            if self._descriptor is None:
                self._descriptor = self._open()
            # half a letter, as file names may hold, is written in the form that JSON has for it
            _write(self._descriptor, "".join(self._waiting).encode(errors="backslashreplace"))
            self._sync(self._descriptor)
        except OSError as error:
            self.problem = f"{self._path} cannot be written: {error.strerror or error}"
            self.close()
        else:
            self.problem = None
            self._waiting.clear()

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError as error:  # network disks report a full quota here
                self.problem = f"{self._path} cannot be closed: {error.strerror or error}"

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            if not _ends_with_line(self._path):
                _write(descriptor, b"\n")
        except OSError:
            os.close(descriptor)
            raise
        return descriptor


def _write(descriptor: int, data: bytes) -> None:
    """All of ``data``, in one piece where the system allows it, so that two writers' lines do not mix."""
    while data:
        data = data[os.write(descriptor, data) :]


def _ends_with_line(path: Path) -> bool:
    if path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
