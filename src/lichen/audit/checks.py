"""Checks before any score: can these sets be compared, and are training and held-out images really apart?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Literal

import torch

from lichen.errors import AuditError
from lichen.plurals import plural

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.images.types import ImageSet

MANY_IMAGES = 10
"""Fewer images of one patient are not many."""
MANY_TIMES = 5
"""Nor are these unless they are more than so many times the median over the patients."""


def check_sets(synthetic: ImageSet, train: ImageSet, reference: ImageSet) -> None:
    """Raise ``AuditError`` if a set is empty, has NaN or infinite voxels, or is not on the training images' grid."""
    _check_not_empty(synthetic, "no synthetic images were given", "point --synthetic at a folder that holds them")
    _check_not_empty(train, "no training images were given", "point --train at the images the generator learned from")
    _check_not_empty(
        reference,
        "no held-out images were given; without them no similarity can be called unusual",
        "point --reference at real images of the same source, of patients the generator never saw",
    )
    for images, what in ((synthetic, "synthetic"), (reference, "held-out")):
        _check_grid(images, train, what)
    for images, what in ((synthetic, "synthetic"), (train, "training"), (reference, "held-out")):
        _check_finite(images, what)


def set_apart(
    train: ImageSet,
    reference: ImageSet,
    train_prints: list[str | None],
    *,
    allowed: bool,
    what: Literal["held-out", "withheld"] = "held-out",
) -> tuple[ImageSet, tuple[str, ...]]:
    """The held-out images without those of training patients, and who these patients are.

    A patient is shared by name, or by an image that is identical to a training image. Raises ``AuditError`` if there
    are such patients and it is not ``allowed``, or if nobody else is held out.
    """
    prints = fingerprints(reference.voxels)
    if not allowed:
        check_apart(train, reference, train_prints, prints, what)
        return reference, ()
    seen = set(train_prints) - {None}
    same = {patient for patient, print_ in zip(reference.patients, prints, strict=True) if print_ in seen}
    shared = same | (known_patients(train) & known_patients(reference))
    apart = without(reference, shared)
    _check_not_empty(apart, f"every {what} patient is a training patient too", "give real images of other patients")
    return apart, tuple(sorted(shared))


def as_large_as(train: ImageSet, withheld: ImageSet, train_prints: list[str | None], *, allowed: bool) -> ImageSet:
    """As many of the ``withheld`` patients' images as ``train`` has: the nearest of more images is nearer.

    The first ones are taken, in the order given. Raises ``AuditError`` if they are fewer, are not on the grid of the
    training images, or if the two sets are not apart (see ``set_apart``).
    """
    _check_not_empty(withheld, "no withheld images were given", "point --withheld at images never used for anything")
    _check_grid(withheld, train, "withheld")
    _check_finite(withheld, "withheld")
    withheld, _ = set_apart(train, withheld, train_prints, allowed=allowed, what="withheld")
    wanted, there = len(train.names), len(withheld.names)
    if there < wanted:
        raise AuditError(
            f"withheld: {plural(there, 'image')}, and {wanted} were trained on; the nearest of more images is nearer",
            fix=f"give at least {wanted} withheld images, or none and --reference",
        )
    return withheld if there == wanted else taken(withheld, list(range(wanted)))


def check_apart(
    train: ImageSet,
    reference: ImageSet,
    train_prints: list[str | None],
    reference_prints: list[str | None],
    what: Literal["held-out", "withheld"] = "held-out",
) -> None:
    """Raise ``AuditError`` if a patient or an image (by ``fingerprints``) is in both training and held-out images.

    Such a held-out patient resembles the training set as a copy does, and would make copies look usual.
    """
    allow = f"or leave those patients out of the {what} ones with --audit.allow-overlap"
    if shared := sorted(known_patients(train) & known_patients(reference)):
        patient = shared[0]
        in_train = train.names[train.patients.index(patient)]
        in_reference = reference.names[reference.patients.index(patient)]
        raise AuditError(
            f"patient {patient} is in both training ({in_train}) and {what} images ({in_reference}){_and_more(shared)}",
            fix=f"move each patient's images to one side (rename patients if equal names mean different ones), {allow}",
        )
    held_out = dict(zip(reference_prints, reference.names, strict=True))
    same = [
        (name, held_out[print_])
        for print_, name in zip(train_prints, train.names, strict=True)
        if print_ is not None and print_ in held_out
    ]
    if same:
        raise AuditError(
            f"training image {same[0][0]} and {what} image {same[0][1]} are identical in every voxel{_and_more(same)}",
            fix=f"remove it from the {what} images (the two are one patient under two names), {allow}",
        )


def without(images: ImageSet, patients: Collection[str]) -> ImageSet:
    """``images`` without those of ``patients``."""
    kept = [i for i, patient in enumerate(images.patients) if patient not in patients]
    return images if len(kept) == len(images.names) else taken(images, kept)


def taken(images: ImageSet, kept: list[int]) -> ImageSet:
    """Some of ``images``, by their places."""
    names, owners = (tuple(values[i] for i in kept) for values in (images.names, images.patients))
    return replace(images, voxels=images.voxels[kept], names=names, patients=owners)


def with_many_images(patients: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Patients with at least ``MANY_IMAGES`` images and more than ``MANY_TIMES`` the median, the most first.

    ``patients`` (N,) of N images. A generator sees such a patient as often as it sees others together.
    """
    images = Counter(patients)
    limit = MANY_TIMES * median(images.values())
    found = [(patient, count) for patient, count in images.items() if count >= MANY_IMAGES and count > limit]
    return tuple(sorted(found, key=lambda entry: (-entry[1], entry[0])))


def fingerprints(images: Tensor) -> list[str | None]:
    """A digest of each image's voxels, equal only for identical images; ``images`` (N, C, *S).

    None for an image whose voxels are all equal: two blank images have no patient in common.
    """
    return [_fingerprint(image.flatten().cpu()) for image in images]  # one by one: the set may be mapped from a file


def _fingerprint(voxels: Tensor) -> str | None:
    if bool((voxels == voxels[0]).all()):
        return None
    return hashlib.blake2b(voxels.contiguous().numpy().data, digest_size=16).hexdigest()


def count_duplicates(prints: list[str | None]) -> int:
    """How many images are identical to an earlier one."""
    known = [print_ for print_ in prints if print_ is not None]
    return len(known) - len(set(known))


def known_patients(images: ImageSet) -> set[str]:
    """Patients of whom more is known than a file's name: 0001.png in two folders need not be one patient."""
    return {patient for patient, name in zip(images.patients, images.names, strict=True) if patient != name}


def _and_more(found: list[str] | list[tuple[str, str]]) -> str:
    return f", and {len(found) - 1} more" if len(found) > 1 else ""


def _check_not_empty(images: ImageSet, problem: str, fix: str) -> None:
    if not len(images.voxels):
        raise AuditError(problem, fix=fix)


def _check_grid(images: ImageSet, train: ImageSet, what: str) -> None:
    ours, theirs = tuple(images.voxels.shape[1:]), tuple(train.voxels.shape[1:])
    if ours[0] != theirs[0]:
        raise AuditError(
            f"the {what} images have {ours[0]} channels, the training images {theirs[0]} (first: {images.names[0]})",
            fix="give images with the same channels in the same order",
        )
    if ours != theirs:
        raise AuditError(
            f"the {what} images are {_grid(ours)} voxels, the training images {_grid(theirs)} "
            f"(first: {images.names[0]})",
            fix=f"bring all sets to one grid, e.g. --images.size {' '.join(map(str, theirs[1:]))}",
        )


def _grid(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape[1:]))


def _check_finite(images: ImageSet, what: str) -> None:
    # A sum is NaN or infinite if any voxel is, and needs no mask as large as the images; in float64 it cannot overflow.
    sums = torch.stack([image.sum(dtype=torch.float64) for image in images.voxels])
    bad = (~torch.isfinite(sums)).nonzero().squeeze(1).tolist()
    if bad:
        raise AuditError(
            f"{what} image {images.names[bad[0]]} has voxels that are NaN or infinite"
            f"{_and_more([images.names[i] for i in bad])}",
            fix="write it again without them, or leave it out",
        )
