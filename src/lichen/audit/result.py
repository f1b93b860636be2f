"""What an audit found, as plain values: for the exit code, for ``audit.json`` and for people. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import lichen
from lichen.audit.resolution import Resolution
from lichen.config import AuditConfig

if TYPE_CHECKING:
    from lichen.audit.classics import Classic
    from lichen.audit.competition import Competition
    from lichen.audit.label_maps import LabelMaps
    from lichen.audit.membership import Membership
    from lichen.audit.names import Names
    from lichen.audit.rates import Rate
    from lichen.audit.selftest import SelfTest

Verdict = Literal["clean", "copies", "inconclusive"]

EXIT_CODES: Mapping[Verdict, int] = {"clean": 0, "copies": 1, "inconclusive": 3}
"""2 stays for wrong use, as everywhere in lichen."""

LAYOUT = 2
"""Of ``audit.json``; described by ``audit.schema.json``. 1 was never written: those files state no layout."""


@dataclass(frozen=True)
class Transform:
    """What takes the nearest training image to a synthetic one, as found by alignment."""

    mirror: bool
    """Left and right were exchanged."""
    rotation_deg: tuple[float, ...]
    """One angle in 2D; a rotation vector in 3D, its length the angle."""
    shift: tuple[float, ...]
    """Along each axis, as a share of the field."""
    zoom: float

    @staticmethod
    def of(numbers: Sequence[float], *, mirror: bool) -> Transform:
        """From a row of ``lichen.audit.warp``: d shifts, 1 or 3 angles in radians, the logarithm of the zoom."""
        dims = 2 if len(numbers) == 4 else 3
        return Transform(
            mirror,
            tuple(math.degrees(angle) for angle in numbers[dims:-1]),
            tuple(float(share) for share in numbers[:dims]),
            math.exp(numbers[-1]),
        )


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
    transform: Transform | None = None
    """From the nearest training image to this one; None where they were not aligned."""

    @property
    def similarity(self) -> float | None:
        """The similarity by ``score``."""
        return self.similarities[self.score]

    def as_json(self, names: Names) -> dict[str, Any]:
        """This finding as an entry of ``images`` in ``audit.json``."""
        image, patient = self.nearest_image, self.nearest_patient
        return {
            "file": self.name,
            "score": self.similarity,
            "score_name": self.score,
            "scores": dict(self.similarities),
            "p_value": self.p_value,
            "flagged": self.is_copy,
            "identical": self.is_identical,
            "nearest": None if patient is None else names.patient(patient),
            "nearest_image": None if image is None or patient is None else names.image(image, patient),
            "transform": None if self.transform is None else asdict(self.transform),
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
    skipped: Mapping[str, int] = field(default_factory=dict)
    """By set, the images that were left out because they cannot be used: of them the verdict says nothing."""


@dataclass(frozen=True)
class SamePair:
    """An image of a training patient and one of another patient that are the same image."""

    image: str
    patient: str
    other_image: str
    other_patient: str
    correlation: float
    """Of local contrast, after alignment."""
    is_identical: bool
    """Equal in every voxel."""

    def as_json(self, names: Names, *, held_out: bool) -> dict[str, Any]:
        """This pair for ``duplicates`` in ``audit.json``; ``held_out``: the other image is a held-out one."""
        return {
            "image": names.image(self.image, self.patient),
            "patient": names.patient(self.patient),
            "other_image": names.image(self.other_image, self.other_patient, held_out=held_out),
            "other_patient": names.patient(self.other_patient, held_out=held_out),
            "correlation": self.correlation,
            "identical": self.is_identical,
        }


@dataclass(frozen=True)
class Duplicates:
    """What the checks before any score found out about the real images."""

    repeated: int
    """Training images identical to an earlier one, of the same patient or of another."""
    within_training: tuple[SamePair, ...] = ()
    """Of two training patients."""
    with_held_out: tuple[SamePair, ...] = ()
    """Of a training patient and a held-out one; such a held-out patient makes copies look usual."""
    left_out: tuple[str, ...] = ()
    """Patients in both training and held-out images, who do not count as held-out."""
    many_images: tuple[tuple[str, int], ...] = ()
    """Training patients with very many images, the most first, and how many."""

    def as_json(self, names: Names) -> dict[str, Any]:
        """``duplicates`` of ``audit.json``."""
        return {
            "repeated_images": self.repeated,
            "within_training": [pair.as_json(names, held_out=False) for pair in self.within_training],
            "with_held_out": [pair.as_json(names, held_out=True) for pair in self.with_held_out],
            "left_out_patients": [names.patient(patient, held_out=True) for patient in self.left_out],
            "many_images": [{"patient": names.patient(patient), "images": n} for patient, n in self.many_images],
        }


@dataclass(frozen=True, eq=False)
class AuditResult:
    """The verdict on a synthetic set, and what it rests on. Parts that were not done are None."""

    verdict: Verdict
    settings: AuditConfig
    counts: Counts
    resolution: Resolution
    findings: tuple[Finding, ...]
    """One per synthetic image, in the order given."""
    limitations: tuple[str, ...]
    """What was not tested, one sentence each."""
    calibration: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By score, the similarity of each held-out patient to the training images: what the p-values compare with."""
    duplicates: Duplicates | None = None
    copy_rate: Rate | None = None
    """Share of copies among the synthetic images."""
    memorised_patients: Rate | None = None
    """Share of the training patients of whom there is a copy; grows with the number of synthetic images."""
    self_test: SelfTest | None = None
    competition: Competition | None = None
    membership: Membership | None = None
    classics: tuple[Classic, ...] | None = None
    label_maps: LabelMaps | None = None
    """What the label maps say by themselves, where the images have any; it decides nothing."""
    set_p_value: float | None = None
    """How often a set without copies looks as much as if it held some."""

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
        """The verdict and its figures, without a name of any image or patient, and without a pseudonym."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "tested": self.counts.synthetic_images,
            "copies": len(self.copies),
            "identical": sum(finding.is_identical for finding in self.findings),
            "counts": asdict(self.counts),
            "resolution": asdict(self.resolution),
            "set_p_value": self.set_p_value,
            "copy_rate": self._copy_rate(),
            "memorised_patients": self._memorised_patients(),
            "label_maps": None if self.label_maps is None else asdict(self.label_maps),
            "settings": {**asdict(self.settings), "scores": list(self.settings.scores)},
            "not_tested": list(self.limitations),
        }

    def as_json(
        self,
        names: Names,
        *,
        inputs_sha256: Mapping[str, str],
        files_sha256: Mapping[str, str] | None = None,
        reviewed: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Everything, for ``audit.json``, in its layout 2; real patients and images under their pseudonyms.

        ``inputs_sha256``: what was hashed -> hexadecimal digest; ``files_sha256``: synthetic image -> that of its file;
        ``reviewed``: what people said of the pairs (``reviewed.as_json``).
        """
        summary = self.as_summary()
        images = [finding.as_json(names) for finding in self.findings]
        if files_sha256 is not None:
            digests = [files_sha256.get(image["file"]) for image in images]
            images = [{**i, **({"sha256": d} if d else {})} for i, d in zip(images, digests, strict=True)]
        return {
            "lichen": lichen.__version__,
            "layout": LAYOUT,
            **{key: summary[key] for key in ("verdict", "exit_code", "counts", "resolution", "set_p_value")},
            "images": images,
            "copies": [finding.name for finding in self.copies],
            "copy_rate": summary["copy_rate"],
            "memorised_patients": summary["memorised_patients"],
            "self_test": self._self_test(),
            # sorted, so that their order says nothing of who is who
            "calibration": {
                "level": None if self.self_test is None else self.self_test.level,
                "scores": {name: sorted(values) for name, values in self.calibration.items()},
            },
            "duplicates": None if self.duplicates is None else self.duplicates.as_json(names),
            "competition": self._competition(),
            "membership": None if self.membership is None else asdict(self.membership),
            "classics": None if self.classics is None else [asdict(classic) for classic in self.classics],
            "label_maps": summary["label_maps"],
            "settings": summary["settings"],
            "inputs": dict(inputs_sha256),
            "reviewed": None if reviewed is None else dict(reviewed),
            "not_tested": summary["not_tested"],
        }

    def _copy_rate(self) -> dict[str, Any] | None:
        return None if self.copy_rate is None else {**asdict(self.copy_rate), "of": self.counts.synthetic_images}

    def _memorised_patients(self) -> dict[str, Any] | None:
        if self.memorised_patients is None:
            return None
        sizes = {"of": self.counts.train_patients, "by": self.counts.synthetic_images}
        return {**asdict(self.memorised_patients), **sizes}

    def _self_test(self) -> dict[str, Any] | None:
        if self.self_test is None:
            return None
        return {
            tested.name: {
                "words": tested.words,
                "power": tested.power,
                "false_positive_rate": tested.false_positive_rate,
                "n": tested.copies,
                "n_new": tested.new,
            }
            for tested in self.self_test.tested
        }

    def _competition(self) -> dict[str, Any] | None:
        if self.competition is None:
            return None
        return {
            "wins": [float(win) for win in self.competition.wins],
            "threshold": self.competition.threshold,
            "flagged": int(self.competition.flagged.sum()),
            "least_discoveries": self.competition.least_discoveries,
        }
