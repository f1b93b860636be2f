"""Which samples may be seen: those that the audit looked at and did not flag, and no other file whatsoever.

A synthetic image that is a copy IS an image of a patient. So nothing is shown by default: a picture needs a finding of
its own that says ``"flagged": false``, and a sidecar that says ``"synthetic": true``. Names in the audit are never
turned into paths; the files of the samples folder are listed, and each is looked up among the findings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lichen.files import sha256_of
from lichen.plurals import plural
from lichen.report.evidence import Facts, read_document
from lichen.report.thumbnails import Thumbnail, ThumbnailError, thumbnail
from lichen.report.verdict import Finding

MOST_SHOWN = 48
"""More pictures than this make the page heavy, and no clearer."""

_SAMPLE_NAME = re.compile(r"sample-[0-9]+\.(png|nii|nii\.gz)")


@dataclass(frozen=True)
class Tile:
    """A place in the gallery: a picture, or in ``withheld`` why there is none."""

    name: str
    picture: Thumbnail | None
    withheld: str | None


@dataclass(frozen=True)
class Gallery:
    """The tiles, and what is not among them in words."""

    tiles: tuple[Tile, ...]
    notes: tuple[str, ...]
    has_volumes: bool = False
    has_channels: bool = False
    """Whether pictures show several channels, each by itself."""

    @property
    def shows_any(self) -> bool:
        """Whether there is a picture at all."""
        return any(tile.picture is not None for tile in self.tiles)


def gallery(samples_dir: Path, findings: Sequence[Finding] | None, generator_sha256: str | None = None) -> Gallery:
    """The samples that may be seen; ``findings`` None means that there was no audit, and then none may.

    ``generator_sha256``: the generator whose samples were audited; a sample of another one took its place afterwards.
    """
    files = _sample_files(samples_dir)
    if findings is None:
        return Gallery((), (_why_unaudited(len(files)),))
    if not files:
        return Gallery((), ("The run folder holds no samples.",))

    flagged = {finding.name for finding in findings if finding.is_copy}
    # a name with two findings that disagree, or with one that decides nothing, has not passed
    doubtful = {finding.name for finding in findings if finding.is_copy is None}
    passed = {f.name: f.sha256 for f in findings if f.is_copy is False and f.name not in doubtful}

    tiles: list[Tile] = []
    more_passed = more_copies = unknown = foreign = 0
    for path in files:
        has_room = len(tiles) < MOST_SHOWN
        if path.name in flagged:
            if has_room:
                tiles.append(Tile(path.name, None, "withheld: copy of a training image"))
            else:
                more_copies += 1
        elif path.name not in passed:
            unknown += 1
        elif not _is_the_synthetic_image_audited(path, generator_sha256, passed[path.name]):
            foreign += 1
        elif has_room:
            tiles.append(_shown(path))
        else:
            more_passed += 1
    return Gallery(
        tuple(tiles),
        _notes(more_passed, more_copies, unknown, foreign),
        has_volumes=any(tile.picture.is_volume for tile in tiles if tile.picture),
        has_channels=any(tile.picture.channels > 1 for tile in tiles if tile.picture),
    )


def _sample_files(folder: Path) -> list[Path]:
    """Plain files with a sample's name, in order; a link is none, since it may lead to a patient's image."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        return []
    return [path for path in entries if _SAMPLE_NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink()]


def _is_the_synthetic_image_audited(path: Path, generator_sha256: str | None, sha256: str | None) -> bool:
    sidecar = _sidecar(path)
    if sidecar.flag("synthetic") is not True:
        return False
    if generator_sha256 not in {None, sidecar.text("checkpoint_sha256")}:
        return False
    return sha256 is None or sha256 == sha256_of(path)


def _sidecar(path: Path) -> Facts:
    return read_document(path.with_name(path.name.partition(".")[0] + ".json")).facts


def _shown(path: Path) -> Tile:
    classes = [int(label) for label in _sidecar(path).numbers("classes")]
    try:
        return Tile(path.name, thumbnail(path, classes), None)
    except ThumbnailError as error:
        return Tile(path.name, None, f"cannot be shown: {error}")


def _why_unaudited(count: int) -> str:
    there = f"The run folder holds {plural(count, 'synthetic image')}. " if count else ""
    return (
        f"{there}None is shown, because no audit has looked at them: a synthetic image may be a copy of a training "
        "image, and then it is an image of a patient. Audit them, and they appear here."
    )


def _notes(more_passed: int, more_copies: int, unknown: int, foreign: int) -> tuple[str, ...]:
    counted = (
        (more_passed, "more passed the audit and {are} in the samples folder."),
        (more_copies, "more {are} withheld as {copies}."),
        (unknown, "{are} not shown, because the audit has not compared {them}."),
        (foreign, "{are} not shown, because nothing says that {they} {are} what was audited."),
    )
    plural = {"are": "are", "them": "them", "they": "they", "copies": "copies of training images"}
    single = {"are": "is", "them": "it", "they": "it", "copies": "a copy of a training image"}
    return tuple(f"{n:,} {words.format_map(single if n == 1 else plural)}" for n, words in counted if n)
