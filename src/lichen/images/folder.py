"""Finding the images of a folder, an .npz file or the built-in phantoms, and whose they are."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from lichen.config import ImagesConfig
from lichen.errors import ImageError
from lichen.images.npz import open_npz
from lichen.images.patients import PatientTable, read_patient_table
from lichen.images.read import is_image, is_nifti, look_image, read_image
from lichen.images.types import Item, Source


def open_source(config: ImagesConfig) -> Source:
    """What the settings name: a folder, an .npz file or, with no path, the built-in phantoms; raises ImageError."""
    if config.path is None:
        from lichen.images.phantoms import phantom_source

        return phantom_source(config.phantoms, config.phantom_patients)
    return open_folder(config.path, patient_column=config.patient_column, npz_split=config.npz_split)


def open_folder(path: Path, *, patient_column: str | None = None, npz_split: str = "train") -> Source:
    """The images in ``path``, a folder or an .npz file in MedMNIST's layout; nothing is decoded yet.

    With metadata.csv or participants.tsv in the folder, its images are just the files that the table lists. An
    unlisted image beside listed ones is an error; images in other folders, such as label maps, are left alone.
    Without a table every image found in the folder and those below is taken, each as a patient of its own, and
    ``Source.patients_known`` is False. Hidden files are ignored. Raises ImageError if there is no image, if pictures
    and volumes are mixed, if a link leads out of the folder or to nothing, if a folder cannot be read, or for a table
    that cannot be used.
    """
    if path.suffix.lower() == ".npz" and path.is_file():
        return open_npz(path, npz_split)
    if not path.is_dir():
        problem = "is a file" if path.exists() else "is not there"
        raise ImageError(f"{path} {problem}; images come from a folder or an .npz file", fix="give the folder's path")
    found = _find_images(path)
    table = read_patient_table(path, patient_column)
    if table is None and patient_column is not None:
        raise ImageError(
            f"{path} has no metadata.csv to find the column {patient_column} in",
            fix="add metadata.csv with the columns file and patient, or leave out --images.patient-column",
        )
    if table is None:
        patients = {name: name for name in found}
        note = f"{path} has no metadata.csv or participants.tsv: each image counts as a patient of its own"
    else:
        _refuse_unusable(path, table, found)
        patients = dict(table.patients)
        note = f"patients are the column {table.column} of {table.path.name}"
    if not patients:
        raise ImageError(f"{path} has no images{_hint(path)}", fix="give a folder with NIfTI, PNG, JPEG or TIFF files")
    names = sorted(patients)
    return Source(
        label=path.resolve().name,
        items=tuple(_item(path, name, patients[name]) for name in names),
        spatial_dims=_spatial_dims(path, names),
        is_phantom=False,
        patients_known=table is not None,
        note=note,
    )


def _item(folder: Path, name: str, patient: str) -> Item:
    path = folder / name
    try:
        state = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    version = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
    return Item(name, patient, partial(read_image, path), partial(look_image, path), version)


def _find_images(folder: Path) -> dict[str, Path]:
    """Every image in the folder and those below by its relative path, with the file it really is."""
    home = folder.resolve()
    found: dict[str, Path] = {}
    links: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder, onerror=_refuse_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        linked = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*linked, *sorted(files)]:
            path = Path(parent) / name
            if name.startswith(".") or not (name in linked or is_image(name)):
                continue
            _refuse_unusable_path(folder, path)
            real = path.resolve()
            if not real.is_relative_to(home):
                raise ImageError(
                    f"{path} is a link that leads out of the folder, to {real}",
                    fix="copy what it points to into the folder, or remove the link",
                )
            if name not in linked:
                (links if path.is_symlink() else found)[path.relative_to(folder).as_posix()] = real
    # a link to an image of the folder would be the same image twice, as two patients
    seen = set(found.values())
    for name, real in links.items():
        if real not in seen:
            seen.add(real)
            found[name] = real
    return found


def _refuse_unreadable(error: OSError) -> None:
    """For ``os.walk``, which would pass over a folder that may not be read, and its patients, without a word."""
    raise _unreadable(Path(str(error.filename)), error) from error


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path} cannot be read ({error.strerror})", fix="make it readable, or move it out of the folder")


def _refuse_unusable_path(folder: Path, path: Path) -> None:
    """Raise ImageError for a link to nothing, and for a name that no table, audit or report could hold."""
    if path.is_symlink() and not path.exists():
        raise ImageError(f"{path} is a link that leads to nothing", fix="remove the link, or restore what it points to")
    try:
        str(path.relative_to(folder)).encode()
    except UnicodeEncodeError as error:
        raise ImageError(f"{str(path)!a} has a name that is no UTF-8 text", fix="rename the file") from error


def _refuse_unusable(folder: Path, table: PatientTable, found: dict[str, Path]) -> None:
    """Raise ImageError if the table lists what is no image of the folder, or leaves out an image beside listed ones."""
    for name in table.patients:
        if not (folder / name).is_file():
            raise ImageError(
                f"{table.path} lists {name}, which is not in {folder}",
                fix="correct the row (paths are relative to the folder) or remove it",
            )
        if not is_image(name) or not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise ImageError(
                f"{table.path} lists {name}, which is no NIfTI, PNG, JPEG or TIFF image inside {folder}",
                fix="convert or copy the image, or remove the row",
            )
    listed_folders = {name.rpartition("/")[0] for name in table.patients}
    for name in found:
        if name.rpartition("/")[0] in listed_folders and name not in table.mentioned and name not in table.patients:
            raise ImageError(
                f"{folder / name} has no row in {table.path.name}, so its patient is unknown",
                fix=f"add a row with its file and {table.column}, or move it out of the folder",
            )


def _spatial_dims(folder: Path, names: list[str]) -> int:
    """2 or 3, from the names and one header; ``load_set`` compares every image with the grid."""
    volumes = [name for name in names if is_nifti(name)]
    pictures = [name for name in names if not is_nifti(name)]
    if not volumes:
        return 2
    dims = len(look_image(folder / volumes[0]).shape)
    if pictures and dims == 3:
        raise ImageError(
            f"{folder} mixes two and three dimensions: {pictures[0]} is a picture, {volumes[0]} a volume",
            fix="keep pictures and volumes in folders of their own, or list the images wanted in metadata.csv",
        )
    return dims


def _hint(folder: Path) -> str:
    """What else is in a folder without images that might be meant."""
    for pattern, words in (("*.npz", "; {} is to be given by its own path"), ("*.dcm", ", but DICOM files such as {}")):
        if (path := next(folder.rglob(pattern), None)) is not None:
            return words.format(path.relative_to(folder)) + (
                "; this version reads no DICOM, convert it with dcm2niix" if pattern == "*.dcm" else ""
            )
    return ""
