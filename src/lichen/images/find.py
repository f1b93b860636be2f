"""The image files of a folder, and where links lead."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lichen.errors import ImageError
from lichen.images.read import is_image


def find_images(
    folder: Path, starts: Sequence[Path], wanted: Callable[[Path], bool] = lambda path: is_image(path.name)
) -> dict[str, Path]:
    """Every image in ``starts`` and below by its path relative to the folder, with the file it really is."""
    home = folder.resolve()
    found: dict[str, Path] = {}
    links: dict[str, Path] = {}
    for start in starts:
        refuse_outside(start, home)
        for parent, folders, files in os.walk(start, onerror=_refuse_unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            linked = [name for name in folders if (Path(parent) / name).is_symlink()]
            for name in [*linked, *sorted(files)]:
                path = Path(parent) / name
                if name.startswith(".") or not (name in linked or wanted(path)):
                    continue
                _refuse_unusable_name(folder, path)
                real = refuse_outside(path, home)
                if name not in linked:
                    (links if path.is_symlink() else found)[path.relative_to(folder).as_posix()] = real
    # a link to an image of the folder would be the same image twice, as two patients
    seen = set(found.values())
    for name, real in links.items():
        if real not in seen:
            seen.add(real)
            found[name] = real
    return found


def is_file(path: Path) -> bool:
    """Whether there is a file, also for names that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def refuse_outside(path: Path, home: Path) -> Path:
    """The file or folder that ``path`` really is; raises ImageError if that is not in ``home``."""
    try:
        real = path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links
        raise ImageError(f"{path} is a link that leads nowhere", fix="remove the link") from error
    if not real.is_relative_to(home):
        raise ImageError(
            f"{path} is a link that leads out of the folder, to {real}",
            fix="copy what it points to into the folder, or remove the link",
        )
    return real


def _refuse_unreadable(error: OSError) -> None:
    """For ``os.walk``, which would pass over a folder that may not be read, and its patients, without a word."""
    raise _unreadable(Path(str(error.filename)), error) from error


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path} cannot be read ({error.strerror})", fix="make it readable, or move it out of the folder")


def _refuse_unusable_name(folder: Path, path: Path) -> None:
    """Raise ImageError for a name that no table, audit or report could hold."""
    try:
        str(path.relative_to(folder)).encode()
    except UnicodeEncodeError as error:
        raise ImageError(f"{str(path)!a} has a name that is no UTF-8 text", fix="rename the file") from error
