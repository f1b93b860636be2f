"""What an audit found, as plain values: for the exit code, for ``audit.json`` and for people. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import lichen
from lichen.audit.resolution import Resolution
from lichen.config import AuditConfig
from lichen.files import write_json

Verdict = Literal["clean", "copies", "inconclusive"]

EXIT_CODES: Mapping[Verdict, int] = {"clean": 0, "copies": 1, "inconclusive": 3}
"""2 stays for wrong use, as everywhere in lichen."""


@dataclass(frozen=True)
class Finding:
    """One synthetic image beside the training image nearest to it."""

    name: str
    similarities: Mapping[str, float | None]
    """Per score, to the nearest training image; None if the image could not be compared (it is constant)."""
    p_value: float
    """How unusual the nearness is for an image of a new patient; corrected for the number of scores."""
    is_copy: bool
    """Rejected by Benjamini-Hochberg, or identical."""
    is_identical: bool
    """Equal to a training image in every voxel: a copy whatever the statistics can resolve."""
    score: str
    """The score with the smallest p-value; the nearest image is the nearest by it."""
    nearest_image: str | None
    nearest_patient: str | None

    @property
    def similarity(self) -> float | None:
        """The similarity by ``score``."""
        return self.similarities[self.score]

    def as_json(self) -> dict[str, Any]:
        """This finding as an entry of ``images`` in ``audit.json``."""
        return {
            "file": self.name,
            "score": self.similarity,
            "score_name": self.score,
            "scores": dict(self.similarities),
            "p_value": self.p_value,
            "flagged": self.is_copy,
            "identical": self.is_identical,
            "nearest_image": self.nearest_image,
            "nearest_patient": self.nearest_patient,
        }


@dataclass(frozen=True)
class Counts:
    """What was compared with what."""

    synthetic_images: int
    synthetic_not_comparable: int
    """Synthetic images that no score can compare, because they are constant."""
    train_images: int
    train_patients: int
    train_duplicates: int
    """Training images identical to an earlier one; duplicates are the likeliest to be memorised."""
    reference_images: int
    reference_patients: int


@dataclass(frozen=True)
class AuditResult:
    """The verdict on a synthetic set, and what it rests on."""

    verdict: Verdict
    settings: AuditConfig
    counts: Counts
    resolution: Resolution
    findings: tuple[Finding, ...]
    """One per synthetic image, in the order given."""
    limitations: tuple[str, ...]
    """What was not tested, one sentence each."""

    @property
    def exit_code(self) -> int:
        """0 clean, 1 copies, 3 inconclusive."""
        return EXIT_CODES[self.verdict]

    @property
    def copies(self) -> tuple[Finding, ...]:
        """The flagged images, the most unusual first."""
        flagged = [finding for finding in self.findings if finding.is_copy]
        return tuple(sorted(flagged, key=lambda f: (not f.is_identical, f.p_value, -(f.similarity or 0.0))))

    @property
    def passed_names(self) -> tuple[str, ...]:
        """The synthetic images that are not flagged.

        "Not flagged" is all that it says. Under the verdict 'inconclusive' too few held-out patients were there to
        flag anything but identical images, so whoever shows or shares these must show the verdict beside them.
        """
        return tuple(finding.name for finding in self.findings if not finding.is_copy)

    def as_summary(self) -> dict[str, Any]:
        """The verdict and its figures, without a name of any image or patient."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "tested": self.counts.synthetic_images,
            "copies": len(self.copies),
            "identical": sum(finding.is_identical for finding in self.findings),
            "counts": asdict(self.counts),
            "resolution": asdict(self.resolution),
            "settings": {**asdict(self.settings), "scores": list(self.settings.scores)},
            "not_tested": list(self.limitations),
        }

    def as_json(self) -> dict[str, Any]:
        """Everything, for ``audit.json``. Names training images and patients: keep it as private as they are."""
        summary = self.as_summary()
        return {
            "lichen": lichen.__version__,
            **{key: summary[key] for key in ("verdict", "exit_code", "counts", "resolution", "settings")},
            "images": [finding.as_json() for finding in self.findings],
            "copies": [finding.name for finding in self.copies],
            "not_tested": summary["not_tested"],
        }


def write_audit(
    result: AuditResult,
    path: Path,
    *,
    inputs_sha256: Mapping[str, str],
    files_sha256: Mapping[str, str] | None = None,
) -> None:
    """Write ``result`` to ``path``, bound to its inputs by their SHA-256 (what was hashed -> hexadecimal digest).

    ``files_sha256`` binds each synthetic image to its finding: name -> digest of its file.
    """
    whole = {**result.as_json(), "inputs": dict(inputs_sha256)}
    if files_sha256 is not None:
        whole["images"] = [{**image, "sha256": files_sha256[image["file"]]} for image in whole["images"]]
    write_json(path, whole)
