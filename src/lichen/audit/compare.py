"""The audit from end to end: checks, scores, p-values, who is flagged, self-test, rates, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lichen.audit.alarm import set_p_value
from lichen.audit.competition import can_flag
from lichen.audit.conformal import bonferroni, calibrating, conformal_p_values, maxima_by_patient
from lichen.audit.fdr import benjamini_hochberg
from lichen.audit.limitations import limitations
from lichen.audit.rates import copy_rate, memorised_patients
from lichen.audit.resolution import resolution
from lichen.audit.result import AuditResult, Counts, Finding, Verdict
from lichen.audit.scores import find_score
from lichen.progress import Step, silent
from lichen.team import ALONE, Team

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from lichen.audit.competition import Competition
    from lichen.audit.planted import RoundTrip
    from lichen.audit.scores import Score, Search
    from lichen.audit.searching import Searching
    from lichen.audit.selftest import SelfTest
    from lichen.config import AuditConfig
    from lichen.images.types import ImageSet


@dataclass(frozen=True)
class _Scored:
    """What one score says; m synthetic images."""

    score: Score
    search: Search
    similarity: NDArray[np.float64]
    """(m,) to the nearest training image."""
    nearest: NDArray[np.int64]
    """(m,) its position; -1: none."""
    null: dict[str, float]
    """The similarity of each held-out patient."""
    p_values: NDArray[np.float64]
    """(m,)"""


def audit(
    synthetic: ImageSet,
    train: ImageSet,
    reference: ImageSet,
    config: AuditConfig,
    *,
    withheld: ImageSet | None = None,
    round_trip: RoundTrip | None = None,
    step: Step = silent,
    team: Team = ALONE,
    work: Path | None = None,
) -> AuditResult:
    """Say for each synthetic image whether it is a copy of an image in ``train``.

    ``reference`` holds real images of the same source, of patients whom the generator never saw. Every set is on the
    same grid, (N, C, *S); label maps decide nothing (``label_maps``). Patients of ``synthetic`` are ignored. With
    ``withheld``, at least as many images of patients who were never used for anything, flagged is who wins the
    competition between these and the training images if the synthetic images are enough for it; else it is decided by
    p-values. The result names how many images were left out of each set, since it says nothing of them.
    ``round_trip``: through the generator's autoencoder, for the self-test. ``step`` counts ``audit_steps``.
    In a ``team`` each process searches for its part.

    With a folder ``work`` finished parts of the search are kept there, and the same call goes on from them; what
    exceeds ``config.memory_mb`` is kept there too, so the sets may be larger than memory if their voxels are mapped
    from files (``lichen.images.load_set`` with ``cache_dir``). Delete the folder afterwards: it may hold the training
    images as numbers. Raises ``AuditError`` if the sets cannot be compared or are not apart, if a score is unknown,
    or if the disk is too small.
    """
    from lichen.audit.checks import as_large_as, check_sets, fingerprints, known_patients, set_apart, without
    from lichen.audit.classics import classics
    from lichen.audit.duplicates import find_duplicates, shows_detail
    from lichen.audit.embedding import EmbeddingSearch
    from lichen.audit.label_maps import compare_label_maps
    from lichen.audit.searching import Searching
    from lichen.audit.selftest import self_test
    from lichen.images.types import spacing_mm

    scores = [find_score(name) for name in dict.fromkeys(config.scores)]
    check_sets(synthetic, train, reference)
    with_label_maps = (synthetic, train, reference)
    synthetic, train, reference = (images.without_label_map for images in with_label_maps)
    train_prints = fingerprints(train.voxels)
    given = {"synthetic": synthetic, "train": train, "reference": reference, "withheld": withheld}
    skipped = {name: len(images.skipped) for name, images in given.items() if images is not None}
    if withheld is not None:
        withheld = as_large_as(train, withheld.without_label_map, train_prints, allowed=config.allow_overlap)
    reference, left_out = set_apart(train, reference, train_prints, allowed=config.allow_overlap)
    label_maps = compare_label_maps(*with_label_maps[:2], calibrating(without(with_label_maps[2], left_out)))
    duplicates = replace(find_duplicates(train, reference, train_prints), left_out=left_out)
    first_of = {print_: at for at, print_ in reversed(list(enumerate(train_prints))) if print_ is not None}
    identical = [first_of.get(print_, -1) if print_ else -1 for print_ in fingerprints(synthetic.voxels)]

    searching = (
        Searching(train, team, step)
        if work is None
        else Searching.kept_in(work, train, config.memory_mb, team=team, step=step)
    )
    scale = calibrating(reference)
    scored = [_score(score, synthetic, scale, searching) for score in scores]
    p_values = bonferroni(np.stack([s.p_values for s in scored]))
    # A competition that could not flag the share that must be found would pass copies over: p-values decide then.
    enough = can_flag(len(synthetic.names), config.detectable_share, config.false_discovery_rate)
    competition = (
        None if withheld is None or not enough else _compete(scored[0], synthetic, withheld, searching, config)
    )
    flagged = benjamini_hochberg(p_values, config.false_discovery_rate) if competition is None else competition.flagged
    findings = _findings(synthetic, train, scored, p_values, flagged, identical)
    findings = _aligned(findings, synthetic, train, scored)
    counts = Counts(
        synthetic_images=len(synthetic.names),
        synthetic_not_comparable=sum(all(v is None for v in f.similarities.values()) for f in findings),
        train_images=len(train.names),
        train_patients=len(set(train.patients)),
        train_duplicates=duplicates.repeated,
        reference_images=len(reference.names),
        reference_patients=len(set(reference.patients)),
        skipped=skipped,
    )
    # A copy that only one score sees must be found with the patients that this score has: the fewest count.
    patients = min(len(s.null) for s in scored)
    resolved = resolution(patients, len(scored), config.false_discovery_rate, config.detectable_share)
    tested = (
        self_test(
            {s.score.name: s.search for s in scored},
            {s.score.name: s.null for s in scored},
            train,
            reference,
            level=config.level,
            images=config.self_test,
            round_trip=round_trip,
            spacing=spacing_mm(train.affine, train.voxels.ndim - 2),
            step=step,
            team=team,
        )
        if config.self_test
        else None
    )
    known = next((s.search.encoder for s in scored if isinstance(s.search, EmbeddingSearch)), None)
    result = AuditResult(
        verdict="inconclusive",
        settings=config,
        counts=counts,
        resolution=resolved,
        findings=findings,
        limitations=limitations(
            scores,
            counts,
            resolved,
            duplicates,
            has_patients=bool(known_patients(reference)),
            has_detail=shows_detail(train.voxels),
            self_tested=tested is not None,
            too_few_to_compete=withheld is not None and competition is None,
            least_discoveries=None if competition is None else competition.least_discoveries,
            has_label_maps=label_maps is not None,
            by_slices=reference.are_slices,
        ),
        calibration={s.score.name: tuple(s.null.values()) for s in scored},
        set_p_value=set_p_value(p_values, patients, scores=len(scored)),
        duplicates=duplicates,
        self_test=tested,
        competition=competition,
        label_maps=label_maps,
        classics=classics(synthetic, train, reference, encoder=known) if config.classics else None,
    )
    if tested is not None:
        result = _with_rates(result, scored, tested, train)
    return replace(result, verdict=_verdict(result))


def audit_steps(
    config: AuditConfig,
    synthetic_images: int,
    train: ImageSet,
    reference: ImageSet,
    *,
    withheld: bool = False,
    round_trip: bool = False,
) -> int:
    """How many queries ``audit`` counts, for a progress bar."""
    from lichen.audit.selftest import self_test_steps

    scores = len(set(config.scores))
    queries = scores * (synthetic_images + len(calibrating(reference).names)) + withheld * synthetic_images
    if not config.self_test:
        return queries
    return queries + self_test_steps(train, reference, scores=scores, images=config.self_test, round_trip=round_trip)


def _score(score: Score, synthetic: ImageSet, reference: ImageSet, searching: Searching) -> _Scored:
    search = searching.prepare(score)
    held_out = searching.nearest(score, search, reference).similarity[:, 0]
    null = maxima_by_patient(held_out.double().numpy(), reference.patients)
    found = searching.nearest(score, search, synthetic)
    similarity = found.similarity[:, 0].double().numpy()
    return _Scored(
        score=score,
        search=search,
        similarity=similarity,
        nearest=found.index[:, 0].numpy(),
        null=null,
        p_values=conformal_p_values(similarity, np.array([*null.values()])),
    )


def _compete(
    scored: _Scored,
    synthetic: ImageSet,
    withheld: ImageSet,
    searching: Searching,
    config: AuditConfig,
) -> Competition:
    """The competition by the first of the scores."""
    from lichen.audit.competition import compete_by_patient

    score, against = scored.score, searching.among(withheld)
    found = against.nearest(score, against.prepare(score), synthetic)
    return compete_by_patient(
        scored.similarity,
        found.similarity[:, 0].double().numpy(),
        [searching.train.patients[at] for at in scored.nearest],
        [withheld.patients[at] for at in found.index[:, 0].tolist()],
        config.false_discovery_rate,
    )


def _findings(
    synthetic: ImageSet,
    train: ImageSet,
    scored: Sequence[_Scored],
    p_values: NDArray[np.float64],
    flagged: NDArray[np.bool_],
    identical: Sequence[int],
) -> tuple[Finding, ...]:
    """One for each synthetic image; ``identical``: the position of the training image that it equals, or -1."""
    found = []
    for i, name in enumerate(synthetic.names):
        decisive = min(scored, key=lambda s: s.p_values[i])
        nearest = identical[i] if identical[i] >= 0 else int(decisive.nearest[i])
        found.append(
            Finding(
                name=name,
                similarities={
                    s.score.name: float(s.similarity[i]) if np.isfinite(s.similarity[i]) else None for s in scored
                },
                p_value=float(p_values[i]),
                is_copy=bool(flagged[i]) or identical[i] >= 0,
                is_identical=identical[i] >= 0,
                score=decisive.score.name,
                nearest_image=train.names[nearest] if nearest >= 0 else None,
                nearest_patient=train.patients[nearest] if nearest >= 0 else None,
            )
        )
    return tuple(found)


def _aligned(
    findings: tuple[Finding, ...], synthetic: ImageSet, train: ImageSet, scored: Sequence[_Scored]
) -> tuple[Finding, ...]:
    """The flagged ``findings`` with their transformations, where a score aligns."""
    from lichen.audit.aligned import AlignedSearch
    from lichen.audit.transforms import transforms_of

    align = next((s.search.align for s in scored if isinstance(s.search, AlignedSearch)), None)
    flagged = [i for i, finding in enumerate(findings) if finding.is_copy and finding.nearest_image is not None]
    if align is None or not flagged:
        return findings
    position = {name: at for at, name in enumerate(train.names)}
    nearest = [position[findings[i].nearest_image or ""] for i in flagged]
    found = dict(zip(flagged, transforms_of(align, synthetic.voxels[flagged], nearest), strict=True))
    return tuple(replace(finding, transform=found.get(i)) for i, finding in enumerate(findings))


def _with_rates(result: AuditResult, scored: Sequence[_Scored], tested: SelfTest, train: ImageSet) -> AuditResult:
    """``result`` with the share of copies and that of memorised patients, corrected for what the self-test found."""
    patients = dict.fromkeys(patient for s in scored for patient in s.null)
    null = np.array([[s.null.get(patient, -np.inf) for patient in patients] for s in scored])
    similarity = np.stack([s.similarity for s in scored])
    evidence = (similarity, null, tested.planted, tested.planted_patients)
    nearest = [finding.nearest_patient or "" for finding in result.findings]
    return replace(
        result,
        copy_rate=copy_rate(*evidence, level=tested.level),
        memorised_patients=memorised_patients(*evidence, nearest, len(set(train.patients)), level=tested.level),
    )


def _verdict(result: AuditResult) -> Verdict:
    """``copies`` is said of a set that holds an identical image, or is unusual for one without copies.

    It is unusual if the competition flags an image, or if a flagged image or so many near ones are: one chance event
    flags an image in up to a tenth of small sets without a copy, and that alone is ``inconclusive``.
    """
    counts, config = result.counts, result.settings
    is_unusual = any(finding.is_identical for finding in result.findings)
    is_unusual |= result.copy_rate is not None and result.copy_rate.low > 0
    if result.copies:
        is_unusual |= result.competition is not None or (result.set_p_value or 1.0) <= config.false_alarm_rate
    if is_unusual or result.copies:
        return "copies" if is_unusual else "inconclusive"
    if counts.synthetic_not_comparable == counts.synthetic_images:
        return "inconclusive"
    would_be_found = result.resolution.is_enough
    if result.competition is not None:
        would_be_found = result.competition.least_discoveries <= config.detectable_share * counts.synthetic_images
    return "clean" if would_be_found else "inconclusive"
