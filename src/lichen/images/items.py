"""From the files of a case to images not yet decoded."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from lichen.config import Volumes
from lichen.errors import ImageError
from lichen.images.cases import Case, read_case
from lichen.images.labels import scan_label
from lichen.images.nifti import count_volumes
from lichen.images.read import is_nifti, look_image, read_image
from lichen.images.types import Item


def case_items(
    folder: Path, case: Case, patient: str, volumes: Volumes, *, label: str | None = None, stacked: bool = True
) -> list[Item]:
    """The images of a case: one, or as many as the volumes of its only file.

    The channel ``label`` is a label map: the last channel, or, if it is not ``stacked``, none but known to the image.
    """
    files = {channel: file for channel, file in case.files.items() if channel != label}
    read_too = {label: case.files[label]} if label is not None and stacked else {}
    paths = [folder / file for file in files.values()]
    version = "|".join(_version(folder / file) for file in (files | read_too).values())
    item = Item(
        name=case.name,
        patient=patient,
        read=partial(read_image, paths[0], volumes=volumes),
        look=partial(look_image, paths[0]),
        version=f"{version}|{volumes}{'|label' if read_too else ''}",
        scan_label=None if label is None else partial(scan_label, folder / case.files[label]),
        home=str(folder / "x")[:-1],  # "" for the folder we are in
    )
    if len(files) > 1 or read_too:
        together = partial(read_case, folder, files | read_too, label=label if read_too else None, volumes=volumes)
        return [replace(item, read=together)]
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
