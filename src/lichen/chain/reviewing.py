"""From the findings of an audit to the pairs of images that a person looks at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lichen.audit import AuditResult, Finding, Names, keep_names, open_names
from lichen.audit.reviewed import audit_digest
from lichen.chain.auditing import Audited
from lichen.images import ImageSet
from lichen.images.types import spacing_mm
from lichen.progress import Step, silent
from lichen.report.review import Pair, most_pairs, review_page, write_review
from lichen.report.scripts import Inline

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lichen.audit.aligned import Pairs

PAIRS = 50
"""As many as a person looks at in about ten minutes."""
LEAST_ROTATION_DEG, LEAST_SHIFT_VOXELS, LEAST_ZOOM = 0.5, 0.5, 0.01
"""Smaller ones are what an alignment leaves of none."""


@dataclass(frozen=True)
class Motion:
    """What was done to a training image to give a synthetic one; a mirror comes last."""

    mirror: bool
    rotation_deg: float
    """The angle, in three dimensions about whichever axis."""
    shift: tuple[float, ...]
    """In voxels along each axis."""
    zoom: float


def review_pairs(
    result: AuditResult,
    synthetic: ImageSet,
    train: ImageSet,
    names: Names,
    *,
    most: int = PAIRS,
    step: Step = silent,
) -> list[Pair]:
    """The flagged images beside their training images, the most unusual first, then the nearest of the others.

    At most ``most`` pairs, and fewer where images are so large that no browser would hold them. ``synthetic`` and
    ``train`` are the sets that ``result`` was made of; ``step`` counts pairs.
    """
    findings = chosen(result, most_pairs(tuple(train.voxels.shape[1:]), most))
    classes = train.classes
    place = {name: at for at, name in enumerate(synthetic.names)}
    pool = {name: at for at, name in enumerate(train.names)}
    pairs: list[Pair] = []
    for number, finding in enumerate(findings, 1):
        query, fixed = synthetic.voxels[place[finding.name]], train.voxels[pool[str(finding.nearest_image)]]
        motion, aligned = overlaid(query, fixed, _spacing(train), classes)
        pairs.append(
            Pair(
                number=number,
                file=finding.name,
                patient=names.patient(str(finding.nearest_patient)),
                image=names.image(str(finding.nearest_image), str(finding.nearest_patient)),
                scores=dict(finding.similarities) | _label_score(query, fixed, classes),
                p_value=finding.p_value,
                is_flagged=finding.is_copy,
                is_identical=finding.is_identical,
                transform=motion_words(motion),
                synthetic=query.cpu().numpy(),
                training=fixed.cpu().numpy(),
                aligned=aligned,
            )
        )
        step(1)
    return pairs


def make_review(
    audited: Audited, folder: Path, *, most: int = PAIRS, niivue: Inline | None = None, step: Step = silent
) -> Path:
    """Write the review page of an audit into ``folder``, for its owner alone; return its path.

    ``folder`` is that of ``audit.json``, whose pseudonyms the page has. ``niivue`` is what ``niivue_script`` gives.
    """
    result, names = audited.result, open_names(folder)
    pairs = review_pairs(result, audited.synthetic, audited.train, names, most=most, step=step)
    keep_names(names, folder)
    digest = audit_digest(result.findings, audited.inputs_sha256)
    left_out = len(chosen(result, len(result.findings))) - len(pairs)
    train = audited.train
    page = review_page(pairs, digest, spacing=_spacing(train), classes=train.classes, left_out=left_out, niivue=niivue)
    return write_review(folder, page)


def chosen(result: AuditResult, most: int) -> Sequence[Finding]:
    """The ``most`` findings to look at first: flagged ones as ``result.copies`` has them, then the nearest others."""
    others = [f for f in result.findings if not f.is_copy and f.nearest_image is not None]
    others.sort(key=lambda f: (f.p_value, -(f.similarity or 0.0)))
    return [*(f for f in result.copies if f.nearest_image is not None), *others][:most]


def overlaid(
    query: Tensor, fixed: Tensor, spacing: tuple[float, ...], classes: Sequence[int] = ()
) -> tuple[Motion, NDArray[np.float32]]:
    """``query`` (C, *S) brought onto the training image ``fixed`` (C, *S), NaN where it does not reach, and how.

    The alignment is that of the aligned score, with this training image alone. With ``classes`` the last channel is a
    label map, which goes along and stays one.
    """
    import torch

    from lichen.audit.aligned import prepare
    from lichen.audit.warp import Frame, moved_onto

    images = len(fixed) - bool(classes)
    search = prepare(fixed[None, :images], torch.zeros(1, dtype=torch.int64), spacing=spacing)
    found = search.align(query[None, :images], k=1)
    frame = Frame(tuple(fixed.shape[1:]), spacing)

    def moved(image: Tensor) -> Tensor:
        return moved_onto(image, found.transform[0, 0], mirror=bool(found.mirror[0, 0]), frame=frame)

    aligned = moved(query[:images])
    if classes:
        # class by class: between two voxels lies one of their classes, and not the class between them
        points = torch.linspace(-1, 1, len(classes)).to(query)
        nearest = (query[-1] - points.reshape(-1, *[1] * len(frame.size))).abs().argmin(0)
        shares = moved(torch.nn.functional.one_hot(nearest, len(classes)).movedim(-1, 0).to(query))
        label = points[shares.nan_to_num().argmax(0)].where(~shares[0].isnan(), torch.nan)
        aligned = torch.cat([aligned, label[None]])
    return _motion(found, frame.size), aligned.cpu().numpy()


def _label_score(query: Tensor, fixed: Tensor, classes: Sequence[int]) -> dict[str, float | None]:
    """How alike two label maps are, if there are any; it decided nothing."""
    if not classes:
        return {}
    from lichen.audit.label_maps import nearest_dice

    (dice,) = nearest_dice(query[None, -1:], fixed[None, -1:], classes).tolist()
    return {"label map (Dice)": dice if math.isfinite(dice) else None}


def motion_words(motion: Motion) -> str:
    """E.g. ``turned by 5.1 degrees, shifted by 3.2 voxels, mirrored``."""
    words = []
    length = math.hypot(*motion.shift)
    if motion.rotation_deg >= LEAST_ROTATION_DEG:
        words.append(f"turned by {motion.rotation_deg:.1f} degrees")
    if abs(motion.zoom - 1) >= LEAST_ZOOM:
        words.append(f"zoomed by {motion.zoom:.2f}")
    if length >= LEAST_SHIFT_VOXELS:
        words.append(f"shifted by {length:.1f} voxels")
    if motion.mirror:
        words.append("mirrored")
    return ", ".join(words) or "not moved"


def _motion(found: Pairs, size: tuple[int, ...]) -> Motion:
    """The first pair's."""
    numbers, dims = found.transform[0, 0].tolist(), len(size)
    return Motion(
        mirror=bool(found.mirror[0, 0]),
        rotation_deg=math.degrees(math.hypot(*numbers[dims:-1])),
        shift=tuple(share * count for share, count in zip(numbers[:dims], size, strict=True)),
        zoom=math.exp(numbers[-1]),
    )


def _spacing(images: ImageSet) -> tuple[float, ...]:
    return spacing_mm(images.affine, images.voxels.ndim - 2)
