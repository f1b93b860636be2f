"""The page in which a person looks at synthetic images beside the training images they resemble, and marks the pairs.

It holds images of patients. So it is made only on request, its name says what is in it, and only its owner can read it.
Everything is in the one file, the Content-Security-Policy forbids every request, and what the reader marks stays in
the reader's browser until it is exported.
"""

from __future__ import annotations

import base64
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lichen.audit.reviewed import LAYOUT
from lichen.files import replacing
from lichen.palette import class_colours
from lichen.report.scripts import Inline, inert, inline
from lichen.report.templates import render

FILE_NAME = "REVIEW-CONTAINS-PATIENT-IMAGES.html"
MOST_VOXELS = 2**27
"""In all images of a page together: more than about a tenth of a gigabyte is slow to open."""

_SCRIPTS = ("review_pixels.js", "review_views.js", "review_niivue.js", "review.js")


@dataclass(frozen=True, eq=False)
class Pair:
    """A synthetic image and the training image nearest to it; arrays are (C, *S) in [-1, 1], all of one shape."""

    number: int
    """1 for the first pair of the page."""
    file: str
    """Name of the synthetic image."""
    patient: str
    """Pseudonym of the training patient."""
    image: str
    """Pseudonym of the training image."""
    scores: Mapping[str, float | None]
    """Similarity by the name of the score; None where the score cannot compare the image."""
    p_value: float
    is_flagged: bool
    is_identical: bool
    transform: str
    """What was done to the training image to give the synthetic one, in words."""
    synthetic: NDArray[np.float32]
    training: NDArray[np.float32]
    aligned: NDArray[np.float32]
    """The synthetic image brought onto the training image; NaN where the synthetic image does not reach."""


def most_pairs(shape: Sequence[int], wanted: int) -> int:
    """How many pairs of images of ``shape`` (C, *S) a page holds, at most ``wanted`` and at least one."""
    return max(1, min(wanted, MOST_VOXELS // (3 * math.prod(shape))))


def review_page(
    pairs: Sequence[Pair],
    audit_sha256: str,
    *,
    spacing: Sequence[float] | None = None,
    classes: Sequence[int] = (),
    left_out: int = 0,
    niivue: Inline | None = None,
) -> str:
    """The page as HTML, to be written by ``write_review``.

    ``audit_sha256`` binds the marks to the audit. ``spacing`` is the distance of voxels along each axis, in any unit;
    None: equal. With ``classes`` the last channel is a label map. ``left_out`` says how many pairs of the audit are not
    in the page. With ``niivue`` (``niivue_script``) volumes can be seen in three dimensions, too.
    """
    shape = pairs[0].synthetic.shape if pairs else (1, 1, 1)
    data = {
        "layout": LAYOUT,
        "audit_sha256": audit_sha256,
        "shape": list(shape),
        "spacing": [1.0] * (len(shape) - 1) if spacing is None else [float(length) for length in spacing],
        "colours": class_colours(classes).tolist() if classes else [],
        "pairs": [_facts(pair) for pair in pairs],
    }
    return render(
        "review.html",
        script=inline(*_SCRIPTS),
        style=inline("report.css", "review.css"),
        data=inert(data),
        pixels=[(pair.number, packed(pair)) for pair in pairs],
        flagged=sum(pair.is_flagged for pair in pairs),
        left_out=left_out,
        audit=audit_sha256[:12],
        is_volume=len(shape) == 4,
        channels=shape[0],
        is_colour=shape[0] == 3 and len(shape) == 3 and not classes,
        has_label_map=bool(classes),
        niivue=niivue if len(shape) == 4 else None,
    )


def write_review(folder: Path, page: str) -> Path:
    """Write ``page`` into ``folder`` under the name that says what it holds, for its owner alone; return its path."""
    path = folder / FILE_NAME
    with replacing(path) as temporary:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT, 0o600))
        temporary.write_text(page, encoding="utf-8")
    return path


def packed(pair: Pair) -> str:
    """The three images, one after the other, a byte for each voxel: zlib (RFC 1950), then base64.

    1 to 255 stand for -1 to 1, and 0 for no image.
    """
    images = np.stack([pair.synthetic, pair.training, pair.aligned]).astype(np.float32)
    steps = 1 + np.round((images.clip(-1, 1) + 1) * 127)
    values = np.where(np.isnan(images), 0, steps).astype(np.uint8)
    return base64.b64encode(zlib.compress(values.tobytes(), 9)).decode("ascii")


def _facts(pair: Pair) -> dict[str, Any]:
    scores = {name: None if score is None else round(float(score), 4) for name, score in pair.scores.items()}
    return {
        "number": pair.number,
        "file": pair.file,
        "patient": pair.patient,
        "image": pair.image,
        "scores": scores,
        "p_value": float(pair.p_value),
        "flagged": pair.is_flagged,
        "identical": pair.is_identical,
        "transform": pair.transform,
    }
