"""Cases: one image of several channels, each in a file of its own.

A case is found by a table's columns ``case`` and ``channel``, or by names. With the channels t1 and flair,
``p1/scan_t1.nii.gz`` and ``p1/scan_flair.nii.gz`` are the case ``p1/scan``; with the channels images and labels,
``images/p1.nii.gz`` and ``labels/p1.nii.gz`` are the case ``p1``. Both go together: ``imagesTr/p1_0000.nii.gz`` and
``labelsTr/p1.nii.gz`` are the case ``p1`` of the channels 0000 and labelsTr. Files that are no channel of the image are
left alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lichen.config import Volumes
from lichen.errors import ImageError
from lichen.images.read import read_image, stem
from lichen.images.types import Image

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


def cases_by_name(names: Iterable[str], channels: Sequence[str]) -> tuple[list[Case], list[tuple[Case, str]]]:
    """Cases that are whole, and those that are not with what is wrong; sorted by name.

    A file's channel is the ending of its name, before its suffixes and after ``_``, ``-``, ``.``, a blank or the
    folder; or else a folder that it lies in. Upper and lower case are the same. Raises ImageError if no name has a
    channel.
    """
    names = list(names)
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for place in _places(names, channels):
        name = place.name if len(channels) == 1 else place.case
        found[name][place.channel].append(place.name)
    if not found:
        endings = Counter(stem(name).rpartition("/")[2].rpartition("_")[2] for name in names)
        common = ", ".join(f"{ending} ({count})" for ending, count in endings.most_common(5))
        raise ImageError(
            f"no image has a name or a folder that ends in {' or '.join(channels)}; endings are: {common}",
            fix="give --images.channels the endings of your files, or the names of their folders, or leave it out",
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


def with_labels(
    cases: Sequence[Case], label_of: Mapping[str, str], label: str
) -> tuple[list[Case], list[tuple[Case, str]]]:
    """The same with the label map that ``label_of`` names beside a case's files, as the channel ``label``.

    Raises ImageError for a case whose files have several.
    """
    whole, broken = [], []
    for case in cases:
        named = list(dict.fromkeys(label_of[file] for file in case.files.values() if file in label_of))
        if len(named) > 1:
            raise ImageError(
                f"the table gives the case {case.name} several label maps: {', '.join(named)}",
                fix=f"name one in {label} of all its rows",
            )
        if named:
            whole.append(Case(case.name, {**case.files, label: named[0]}))
        else:
            broken.append((case, f"the case {case.name} has no {label} in the table"))
    return whole, broken


def read_case(folder: Path, files: Mapping[str, str], label: str | None = None, volumes: Volumes = "auto") -> Image:
    """The files of a case as one image, a channel each; raises ImageError unless all lie on the same voxels.

    Beside the file of the ``label`` map, a single image may have its channels in one file.
    """
    paths = {channel: folder / file for channel, file in files.items()}
    images = {channel: read_image(path, volumes=volumes) for channel, path in paths.items()}
    first, own_channels = next(iter(images)), len(files) - (label is not None)
    for channel, image in images.items():
        if len(image.voxels) != 1 and (own_channels > 1 or channel == label):
            raise ImageError(
                f"{paths[channel]} is one channel of a case and has {len(image.voxels)} itself",
                fix="save one channel per file",
            )
        if not _same_voxels(image, images[first]):
            raise ImageError(
                f"{paths[first]} and {paths[channel]} are channels of one case and lie on different voxels: "
                f"{images[first].geometry} and {image.geometry}"
                + (" at another place" if image.geometry == images[first].geometry else ""),
                fix="resample the second to the first, e.g. with nibabel.processing.resample_from_to",
            )
    return Image(np.concatenate([image.voxels for image in images.values()]), images[first].affine)


@dataclass(frozen=True)
class _Place:
    """A file that is a channel of a case."""

    name: str
    channel: str
    case: str


def _places(names: Sequence[str], channels: Sequence[str]) -> Iterator[_Place]:
    """The files that are channels.

    The folder that names a channel is no part of a case's name. Nor is the folder beside it, of the channels that are
    endings.
    """
    known = {name: channel for name in names if (channel := _ending(name, channels) or _folder(name, channels))}
    depths = {_depth(name, channel) for name, channel in known.items()} - {None}
    for name, channel in known.items():
        *folders, last = stem(name).split("/")
        depth = _depth(name, channel)
        if depth is None and len(depths) == 1:
            (depth,) = depths
        if depth is not None and depth < len(folders):
            del folders[depth]
        if _ending(name, [channel]) is not None:
            last = last[: -len(channel)]
        case = "/".join([*folders, last]).rstrip(_BETWEEN).rstrip("/")
        yield _Place(name, channel, case or ".")


def _folder(name: str, channels: Sequence[str]) -> str | None:
    """The one of ``channels`` that is the name of a folder in which the file lies, the innermost."""
    by_name = {channel.lower(): channel for channel in channels}
    return next((by_name[part] for part in reversed(name.lower().split("/")[:-1]) if part in by_name), None)


def _depth(name: str, channel: str) -> int | None:
    """How far down the path the folder stands that is named as the channel."""
    folders = name.lower().split("/")[:-1]
    return len(folders) - 1 - folders[::-1].index(channel.lower()) if channel.lower() in folders else None


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
