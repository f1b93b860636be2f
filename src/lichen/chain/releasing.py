"""From an audited synthetic set to a folder that may be shared, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lichen.audited import Audited, read_audited
from lichen.errors import AuditError
from lichen.files import write_json, write_text
from lichen.images.find import find_images
from lichen.images.write import SIDECAR_FIELDS, sidecar_path
from lichen.release import (
    Decision,
    Origin,
    SecondLook,
    about_run,
    check_same_patients,
    check_second_look,
    data_card,
    decide,
    sums,
)
from lichen.report.data_card import data_card_page
from lichen.runs import RunFolder, now
from lichen.workshop import workshop

if TYPE_CHECKING:
    from lichen.options import ReleaseOptions

IMAGES, CARD, PAGE, SUMS = "images", "data-card.json", "data-card.html", "SHA256SUMS"
"""What lies in a release."""

MOST_SIDECAR_BYTES = 2**20

Look = Callable[[Path, Audited], SecondLook]
"""Audits the images of a folder by a score that did not filter."""


@dataclass(frozen=True)
class Release:
    """What came of asking for a release."""

    audited: Audited
    decision: Decision
    second: SecondLook | None
    folder: Path | None
    """None: nothing was released, and nothing was left on the disk."""
    sums_sha256: str | None
    """The SHA-256 of ``SHA256SUMS``, by which the set is cited."""

    def as_json(self) -> dict[str, Any]:
        """For other programs. Names the files that a second look flagged, as the release never does."""
        return {
            "released": None if self.folder is None else str(self.folder),
            "exit_code": self.decision.exit_code,
            "reasons": list(self.decision.reasons),
            "images": len(self.audited.released),
            "removed": len(self.audited.images) - len(self.audited.released),
            "copy_rate_high": self.audited.copy_rate_high,
            "second_look": None
            if self.second is None
            else {"score": self.second.score, "verdict": self.second.verdict, "flagged": list(self.second.flagged)},
            "sums_sha256": self.sums_sha256,
        }


def release(options: ReleaseOptions, look: Look | None = None) -> Release:
    """Make the folder ``options.out`` of the images that passed, or say why not.

    ``look`` is the second look, by default the one that ``options`` ask for; it is asked about the very bytes that
    would leave.

    Raises:
        AuditError: the audit cannot be understood, its images are not those in the folder, or ``options.out`` is taken.
    """
    path, images, run = _places(options)
    audit = _read(path)
    audited = read_audited(_parsed(audit, path))
    if options.second_look is not None:
        check_second_look(audited, options.second_look)
        look = look or second_look(options)
    _refuse_taken(options, images)
    _refuse_others(images, audited)
    origin = _origin(audited, images, run)

    def decided(second: SecondLook | None) -> Decision:
        limit, unsure = options.max_copy_rate, options.allow_inconclusive
        return decide(audited, second, max_copy_rate=limit, allow_inconclusive=unsure)

    decision, second = decided(None), None
    if decision.exit_code:
        return Release(audited, decision, None, None, None)
    with workshop(options.out) as (folder, finish):
        digests = _copy_images(audited, images, folder)
        if look is not None:
            second = look(folder / IMAGES, audited)
            check_same_patients(audited, second)
            decision = decided(second)
        if decision.exit_code:
            return Release(audited, decision, second, None, None)
        card = data_card(
            audited,
            origin,
            second,
            audit_sha256=hashlib.sha256(audit).hexdigest(),
            max_copy_rate=options.max_copy_rate,
            date=now(),
        )
        write_json(folder / CARD, card)
        write_text(folder / PAGE, data_card_page(card))
        digests |= {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (CARD, PAGE)}
        text = sums(digests.items())
        write_text(folder / SUMS, text)
        finish()
    return Release(audited, decision, second, options.out, hashlib.sha256(text.encode()).hexdigest())


def _places(options: ReleaseOptions) -> tuple[Path, Path, RunFolder | None]:
    """(audit.json, folder of synthetic images, the run folder if it is one)."""
    if options.synthetic is not None:
        path, images, run = options.audit / "audit.json", options.synthetic, None
    else:
        run = RunFolder(options.audit)
        path, images = run.audit, run.samples
    if not path.is_file():
        fix = "give a run folder, or the folder that lichen audit wrote to and --synthetic DIR"
        raise AuditError(f"there is no {path}", fix=fix)
    if run is not None and run.is_locked():
        raise AuditError(f"another process is working in {run.path}", fix="wait for it")
    if not images.is_dir():
        raise AuditError(
            f"{images} is no folder of images",
            fix="give the folder that was audited; images in an .npz cannot be released",
        )
    return path, images, run


def _parsed(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{path} is no JSON", fix="audit the images again") from error


def _refuse_taken(options: ReleaseOptions, images: Path) -> None:
    out = options.out
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise AuditError(f"{out} is there already; a release is never added to", fix="choose another --out")
    for folder in filter(None, (images, options.train, options.reference)):
        if out.resolve().is_relative_to(folder.resolve()):
            raise AuditError(f"{out} lies in {folder}, whose images it would join", fix="choose another --out")


def _refuse_others(images: Path, audited: Audited) -> None:
    """Raise AuditError unless the images of the folder are those that were audited, byte by byte."""
    added = find_images(images, [images]).keys() - {image.file for image in audited.images}
    if added:
        raise AuditError(
            f"{images} holds {len(added)} images that were not audited, such as {min(added)}",
            fix="audit the folder again, or move them out of it",
        )
    for image in audited.images:
        _refuse_changed(image.file, image.sha256, hashlib.sha256(_read(images, image.file)).hexdigest())


def _refuse_changed(name: str, audited: str, found: str) -> None:
    if audited != found:
        raise AuditError(f"{name} has changed since it was audited", fix="audit the folder again")


def _copy_images(audited: Audited, images: Path, folder: Path) -> dict[str, str]:
    """Copy what passed, with its sidecars, into ``folder``; path -> SHA-256 of what was written."""
    digests: dict[str, str] = {}
    for image in audited.released:
        content = _read(images, image.file)
        digests[_write(folder, image.file, content)] = digest = hashlib.sha256(content).hexdigest()
        _refuse_changed(image.file, image.sha256, digest)
        name, sidecar, _ = _sidecar(images, image.file)
        if sidecar is not None:
            digests[_write(folder, name, sidecar)] = hashlib.sha256(sidecar).hexdigest()
    return digests


def _write(folder: Path, name: str, content: bytes) -> str:
    path = folder / IMAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return f"{IMAGES}/{name}"


def _sidecar(images: Path, name: str) -> tuple[str, bytes | None, Mapping[str, Any]]:
    """(name, bytes, content) of the sidecar that lichen wrote beside an image; no bytes where there is none.

    JSON that anything else wrote is left behind: nobody knows what it says of whom.
    """
    path = sidecar_path(Path(name))
    if not (images / path).is_file():
        return path.as_posix(), None, {}
    content = _read(images, path.as_posix())
    try:
        found = json.loads(content) if len(content) <= MOST_SIDECAR_BYTES else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("synthetic") is not True or not found.keys() <= SIDECAR_FIELDS:
        return path.as_posix(), None, {}
    return path.as_posix(), content, found


def _read(folder: Path, name: str = "") -> bytes:
    """The bytes of the file ``name`` in ``folder``, of which no part is a link.

    Raises:
        AuditError: it is not there, or is no plain file.
    """
    path = folder
    for part in name.split("/") if name else ():
        path /= part
        if path.is_symlink():
            raise AuditError(f"{path} is a link; nothing is released through one", fix="put the file itself there")
    try:
        # a pipe would wait for ever, and a link may have come since
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | (os.O_NOFOLLOW if name else 0))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AuditError(f"{path} is no plain file", fix="put the image that was audited there")
            return file.read()
    except OSError as error:
        raise AuditError(f"{path} cannot be read ({error.strerror})", fix="put back what was audited") from error


def _origin(audited: Audited, images: Path, run: RunFolder | None) -> Origin:
    """Where the set comes from: of a run what its summary says, of others what lichen's sidecars say."""
    generator = audited.inputs.get("generator")
    named = [_sidecar(images, image.file)[2].get("checkpoint_sha256") for image in audited.released]
    if generator is None and len(set(named)) == 1 and isinstance(named[0], str):
        generator = named[0]
    elif generator is not None and any(name not in {None, generator} for name in named):
        raise AuditError("some images come from another generator than the audited one", fix="audit the folder again")
    summary = None if run is None else run.read_summary()
    if run is None or summary is None:
        return Origin(checkpoint_sha256=generator)
    with run.summary_in_use():
        if summary["sampling"]["checkpoint_sha256"] != generator:
            raise AuditError(
                f"{run.summary} and {run.audit} are of different generators", fix="repeat the command of the run"
            )
        model, carbon = about_run(summary)
        return Origin(generator, summary["is_phantom"], model, carbon)


def second_look(options: ReleaseOptions) -> Look:
    """The second look by the score that ``options`` name.

    Raises:
        AuditError: there is no such score, or nothing says which real images it is to compare with.
    """
    from lichen.audit import find_score

    score = find_score(options.second_look or "").name
    if options.train is None and options.run is None and options.synthetic is not None:
        raise AuditError(
            "a second look needs the training images and real images of other patients",
            fix="give --train DIR and --reference DIR, or --run RUN for those of a run folder",
        )
    return lambda images, audited: _look(options, score, images, audited)


def _look(options: ReleaseOptions, score: str, images: Path, audited: Audited) -> SecondLook:
    from tempfile import TemporaryDirectory

    import torch

    from lichen.chain.auditing import audit_folders, audit_with_run
    from lichen.config import AuditConfig, CarbonConfig
    from lichen.options import AuditOptions
    from lichen.watch import watching

    settings = AuditConfig(scores=(score,), false_discovery_rate=audited.settings["false_discovery_rate"], self_test=0)
    with TemporaryDirectory() as scratch, watching(Path(scratch), CarbonConfig(), quiet=options.quiet) as watch:
        asked = AuditOptions(
            synthetic=images,
            out=Path(scratch),
            train=options.train,
            reference=options.reference,
            images=options.images,
            audit=settings,
        )
        found = (
            audit_folders(asked, watch)
            if options.train is not None and options.reference is not None
            else audit_with_run(RunFolder(options.run or options.audit), asked, torch.device("cpu"), watch)
        )
    result, inputs = found.result, found.inputs_sha256
    return SecondLook(
        score=score,
        verdict=result.verdict,
        flagged=tuple(finding.name for finding in result.copies),
        smallest_p=result.resolution.smallest_p,
        detectable_share=result.resolution.detectable_share,
        inputs=inputs,
    )
