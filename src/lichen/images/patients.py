"""Which patient each file belongs to: metadata.csv or participants.tsv in the image folder."""

from __future__ import annotations

import csv
import difflib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lichen.errors import ImageError

TABLES = {"metadata.csv": ",", "participants.tsv": "\t"}
"""File names looked for, in this order, and what separates their cells."""
COLUMNS = ("patient", "subject", "group")
"""Columns that may name the patient."""
CASE_COLUMNS = {"case", "channel"}
"""Columns that together say which files are channels of one image."""


@dataclass(frozen=True)
class PatientTable:
    """What a table says about the files of its folder."""

    path: Path
    column: str
    """The column that the patients were taken from."""
    patients: Mapping[str, str]
    """Patient by file, the file as a path relative to the folder, in the table's order."""
    mentioned: frozenset[str]
    """Every cell: files named here beside the images (masks, label maps) are no forgotten images."""
    cases: Mapping[str, tuple[str, str]]
    """(case, channel) by file, where the table has both columns; else empty."""
    labels: Mapping[str, str]
    """Label map by file, where a column was asked for that the table has and the row fills in; else empty."""


def read_patient_table(folder: Path, column: str | None = None, label: str | None = None) -> PatientTable | None:
    """The table in ``folder``, or None if there is none; ``label`` may name its column of label maps.

    Of several columns that could name the patient, the coarsest is taken: ``group`` where it joins whole patients, so
    that no patient is on both sides of a split by any of the columns. Where no column is the coarsest, or where it
    joins patients by the dozen as a study arm does, nothing is guessed and ImageError asks for ``column``. ImageError
    also names the line of a row that is incomplete or repeats a file.
    """
    path = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        return None
    header, rows = read_rows(path, TABLES[path.name])
    if "file" not in header:
        one_cell = len(header) == 1 and any(mark in header[0] for mark in ",;\t")
        between = "tabs" if path.suffix == ".tsv" else "commas"
        raise ImageError(
            f"{path} has no column named file; it has: {', '.join(header)}",
            fix=f"save it with {between} between the cells"
            if one_cell
            else "add a column file with each image's path relative to the folder",
        )
    column = _choose_column(path, header, rows, column)
    if twice := [name for name in ("file", column, label) if name and header.count(name) > 1]:
        raise ImageError(f"{path} has several columns named {twice[0]}", fix="keep one of them, rename the others")
    patients: dict[str, str] = {}
    cases: dict[str, tuple[str, str]] = {}
    labels: dict[str, str] = {}
    for line, row in rows:
        file = _relative(path, line, row["file"])
        if file in patients:
            raise ImageError(f"{path} names {file} twice, again in line {line}", fix="keep one row per file")
        if not row[column]:
            raise ImageError(
                f"{path} has no {column} for {file} in line {line}", fix=f"fill in the {column}, or remove the row"
            )
        patients[file] = row[column]
        if label is not None and row.get(label):
            labels[file] = _relative(path, line, row[label])
        if CASE_COLUMNS.issubset(header):
            cases[file] = (row["case"], row["channel"])
            if not all(cases[file]):
                raise ImageError(
                    f"{path} has no case or no channel for {file} in line {line}", fix="fill in both, or remove the row"
                )
    _refuse_shared_cases(path, patients, cases)
    mentioned = frozenset(cell for _, row in rows for cell in row.values())
    return PatientTable(path, column, patients, mentioned, cases, labels)


def _refuse_shared_cases(path: Path, patients: Mapping[str, str], cases: Mapping[str, tuple[str, str]]) -> None:
    owner: dict[str, str] = {}
    for file, (case, _) in cases.items():
        if owner.setdefault(case, patients[file]) != patients[file]:
            raise ImageError(
                f"{path} gives the case {case} to two patients, {owner[case]} and {patients[file]}",
                fix="give each case a name of its own",
            )


def read_rows(path: Path, separator: str) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The header, and each row that is not empty with its line number; cells without surrounding blanks.

    Raises ImageError for a file that is no table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            rows = []
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    raise ImageError(
                        f"{path} has {len(cells)} cells in line {reader.line_num} and {len(header)} in its header",
                        fix="put cells that contain the separator in double quotes",
                    )
                row = {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
                rows.append((reader.line_num, row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{path} cannot be read as a table: {error}", fix="save it again as UTF-8 text") from error
    return header, rows


def _choose_column(path: Path, header: list[str], rows: list[tuple[int, dict[str, str]]], wanted: str | None) -> str:
    if wanted is not None:
        if wanted in header:
            return wanted
        near = difflib.get_close_matches(wanted, header, 1) or [name for name in COLUMNS if name in header]
        raise ImageError(
            f"{path} has no column {wanted}; it has: {', '.join(header)}",
            fix=f"give --images.patient-column {near[0]}" if near else "name the column that tells the patient",
        )
    present = [name for name in COLUMNS if name in header]
    if not present:
        raise ImageError(
            f"{path} has none of the columns {', '.join(COLUMNS)}; it has: {', '.join(header)}",
            fix="give --images.patient-column with the name of the column that tells the patient",
        )
    coarsest = [
        name
        for name in present
        if all(max(map(len, _joined(rows, by=other, values=name).values()), default=1) == 1 for other in present)
    ]
    ask = f"say which one tells the patient, e.g. --images.patient-column {present[0]}"
    if not coarsest:
        raise ImageError(f"{path} has the columns {' and '.join(present)}, which cut across each other", fix=ask)
    chosen = coarsest[0]
    for other in present:
        joined = _joined(rows, by=chosen, values=other)
        everyone = len(_joined(rows, by=other, values=other))
        value, members = max(joined.items(), key=lambda pair: len(pair[1]), default=("", set[str]()))
        if len(members) > max(10, everyone / 10):
            raise ImageError(
                f"{path} has {len(members)} of {everyone} values of {other} under the {chosen} {value!r}: "
                "a study arm rather than one patient",
                fix=f"say which column tells the patient, e.g. --images.patient-column {other}",
            )
    return chosen


def _joined(rows: list[tuple[int, dict[str, str]]], *, by: str, values: str) -> dict[str, set[str]]:
    """The values of one column that occur with each value of another."""
    joined: dict[str, set[str]] = defaultdict(set)
    for _, row in rows:
        joined[row[by]].add(row[values])
    return joined


def _relative(path: Path, line: int, cell: str) -> str:
    """A cell that names a file as a path that cannot leave the folder."""
    file = PurePosixPath(cell)
    if not cell or file.is_absolute() or ".." in file.parts:
        raise ImageError(
            f"{path} names the file {cell!r} in line {line}, which is no path inside {path.parent}",
            fix="give each image's path relative to the folder",
        )
    return str(file)
