"""The result of an audit in ten short lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lichen.audit.result import AuditResult, Finding

_LISTED = 3


def summary(result: AuditResult) -> str:
    """At most ten lines, without a closing newline; names the three most unusual of the flagged images."""
    counts, resolved, config = result.counts, result.resolution, result.settings
    pool = f"{_images(counts.train_images)} of {counts.train_patients} training patients"
    lines = [
        f"verdict     {_verdict(result)}",
        f"compared    {_images(counts.synthetic_images)} with {pool}, by {' and '.join(config.scores)}",
        f"calibrated  on {resolved.patients} held-out patients; smallest possible p = {resolved.smallest_p:.2g}",
        f"resolution  {_resolution(result)}",
        f"flagged     {len(result.copies)}, of which {config.false_discovery_rate:.0%} may be innocent"
        if result.copies
        else "flagged     0",
        *(f"            {_pair(finding)}" for finding in result.copies[:_LISTED]),
        f"not flagged {len(result.passed_names)}",
    ]
    if counts.train_duplicates:
        lines.append(f"duplicates  {counts.train_duplicates} training images repeat an earlier one")
    return "\n".join([*lines, f"not tested  {len(result.limitations)} things, listed in audit.json"][:10])


def _verdict(result: AuditResult) -> str:
    if result.verdict == "copies":
        return (
            f"COPIES: {len(result.copies)} of {result.counts.synthetic_images} synthetic images copy a training image"
        )
    if result.verdict == "clean":
        return f"clean: no copy among {_images(result.counts.synthetic_images)}"
    if result.counts.synthetic_not_comparable == result.counts.synthetic_images:
        return "INCONCLUSIVE: every synthetic image is constant"
    return "INCONCLUSIVE: too few held-out patients to say that there is no copy"


def _resolution(result: AuditResult) -> str:
    resolved = result.resolution
    seen = (
        "no share of copies can be found"
        if resolved.detectable_share > 1
        else f"copies are found if they make up {resolved.detectable_share:.1%} of the images"
    )
    if resolved.is_enough:
        return seen
    wanted = f"{result.settings.detectable_share:.1%}"
    return f"{seen}; {resolved.patients_needed} more held-out patients are needed for {wanted}"


def _pair(finding: Finding) -> str:
    nearness = "identical" if finding.is_identical else f"{finding.score} {finding.similarity:.3f}"
    return f"{finding.name} ~ {finding.nearest_image} ({nearness}, p = {finding.p_value:.2g})"


def _images(count: int) -> str:
    return f"{count} image" if count == 1 else f"{count} images"
