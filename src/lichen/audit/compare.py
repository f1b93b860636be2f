"""The audit from end to end: checks, scores, p-values, false-discovery control, verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lichen.audit.conformal import bonferroni, conformal_p_values, patient_maxima
from lichen.audit.fdr import benjamini_hochberg
from lichen.audit.resolution import Resolution, resolution
from lichen.audit.result import AuditResult, Counts, Duplicates, Finding, Verdict
from lichen.audit.scores import NEIGHBOURS, Nearest, Score, Search, find_score
from lichen.progress import Step, silent
from lichen.team import ALONE, Team

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lichen.audit.aligned import Pairs
    from lichen.config import AuditConfig
    from lichen.images.types import ImageSet


@dataclass(frozen=True)
class _Scored:
    """What one score says; m synthetic images, n held-out patients."""

    name: str
    similarity: NDArray[np.float64]  # (m,) to the nearest training image
    nearest: NDArray[np.int64]  # (m,) its position; -1: none
    p_values: NDArray[np.float64]  # (m,)
    null: NDArray[np.float64]  # (n,) of the n held-out patients
    align: Callable[..., Pairs] | None  # of a search that aligns


def audit(
    synthetic: ImageSet,
    train: ImageSet,
    reference: ImageSet,
    config: AuditConfig,
    *,
    step: Step = silent,
    team: Team = ALONE,
) -> AuditResult:
    """Say for each synthetic image whether it is a copy of an image in ``train``.

    ``reference`` holds real images of the same source, of patients whom the generator never saw. Every set is on the
    same grid, (N, C, *S). Patients of ``synthetic`` are ignored. ``step`` counts, for each score, all reference images
    and all synthetic ones. In a ``team`` each process searches for its part of them.
    Raises ``AuditError`` if the sets cannot be compared or are not apart, or if a score is
    unknown.
    """
    from lichen.audit.checks import check_sets, fingerprints, known_patients, set_apart
    from lichen.audit.duplicates import find_duplicates, shows_detail

    scores = [find_score(name) for name in dict.fromkeys(config.scores)]
    check_sets(synthetic, train, reference)
    train_prints = fingerprints(train.voxels)
    reference, left_out = set_apart(train, reference, train_prints, allowed=config.allow_overlap)
    duplicates = replace(find_duplicates(train, reference, train_prints), left_out=left_out)
    first_of = {print_: at for at, print_ in reversed(list(enumerate(train_prints))) if print_ is not None}
    identical = [first_of.get(print_, -1) if print_ else -1 for print_ in fingerprints(synthetic.voxels)]

    scored = [_score(score, synthetic, train, reference, step, team) for score in scores]
    p_values = bonferroni(np.stack([s.p_values for s in scored]))
    rejected = benjamini_hochberg(p_values, config.false_discovery_rate)
    findings = tuple(
        _finding(i, synthetic.names[i], train, scored, float(p_values[i]), bool(rejected[i]), identical[i])
        for i in range(len(synthetic.names))
    )
    findings = _aligned(findings, synthetic, train, scored)
    counts = Counts(
        synthetic_images=len(synthetic.names),
        synthetic_not_comparable=sum(all(v is None for v in f.similarities.values()) for f in findings),
        train_images=len(train.names),
        train_patients=len(set(train.patients)),
        train_duplicates=duplicates.repeated,
        reference_images=len(reference.names),
        reference_patients=len(set(reference.patients)),
    )
    # A copy that only one score sees must be found with the patients that this score has: the fewest count.
    resolved = resolution(
        min(len(s.null) for s in scored), len(scored), config.false_discovery_rate, config.detectable_share
    )
    return AuditResult(
        verdict=_verdict(findings, counts, resolved),
        settings=config,
        counts=counts,
        resolution=resolved,
        findings=findings,
        limitations=_limitations(
            scores,
            counts,
            resolved,
            duplicates,
            has_patients=bool(known_patients(reference)),
            has_detail=shows_detail(train.voxels),
        ),
        calibration={s.name: tuple(s.null.tolist()) for s in scored},
        duplicates=duplicates,
    )


def _score(score: Score, synthetic: ImageSet, train: ImageSet, reference: ImageSet, step: Step, team: Team) -> _Scored:
    import torch

    search = score.prepare(train.voxels, torch.tensor(_numbered(train.patients)))
    held_out = _search(search, reference.voxels, step, team).similarity[:, 0]
    null = patient_maxima(held_out.double().cpu().numpy(), reference.patients)
    found = _search(search, synthetic.voxels, step, team)
    similarity = found.similarity[:, 0].double().cpu().numpy()
    return _Scored(
        name=score.name,
        similarity=similarity,
        nearest=found.index[:, 0].cpu().numpy(),
        p_values=conformal_p_values(similarity, null),
        null=null,
        align=getattr(search, "align", None),
    )


def _search(search: Search, queries: Tensor, step: Step, team: Team) -> Nearest:
    """What ``search`` finds for ``queries`` (Q, C, *S), each process of the team having asked for its part."""
    if team.size == 1:
        return search(queries, k=NEIGHBOURS, step=step)
    part = team.part(len(queries))
    mine = search(queries[part], k=NEIGHBOURS, step=step)
    similarity, index = (own.new_zeros(len(queries), NEIGHBOURS) for own in (mine.similarity, mine.index))
    similarity[part], index[part] = mine.similarity, mine.index
    team.add_up([similarity, index])  # each row was left 0 by all processes but one
    step(len(queries) - len(mine.index))
    return Nearest(similarity, index)


def _numbered(patients: Sequence[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(patient, len(numbers)) for patient in patients]


def _finding(
    i: int, name: str, train: ImageSet, scored: list[_Scored], p_value: float, rejected: bool, identical: int
) -> Finding:
    decisive = min(scored, key=lambda s: s.p_values[i])
    nearest = identical if identical >= 0 else int(decisive.nearest[i])
    return Finding(
        name=name,
        similarities={s.name: float(s.similarity[i]) if np.isfinite(s.similarity[i]) else None for s in scored},
        p_value=p_value,
        is_copy=rejected or identical >= 0,
        is_identical=identical >= 0,
        score=decisive.name,
        nearest_image=train.names[nearest] if nearest >= 0 else None,
        nearest_patient=train.patients[nearest] if nearest >= 0 else None,
    )


def _aligned(
    findings: tuple[Finding, ...], synthetic: ImageSet, train: ImageSet, scored: list[_Scored]
) -> tuple[Finding, ...]:
    """The flagged ``findings`` with their transformations, where a score aligns."""
    from lichen.audit.transforms import transforms_of

    align = next((s.align for s in scored if s.align is not None), None)
    flagged = [i for i, finding in enumerate(findings) if finding.is_copy and finding.nearest_image is not None]
    if align is None or not flagged:
        return findings
    position = {name: at for at, name in enumerate(train.names)}
    nearest = [position[findings[i].nearest_image or ""] for i in flagged]
    found = dict(zip(flagged, transforms_of(align, synthetic.voxels[flagged], nearest), strict=True))
    return tuple(replace(finding, transform=found.get(i)) for i, finding in enumerate(findings))


def _verdict(findings: Sequence[Finding], counts: Counts, resolved: Resolution) -> Verdict:
    if any(finding.is_copy for finding in findings):
        return "copies"
    nothing_compared = counts.synthetic_not_comparable == counts.synthetic_images
    return "clean" if resolved.is_enough and not nothing_compared else "inconclusive"


def _limitations(
    scores: Sequence[Score],
    counts: Counts,
    resolved: Resolution,
    duplicates: Duplicates,
    *,
    has_patients: bool,
    has_detail: bool,
) -> tuple[str, ...]:
    found = [score.blind_spots for score in scores]
    found += [
        "the share of copies that would be found was not measured by planting known ones",
        "copies of a part of an image, and mixtures of two patients, are not looked for",
        "synthetic images smoother than real ones resemble everything more and may be flagged though innocent",
        "held-out patients are taken to come from the same source as the training patients, and never seen in training",
        "similarity is not privacy: that no image is a copy does not show that nothing can be learned about a patient",
    ]
    if resolved.detectable_share > 1:
        found.insert(0, f"{resolved.patients} held-out patients are too few to find any share of copies")
    else:
        found.insert(0, f"copies that make up less than {resolved.detectable_share:.1%} of the images may go unnoticed")
    if not has_patients:
        found.append("nothing says which held-out images are of one patient; each was counted as a patient of its own")
    if counts.synthetic_not_comparable:
        found.append(f"{counts.synthetic_not_comparable} synthetic images are constant and were compared with nothing")
    if resolved.patients < counts.reference_patients:
        blank = counts.reference_patients - resolved.patients
        found.append(f"{blank} held-out patients have only constant images and do not count")
    if not has_detail:
        found.append("the images are too small for near-duplicates among the real ones to be told from look-alikes")
    if duplicates.left_out:
        found.append(f"{len(duplicates.left_out)} held-out patients are training patients too and were left out")
    if duplicates.with_held_out:
        found.append(
            f"{len(duplicates.with_held_out)} held-out images are nearly a training image and make copies look usual; "
            "fewer copies are found than without them"
        )
    return tuple(found)
