"""Folders in BIDS, the Brain Imaging Data Structure (https://bids-specification.readthedocs.io): reading them.

The images lie in sub-*/[ses-*/]anat and the like and end in a suffix such as T1w; the patient is the folder sub-*.
What stands beside those folders (derivatives, sourcedata, code) is no raw image and is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lichen.errors import ImageError
from lichen.images.patients import read_rows
from lichen.images.read import is_image, stem

DESCRIPTION = "dataset_description.json"
PARTICIPANTS = "participants.tsv"
_ID = "participant_id"


def subject_folders(folder: Path) -> list[Path]:
    """The folders sub-* of a BIDS root; none if ``folder`` is not one.

    It is one if such folders stand beside dataset_description.json or hold images named after them, unless a table of
    files says otherwise.
    """
    subjects = sorted(path for path in folder.glob("sub-*") if path.is_dir())
    if not subjects or (folder / "metadata.csv").is_file() or "file" in _header(folder / PARTICIPANTS):
        return []
    named = (is_image(path.name) for subject in subjects for path in subject.rglob(f"{subject.name}_*"))
    return subjects if (folder / DESCRIPTION).is_file() or any(named) else []


def bids_patients(folder: Path, names: Iterable[str], column: str | None) -> dict[str, str]:
    """Patient by file: sub-* itself, or what participants.tsv says of it in ``column``.

    No column is guessed: in BIDS, ``group`` is usually the arm of a study. Raises ImageError if the column or a
    subject's row is missing.
    """
    subjects = {name: name.partition("/")[0] for name in names}
    if column is None:
        return subjects
    table = folder / PARTICIPANTS
    header = _header(table)
    if column not in header or _ID not in header:
        raise ImageError(
            f"{table} has no column {column if _ID in header else _ID}"
            + (f"; it has: {', '.join(header)}" if header else ""),
            fix="correct --images.patient-column, or leave it out: the patients are then the folders sub-*",
        )
    said = {row[_ID]: row[column] for _, row in read_rows(table, "\t")[1]}
    for name, subject in subjects.items():
        if said.get(subject, "") in {"", "n/a"}:
            raise ImageError(
                f"{table} has no {column} for {subject}, whose image is {name}", fix="add it, or remove the folder"
            )
        subjects[name] = said[subject]
    return subjects


def only_suffix(folder: Path, names: Iterable[str]) -> str:
    """The one BIDS suffix, such as T1w, that all images have; raises ImageError if they have several."""
    counts = Counter(bids_suffix(name) for name in names)
    if len(counts) != 1:
        found = ", ".join(f"{suffix} ({count})" for suffix, count in counts.most_common(8))
        raise ImageError(
            f"{folder} is in BIDS and has images of several kinds: {found}",
            fix=f"choose with --images.channels, e.g. {counts.most_common(1)[0][0]}; several are stacked as channels",
        )
    return next(iter(counts))


def bids_suffix(name: str) -> str:
    """``T1w`` of ``sub-01/anat/sub-01_run-1_T1w.nii.gz``."""
    return stem(name).rpartition("/")[2].rpartition("_")[2]


def _header(table: Path) -> list[str]:
    """The first line alone: what follows matters only to those who ask for a column."""
    if not table.is_file():
        return []
    with table.open(encoding="utf-8-sig", errors="replace") as file:
        return [cell.strip() for cell in file.readline().split("\t")]
