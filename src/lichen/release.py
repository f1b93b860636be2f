"""Whether an audited synthetic set may be shared, and the data card that goes with it: pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lichen import __version__
from lichen.audit import Verdict
from lichen.audit.rates import RULE_OF_THREE
from lichen.audited import Audited
from lichen.carbon import Range
from lichen.errors import AuditError
from lichen.plurals import plural


@dataclass(frozen=True)
class SecondLook:
    """What a score that did not filter says of the images that passed."""

    score: str
    verdict: Verdict
    flagged: tuple[str, ...]
    """Files that it calls copies."""
    smallest_p: float
    detectable_share: float
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Decision:
    """Whether the set may be shared: 0 yes, 1 no, 3 nobody can say; and why not."""

    exit_code: Literal[0, 1, 3]
    reasons: tuple[str, ...] = ()


def check_second_look(audited: Audited, score: str) -> None:
    """Raise ``AuditError`` where ``score`` has already filtered: what it left it would find clean."""
    if score in audited.scores:
        raise AuditError(
            f"the audit removed images by {score}, so a second look by {score} would find nothing more",
            fix="choose a score that the audit did not use",
        )


def check_same_patients(audited: Audited, second: SecondLook) -> None:
    """Raise ``AuditError`` where the second look compared with other training images than the audit did.

    Nobody can tell for an audit that names no training images, such as that of a run's own samples.
    """
    ours, theirs = audited.inputs.get("train"), second.inputs.get("train")
    if ours is not None and theirs is not None and ours != theirs:
        raise AuditError(
            "the second look compared with other training images than the audit did, or on another grid",
            fix="give the --train and the --images options of the audit",
        )


def decide(
    audited: Audited, second: SecondLook | None, *, max_copy_rate: float, allow_inconclusive: bool = False
) -> Decision:
    """Hold an audit and a second look against the policy.

    What the second look flags is not removed: a set from which every score in turn took what it saw has no independent
    witness left. The whole set is refused, and the way out is an audit by both scores.
    """
    copies: list[str] = []
    if audited.verdict == "copies" and not audited.flagged:
        copies.append("the audit says that there are copies and does not say which images they are")
    if second is not None and second.verdict == "copies":
        copies.append(
            f"the second look by {second.score} finds {plural(len(second.flagged), 'copy')} among what passed"
        )
    suspects: list[str] = []
    unsure: list[str] = []
    if audited.verdict == "inconclusive":
        unsure.append(f"the audit is inconclusive: {_why_unsure(audited.flagged)}")
    if second is not None and second.verdict == "inconclusive":
        # what a second look flags is a suspect whatever is allowed, as it is to an audit
        why = f"the second look by {second.score} is inconclusive: {_why_unsure(len(second.flagged))}"
        (suspects if second.flagged else unsure).append(why)
    high = audited.copy_rate_high
    if high is None and audited.released:
        unsure.append("the audit does not bound the share of copies among what passed")
    over: list[str] = []
    if not audited.released:
        over.append("no image passed the audit")
    elif high is not None and high > max_copy_rate:
        over.append(_over(audited, high, max_copy_rate))
    if allow_inconclusive:
        unsure.clear()
    if reasons := (*copies, *suspects, *unsure, *over):
        return Decision(3 if (suspects or unsure) and not copies else 1, reasons)
    return Decision(0)


def _why_unsure(flagged: int) -> str:
    """Why a verdict is 'inconclusive' where so many images were flagged."""
    if flagged:
        return f"it flags {flagged}, as it may by chance in a set without any copy"
    return "it could not have found copies reliably"


def _over(audited: Audited, high: float, limit: float) -> str:
    passed = plural(len(audited.released), "image")
    words = f"up to {high:.1%} of {passed} that passed may be copies; {limit:.1%} is allowed"
    power = audited.mean_power
    least = math.ceil(RULE_OF_THREE / (limit * power)) if limit and power else 0
    return f"{words}, which takes {least} images at least" if least > len(audited.released) else words


@dataclass(frozen=True)
class Origin:
    """Where a synthetic set comes from, as far as it is known; no name of a folder, host or person."""

    checkpoint_sha256: str | None = None
    """Of the generator, where audit or sidecars say it."""
    is_phantom: bool | None = None
    """Whether it was trained on built-in phantoms, which are nobody's images."""
    model: Mapping[str, Any] | None = None
    """Numbers of the run: grid, sampler, images seen."""
    carbon: Mapping[str, Any] | None = None
    """Grams of CO2e of the whole run with place and sources; None: not measured."""


def data_card(
    audited: Audited,
    origin: Origin,
    second: SecondLook | None,
    *,
    audit_sha256: str,
    max_copy_rate: float,
    date: str,
) -> dict[str, Any]:
    """The data card of a released set: sums alone, no name of an image, a patient or a folder."""
    rate, high = audited.copy_rate, audited.copy_rate_high
    return {
        "what": "synthetic images, made by a generative model; the images that an audit flagged as copies of training "
        "images are not among them",
        "date": date,
        "lichen": __version__,
        "notices": list(_notices(audited, origin, second)),
        "images": {
            "audited": len(audited.images),
            "released": len(audited.released),
            "removed_as_copies": audited.flagged,
            "removed_not_comparable": audited.not_compared,
        },
        "audit": {
            "sha256": audit_sha256,
            "lichen": audited.lichen,
            "verdict": audited.verdict,
            "copy_rate": None if rate is None else asdict(rate),
            "copy_rate_released_high": high,
            "max_copy_rate": max_copy_rate,
            "settings": dict(audited.settings),
            "inputs_sha256": dict(audited.inputs),
            "self_test": {name: asdict(tested) for name, tested in audited.self_test.items()},
        },
        "second_look": None
        if second is None
        else {**asdict(second), "flagged": len(second.flagged), "inputs": dict(second.inputs)},
        "not_tested": [*audited.not_tested, *NEVER_TESTED],
        "generator": {"checkpoint_sha256": origin.checkpoint_sha256, **(origin.model or {})},
        "carbon": per_released_image(origin.carbon, len(audited.released)),
        "verify": "sha256sum -c SHA256SUMS",
        "cite": "the SHA-256 of the file SHA256SUMS, which binds every file of this folder",
    }


NEVER_TESTED = (
    "what else the files hold, such as their names and metadata, was not looked at",
    "that no image is a copy does not show that nothing can be learned about a patient",
)


def _notices(audited: Audited, origin: Origin, second: SecondLook | None) -> Iterable[str]:
    """What a reader must know before anything else."""
    if origin.is_phantom:
        yield "Trained on built-in phantoms: these images show nobody, and nothing about any patient."
    if audited.verdict == "inconclusive":
        yield (
            f"The audit is INCONCLUSIVE: {_why_unsure(audited.flagged)}, so nobody knows whether there are images of "
            "patients in this set. It was released all the same, on request."
        )
    if second is not None and second.verdict == "inconclusive":
        yield f"The second look by {second.score} is INCONCLUSIVE. The set was released all the same, on request."
    if audited.copy_rate_high is None:
        yield "The share of copies among these images is NOT BOUNDED. The set was released all the same, on request."
    if second is None:
        yield "No second look: only the scores that removed copies have looked at what is left."


def about_run(summary: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(model, carbon) of an ``Origin`` from the summary of a run; carbon is None where nothing was measured.

    Raises KeyError, TypeError or ValueError where the summary is damaged.
    """
    model, sampling, images, carbon = (summary[name] for name in ("model", "sampling", "images", "carbon"))
    about = {
        "grid": list(images["shape"]),
        "spacing_mm": list(images["spacing_mm"]),
        "train_images": images["train_images"],
        "train_patients": images["train_patients"],
        "parameters": sum(model.get(f"{name}_parameters") or 0 for name in ("autoencoder", "denoiser", "generator")),
        **{name: model[name] for name in ("kind", "denoiser_kind", "space") if name in model},
        "images_seen": model["gan_images_seen"] if "gan_images_seen" in model else model["denoiser_images_seen"],
        **{name: sampling[name] for name in ("sampler", "steps", "truncation") if name in sampling},
        "seed": sampling["seed"],
    }
    if carbon is None:
        return about, None
    phases = summary["energy"]["phases"]
    return about, {
        "total_g": dict(carbon["total_g"]),
        "boundary": "the whole run: reading, training, synthesis, audit and quality; not this release",
        "zone": carbon["zone"],
        "zone_name": carbon["zone_name"],
        "month": carbon["month"],
        "year": carbon["year"],
        "pue_range": list(carbon["pue_range"]),
        "sources": sorted({part["source"] for phase in phases for part in phase["components"]}),
        "absent": list(summary["energy"]["absent"]),
        "attribution": carbon["attribution"],
    }


def per_released_image(carbon: Mapping[str, Any] | None, released: int) -> dict[str, Any] | None:
    """``carbon`` of a whole run with the grams of each of its ``released`` images; None stays None, and is never 0."""
    if carbon is None:
        return None
    total = Range(**carbon["total_g"])
    return {"per_released_image_g": asdict(total.over(released)), **carbon}


def sums(files: Iterable[tuple[str, str]]) -> str:
    """The text of ``SHA256SUMS`` for (path, digest) pairs, as ``sha256sum -c`` reads it."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(files))
