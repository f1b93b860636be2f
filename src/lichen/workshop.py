"""A folder that is either whole or not there: made under a hidden name beside its place, synced, renamed."""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lichen.errors import ConfigError
from lichen.files import make_folder, sync_folder

_UNFINISHED = ".unfinished."


@contextmanager
def workshop(place: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Yield an empty hidden folder beside ``place``, and what to call to make it ``place``, once.

    Whatever was not finished is deleted. What a killed process left is hidden, and is deleted by the next one that
    works on the same place: its lock went with it.

    Raises:
        ConfigError: ``place`` is a file or a folder that is not empty, when the work is finished.
    """
    place = Path(os.path.abspath(place))  # noqa: PTH100 (links stay as they are; only .. goes)
    make_folder(place.parent)
    for left in place.parent.glob(f".*{_UNFINISHED}{glob.escape(place.name)}"):
        _delete_if_left(left)
    folder = place.with_name(f".{os.getpid()}{_UNFINISHED}{place.name}")
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder, lambda: _finish(folder, place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _finish(folder: Path, place: Path) -> None:
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))
    try:
        folder.rename(place)  # onto an empty folder too, but onto nothing else
    except OSError as error:
        raise ConfigError(f"{place} cannot be made ({error.strerror})", fix="choose another --out") from error
    sync_folder(place.parent)


def _delete_if_left(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        pass  # somebody works in it
    finally:
        os.close(descriptor)
