"""Cases: one image of several channels, each in a file of its own.

A case is found by a table's columns ``case`` and ``channel``, or by the endings of file names: with the channels t1 and
flair, ``p1/scan_t1.nii.gz`` and ``p1/scan_flair.nii.gz`` are the case ``p1/scan``. Files that are no channel of the
image, such as label maps, are left alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lichen.errors import ImageError
from lichen.images.read import read_image, stem
from lichen.images.types import Geometry, Image

_BETWEEN = "_-. "
"""What separates the parts of a file name."""
_MOST_APART = 0.1
"""How far apart two files of a case may place one voxel, in voxels: rounding is less, another position is more."""


@dataclass(frozen=True)
class Case:
    """What becomes one image."""

    name: str
    """Of a case of one file, the file's."""
    files: Mapping[str, str]
    """File by channel, in the order of the channels; paths relative to the folder."""


def cases_by_ending(names: Iterable[str], channels: Sequence[str]) -> tuple[list[Case], list[tuple[Case, str]]]:
    """Cases that are whole, and those that are not with what is wrong; sorted by name.

    The ending of a name stands before its suffixes and after ``_``, ``-``, ``.``, a blank or the folder; upper and
    lower case are the same. Raises ImageError if no name ends in a channel.
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        if (channel := _ending(name, channels)) is not None:
            rest = stem(name)[: -len(channel)].rstrip(_BETWEEN)
            found[name if len(channels) == 1 else rest.rstrip("/") or "."][channel].append(name)
    if not found:
        endings = Counter(stem(name).rpartition("/")[2].rpartition("_")[2] for name in names)
        common = ", ".join(f"{ending} ({count})" for ending, count in endings.most_common(5))
        raise ImageError(
            f"no image has a name that ends in {' or '.join(channels)}; endings are: {common}",
            fix="give --images.channels the endings of your files, or leave it out",
        )
    whole, broken = [], []
    for name, files in sorted(found.items()):
        twice = next((paths for paths in files.values() if len(paths) > 1), None)
        case = Case(name, {channel: files[channel][0] for channel in channels if channel in files})
        if twice is not None:
            broken.append((case, f"{name} has one channel in two files, {twice[0]} and {twice[1]}"))
        elif (lacking := _lacking(case, channels)) is not None:
            broken.append((case, lacking))
        else:
            whole.append(case)
    return whole, broken


def cases_by_table(
    rows: Mapping[str, tuple[str, str]], channels: Sequence[str]
) -> tuple[list[Case], list[tuple[Case, str]]]:
    """The same from (case, channel) by file; without ``channels`` all of them, in the order of the table.

    Raises ImageError for a channel that no row has, and for one that a case has twice.
    """
    known = list(dict.fromkeys(channel for _, channel in rows.values()))
    if missing := [channel for channel in channels if channel not in known]:
        raise ImageError(
            f"no row of the table has the channel {missing[0]}; channels are: {', '.join(known)}",
            fix=f"give --images.channels {' '.join(known)}, or a part of them",
        )
    wanted = list(channels) or known
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for file, (case, channel) in rows.items():
        if channel in wanted and (other := found[case].setdefault(channel, file)) != file:
            raise ImageError(
                f"the table gives the channel {channel} of the case {case} twice: {other} and {file}",
                fix="give each case a name of its own, or remove a row",
            )
    cases = [
        Case(name, {channel: files[channel] for channel in wanted if channel in files})
        for name, files in sorted(found.items())
        if files
    ]
    lacking = [(case, _lacking(case, wanted)) for case in cases]
    return [case for case, words in lacking if words is None], [(case, words) for case, words in lacking if words]


def read_case(folder: Path, files: Mapping[str, str]) -> Image:
    """The files of a case as one image, a channel each; raises ImageError unless all lie on the same voxels."""
    paths = [folder / file for file in files.values()]
    images = [read_image(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if len(image.voxels) != 1:
            raise ImageError(
                f"{path} is one channel of a case and has {len(image.voxels)} itself", fix="save one channel per file"
            )
        if not _same_voxels(image, images[0]):
            raise ImageError(
                f"{paths[0]} and {path} are channels of one case and lie on different voxels: "
                f"{_words(images[0].geometry)} and {_words(image.geometry)}"
                + (" at another place" if image.geometry == images[0].geometry else ""),
                fix="resample the second to the first, e.g. with nibabel.processing.resample_from_to",
            )
    return Image(np.concatenate([image.voxels for image in images]), images[0].affine)


def _ending(name: str, channels: Sequence[str]) -> str | None:
    """The longest of ``channels`` that the name ends in."""
    text = "/" + stem(name).lower()
    fitting = [c for c in channels if text.endswith(c.lower()) and text[-len(c) - 1] in _BETWEEN + "/"]
    return max(fitting, key=len, default=None)


def _lacking(case: Case, channels: Sequence[str]) -> str | None:
    missing = [channel for channel in channels if channel not in case.files]
    there = ", ".join(case.files.values())
    return f"the case {case.name} has no {' and no '.join(missing)}, only {there}" if missing else None


def _same_voxels(image: Image, other: Image) -> bool:
    """Whether no corner of the two grids is further apart than rounding explains."""
    if image.voxels.shape[1:] != other.voxels.shape[1:]:
        return False
    dims = image.voxels.ndim - 1
    corners = np.zeros((4, 2**dims))
    corners[:dims] = np.indices((2,) * dims).reshape(dims, -1) * (np.array(image.voxels.shape[1:]) - 1).reshape(-1, 1)
    corners[3] = 1
    apart_mm = np.linalg.norm(((image.affine - other.affine) @ corners)[:3], axis=0).max()
    return bool(apart_mm <= _MOST_APART * min(image.geometry.spacing_mm))


def _words(geometry: Geometry) -> str:
    spacing = " x ".join(f"{mm:.4g}" for mm in geometry.spacing_mm)
    return f"{' x '.join(map(str, geometry.shape))} of {spacing} mm"
