"""Optuna's journal file: asked without Optuna's own voice, mended where a kill cut it short, refused where damaged."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from lichen.errors import RunError


@contextmanager
def quiet(optuna: ModuleType, path: Path) -> Iterator[None]:
    """Without Optuna's words, and without warnings that parts of it are new, or old: constraints by function until 7.

    Raises:
        RunError: the journal at ``path`` is damaged, cannot be written, or is of another version of Optuna.
    """
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (optuna.exceptions.ExperimentalWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            yield
    except OSError as error:
        raise RunError(
            f"{path} cannot be used ({error.strerror or error})", fix="make room for it, and let it be written"
        ) from error
    # what Optuna raises of lines that are no records of this version of it
    except (ValueError, KeyError, TypeError, AssertionError, AttributeError, optuna.exceptions.OptunaError) as error:
        raise RunError(
            f"{path} is damaged, or was written by another version of Optuna ({type(error).__name__})",
            fix="move it away: the search asks for points anew, and keeps the runs of those that come again",
        ) from error
    finally:
        optuna.logging.set_verbosity(before)


def drop_torn_line(optuna: ModuleType, path: Path) -> None:
    """Cut off what a kill or a full disk left of a last record: Optuna would write the next one behind it."""
    if not path.is_file() or _ends_whole(path):
        return
    lock = optuna.storages.journal.JournalFileSymlinkLock(str(path))
    lock.acquire()
    try:  # another process may have been in the middle of it just now
        if not _ends_whole(path):
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
    finally:
        lock.release()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
        return file.read(1) in {b"", b"\n"}
