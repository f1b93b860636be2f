"""Finding the images of a folder, an .npz file or the built-in phantoms, and whose they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lichen.config import ImagesConfig, Volumes
from lichen.errors import ConfigError, ImageError
from lichen.images.bids import bids_patients, only_suffix, subject_folders
from lichen.images.cases import Case, cases_by_name, cases_by_table, with_labels
from lichen.images.dicom import open_dicom
from lichen.images.dicom_header import is_dicom
from lichen.images.find import find_images, is_file, refuse_outside
from lichen.images.items import case_items
from lichen.images.npz import open_npz
from lichen.images.patients import PatientTable, read_patient_table
from lichen.images.read import is_image, is_nifti, look_image
from lichen.images.slices import sliced
from lichen.images.types import Skipped, Source
from lichen.slice_rule import SliceRule

MOST_LOOKED_AT = 9
"""Volumes that say how many axes the images have, where single ones may be bad."""


def open_source(config: ImagesConfig) -> Source:
    """What the settings name: a folder, an .npz file or, with no path, the built-in phantoms.

    Raises ImageError, and ConfigError for settings of label and slices that do not go together.
    """
    rule = None if config.slices is None else SliceRule.parse(config.slices)
    _check_label(config, rule)
    if config.path is None:
        from lichen.images.phantoms import phantom_source

        source = phantom_source(config.phantoms, config.phantom_patients)
    else:
        source = open_folder(
            config.path,
            patient_column=config.patient_column,
            npz_split=config.npz_split,
            channels=config.channels,
            label=config.label,
            volumes=config.volumes,
            skip_bad=config.skip_bad,
        )
    if config.label is not None and any(item.scan_label is None for item in source.items):
        raise ImageError(
            f"images.label is {config.label}, and {source.label} has no label maps",
            fix="give a folder of NIfTI volumes or pictures, or leave --images.label out",
        )
    notes = [source.note, f"{config.label} is the label map" if source.has_label_map else ""]
    if rule is not None:
        source = sliced(source, rule, skip_bad=config.skip_bad)
        notes.append(f"images are axial slices of volumes, by the rule {config.slices}")
    return replace(source, note="; ".join(filter(None, notes)))


def _check_label(config: ImagesConfig, rule: SliceRule | None) -> None:
    label, channels = config.label, config.channels
    decides = rule is not None and rule.needs_label
    if label is None and decides:
        raise ConfigError(
            f"images.slices is {config.slices}, and no label map is named",
            fix="name it with --images.label, or give another rule, e.g. --images.slices middle:20",
        )
    if channels == (label,):
        raise ConfigError(
            f"images.channels is {label}, the label map alone",
            fix=f"name the channels of the images too, e.g. --images.channels t1 {label}",
        )
    if label is not None and channels and label not in channels and not decides:
        raise ConfigError(
            f"images.label is {label}, which is none of images.channels, and no rule of slices asks for it",
            fix=f"give --images.channels {' '.join(channels)} {label}, or leave --images.label out",
        )


def open_folder(
    path: Path,
    *,
    patient_column: str | None = None,
    npz_split: str = "train",
    channels: tuple[str, ...] = (),
    label: str | None = None,
    volumes: Volumes = "auto",
    skip_bad: bool = False,
) -> Source:
    """The images in ``path``, a folder or an .npz file in MedMNIST's layout; nothing is decoded yet.

    A folder of DICOM files holds the images that their headers tell of, see ``dicom.py``. Of other formats each file is
    an image, but for three rules. Of a BIDS root, the images of one suffix are taken, see ``bids.py``.
    Files of one case are stacked as channels, see ``cases.py``. Volumes along a NIfTI's fourth axis are images of their
    own of one patient, see ``nifti.count_volumes``. With ``skip_bad`` a case that is not whole is left out.

    ``label`` is the channel that is a label map, or the column of the table that names each image's label map. It
    becomes the last channel; where ``channels`` are named and it is none of them, images have it beside them.

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
    files = _bids_files(path, patient_column, _with(label, channels))
    if files is None and (dicom := find_images(path, [path], is_dicom)):
        _refuse_beside_dicom(path, next(iter(dicom)), patient_column, channels)
        return open_dicom(path, [path / name for name in dicom], skip_bad=skip_bad)
    files = files or _files(path, patient_column, label)
    if not files.patients:
        raise ImageError(
            f"{path} has no images{_hint(path)}", fix="give a folder with DICOM, NIfTI, PNG, JPEG or TIFF files"
        )
    cases, broken = _cases(path, files, channels, label)
    if broken and not skip_bad:
        raise ImageError(
            f"{path}: {broken[0][1]}", fix="complete the case or remove its files, or give --images.skip-bad"
        )
    used = [file for case in cases for file in case.files.values()]
    if not used:
        raise ImageError(f"{path} has no whole case; {broken[0][1]}", fix="correct --images.channels")
    stacked = label is not None and (not channels or label in channels)
    return Source(
        label=path.resolve().name,
        items=tuple(
            item
            for case in cases
            for item in case_items(path, case, _patient(path, case, files), volumes, label=label, stacked=stacked)
        ),
        spatial_dims=_spatial_dims(path, used, skip_bad=skip_bad),
        is_phantom=False,
        patients_known=files.patients_known,
        note=files.note,
        skipped=tuple(Skipped(case.name, words) for case, words in broken),
        channels=_channel_names(cases[0], label, stacked=stacked),
        has_label_map=stacked,
    )


@dataclass(frozen=True)
class _Files:
    """The image files of a folder, and what is known of them."""

    patients: dict[str, str]
    """Patient by file; without a table, the file itself."""
    note: str
    found: tuple[str, ...] = ()
    """All images of the folder, also those that the table does not list."""
    patients_known: bool = True
    channel_of: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """(case, channel) by file, if a table says so."""
    label_of: Mapping[str, str] = field(default_factory=dict)
    """Label map by file, if a column of the table was named for it."""


def _files(folder: Path, patient_column: str | None, label: str | None) -> _Files:
    """The files that a table lists, or, without one, all images."""
    found = find_images(folder, [folder])
    table = read_patient_table(folder, patient_column, label)
    if table is not None:
        _refuse_unusable(folder, table, found)
        note = f"patients are the column {table.column} of {table.path.name}"
        return _Files(dict(table.patients), note, tuple(found), channel_of=table.cases, label_of=table.labels)
    if patient_column is not None:
        raise ImageError(
            f"{folder} has no metadata.csv to find the column {patient_column} in",
            fix="add metadata.csv with the columns file and patient, or leave out --images.patient-column",
        )
    note = f"{folder} has no metadata.csv or participants.tsv: each image counts as a patient of its own"
    return _Files({name: name for name in found}, note, tuple(found), patients_known=False)


def _bids_files(folder: Path, patient_column: str | None, channels: tuple[str, ...]) -> _Files | None:
    """The files of a BIDS root; None if ``folder`` is not one or its subjects have no images."""
    if not (subjects := subject_folders(folder)) or not (found := find_images(folder, subjects)):
        return None
    suffix = " ".join(channels) or only_suffix(folder, found)
    patients = bids_patients(folder, found, patient_column)
    note = f"BIDS: images {suffix}; patients are {patient_column or 'the folders sub-*'}"
    return _Files(patients, note, tuple(found))


def _with(label: str | None, channels: tuple[str, ...]) -> tuple[str, ...]:
    """The channels whose files are looked for: all that are stacked, and the label map."""
    return (*channels, label) if label is not None and channels and label not in channels else channels


def _cases(
    folder: Path, files: _Files, channels: tuple[str, ...], label: str | None
) -> tuple[list[Case], list[tuple[Case, str]]]:
    """The cases that are whole, and those that are not with what is wrong."""
    wanted = _with(label, channels)
    if files.label_of:  # then the label map is no file that a name or a row has to tell
        wanted = tuple(channel for channel in channels if channel != label)
    if files.channel_of:
        whole, broken = cases_by_table(files.channel_of, wanted)
    elif wanted:
        whole, broken = cases_by_name(files.found, wanted)
        whole = [case for case in whole if _is_listed(case, files)]
        broken = [(case, words) for case, words in broken if _is_listed(case, files)]
    else:
        whole, broken = [Case(name, {"": name}) for name in sorted(files.patients)], []
    if label is not None and files.label_of:
        _refuse_missing(folder, files.label_of.values(), label)
        whole, unlabelled = with_labels(whole, files.label_of, label)
        return whole, [*broken, *unlabelled]
    if label is not None and not all(label in case.files for case in whole):
        raise ImageError(
            f"images.label is {label}, which is neither a channel nor a column of a table in {folder}",
            fix=f"name the channels too, e.g. --images.channels images {label}",
        )
    return whole, broken


def _is_listed(case: Case, files: _Files) -> bool:
    return any(file in files.patients for file in case.files.values())


def _channel_names(case: Case, label: str | None, *, stacked: bool) -> tuple[str, ...]:
    names = tuple(channel or "image" for channel in case.files if channel != label)
    return (*names, label) if label is not None and stacked else names if len(names) > 1 else ()


def _patient(folder: Path, case: Case, files: _Files) -> str:
    """Whose case it is; raises ImageError if its files are of several patients."""
    if not files.patients_known:
        return case.name
    patients = {files.patients[file] for file in case.files.values() if file in files.patients}
    if len(patients) > 1:
        raise ImageError(
            f"the files of the case {folder / case.name} belong to several patients: {', '.join(sorted(patients))}",
            fix="correct the table of patients, or --images.channels",
        )
    return patients.pop()


def _refuse_beside_dicom(folder: Path, dicom: str, patient_column: str | None, channels: tuple[str, ...]) -> None:
    """Raise ImageError for what cannot be together with DICOM files, whose patients their headers name."""
    if others := find_images(folder, [folder]):
        raise ImageError(
            f"{folder} has DICOM files, such as {dicom}, and other images, such as {next(iter(others))}",
            fix="keep them in folders of their own",
        )
    if patient_column is not None or channels:
        raise ImageError(
            f"{folder} has DICOM files, for which there is no --images.patient-column and no --images.channels",
            fix="leave them out, or convert the files with dcm2niix",
        )


def _refuse_unusable(folder: Path, table: PatientTable, found: dict[str, Path]) -> None:
    """Raise ImageError if the table lists what is no image of the folder, or leaves out an image beside listed ones."""
    for name in table.patients:
        if not is_file(folder / name):
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


def _refuse_missing(folder: Path, labels: Iterable[str], column: str) -> None:
    """Raise ImageError for a label map that the table names and the folder does not have."""
    for name in labels:
        if not is_file(folder / name) or not is_image(name):
            raise ImageError(
                f"the column {column} names {name}, which is no image in {folder}",
                fix="correct the row (paths are relative to the folder), or empty its cell",
            )
        refuse_outside(folder / name, folder.resolve())


def _spatial_dims(folder: Path, names: list[str], *, skip_bad: bool) -> int:
    """2 or 3, from the names and one header, or several if the first may be bad; ``load_set`` compares every image."""
    volumes = [name for name in names if is_nifti(name)]
    pictures = [name for name in names if not is_nifti(name)]
    if not volumes:
        return 2
    dims = _usual_dims(folder, volumes) if skip_bad else len(look_image(folder / volumes[0]).shape)
    if pictures and dims == 3:
        raise ImageError(
            f"{folder} mixes two and three dimensions: {pictures[0]} is a picture, {volumes[0]} a volume",
            fix="keep pictures and volumes in folders of their own, or list the images wanted in metadata.csv",
        )
    return dims


def _usual_dims(folder: Path, volumes: list[str]) -> int:
    """What most of the first volumes with a good header have."""
    counts: Counter[int] = Counter()
    for name in volumes:
        try:
            counts[len(look_image(folder / name).shape)] += 1
        except ImageError:
            continue
        if counts.total() == MOST_LOOKED_AT:
            break
    return counts.most_common(1)[0][0] if counts else len(look_image(folder / volumes[0]).shape)


def _hint(folder: Path) -> str:
    """What else is in a folder without images that might be meant."""
    path = next(folder.rglob("*.npz"), None)
    return "" if path is None else f"; {path.relative_to(folder)} is to be given by its own path"
