"""Files that are either whole or not there: write to a temporary name in the same folder, sync, rename."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lichen.errors import ConfigError

_PARTIAL = ".partial."


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success sync it and rename it to ``path``, on error delete it.

    The temporary name keeps the suffixes of ``path``, because image writers choose the format by them. Two processes
    that write the same path never share a temporary file; the last rename wins.

    Raises ConfigError where something other than a file is: a rename would put an end to a device such as /dev/null.
    """
    is_device = path.parent.resolve() == Path("/dev")  # also /dev/stdout, which may lead to a file
    if not path.name or is_device or (path.exists() and not path.is_file()):
        raise ConfigError(f"{path} is a folder or a device, not a file", fix="give the name of a file to write")
    make_folder(path.parent)
    temporary = path.with_name(f".{os.getpid()}{_PARTIAL}{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make the folder ``path``, and what is above it; raises ConfigError where a file is in the way."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((part for part in (path, *path.parents) if part.is_file()), path)
        raise ConfigError(
            f"{file} is a file, and not a folder", fix="give another folder, or move the file away"
        ) from error


def partial_files(folder: Path) -> list[Path]:
    """Temporary files in ``folder`` itself; what is in use has such files too, for a moment."""
    return [path for path in folder.glob(f".*{_PARTIAL}*") if path.name[1:].partition(".")[0].isdecimal()]


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system supports syncing a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8), wholly or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as indented JSON; NaN and infinity are refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
