"""From the files of a case to images not yet decoded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from lichen.config import Volumes
from lichen.errors import ImageError
from lichen.images.cases import Case, read_case
from lichen.images.nifti import count_volumes
from lichen.images.read import is_nifti, look_image, read_image
from lichen.images.types import Item


def case_items(folder: Path, case: Case, patient: str, volumes: Volumes) -> list[Item]:
    """The images of a case: one, or as many as the volumes of its only file."""
    paths = [folder / file for file in case.files.values()]
    version = "|".join(_version(path) for path in paths)
    item = Item(
        name=case.name,
        patient=patient,
        read=partial(read_image, paths[0], volumes=volumes),
        look=partial(look_image, paths[0]),
        version=f"{version}|{volumes}",
        home=str(folder / "x")[:-1],  # "" for the folder we are in
    )
    if len(paths) > 1:
        return [replace(item, read=partial(read_case, folder, case.files))]
    count = _count_volumes(paths[0], volumes)
    if count == 1:
        return [item]
    return [
        replace(
            item,
            name=f"{case.name}[{number}]",
            read=partial(read_image, paths[0], volumes=volumes, number=number),
            version=f"{version}|{volumes}|{number}",
        )
        for number in range(count)
    ]


def _version(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:  # a link to nothing or a closed folder, which reading says better
        return f"{path.resolve()}|unreadable"
    return f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"


def _count_volumes(path: Path, volumes: Volumes) -> int:
    if volumes == "channels" or not is_nifti(path.name):
        return 1
    try:
        return count_volumes(path, volumes)
    except (ImageError, OSError):  # reading says it better, and may leave out this file alone
        return 1
