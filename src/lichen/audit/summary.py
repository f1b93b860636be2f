"""The result of an audit in ten short lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lichen.audit.names import PRIVATE_NAMES
from lichen.plain import plain
from lichen.plurals import plural
from lichen.skipped import skipped_words

if TYPE_CHECKING:
    from lichen.audit.membership import Membership
    from lichen.audit.names import Names
    from lichen.audit.rates import Rate
    from lichen.audit.result import AuditResult, Finding

_LINES = 10
_LISTED = 3


def summary(result: AuditResult, names: Names) -> str:
    """At most ten lines, without a closing newline; shows the most unusual of the flagged images, three at most.

    Training patients and images are called by ``names``.
    """
    counts, resolved, config = result.counts, result.resolution, result.settings
    pool = f"{plural(counts.train_images, 'image')} of {plural(counts.train_patients, 'training patient')}"
    others = plural(resolved.patients, "held-out patient")
    copies, passed = len(result.copies), len(result.passed_names)
    not_certain = [finding for finding in result.copies if not finding.is_identical]
    innocent = f", of which up to {config.false_discovery_rate:.0%} may be innocent" if not_certain else ""
    looked_up = f"; {PRIVATE_NAMES} says whom they copy" if copies else ""
    head = [
        f"verdict     {_verdict(result)}{_left_out(result)}",
        f"compared    {plural(counts.synthetic_images, 'image')} with {pool}, by {' and '.join(config.scores)}",
        f"calibrated  on {others}; smallest possible p = {resolved.smallest_p:.2g}",
        f"resolution  {_resolution(result)}",
        f"flagged     {copies}{innocent}; not flagged {passed}{looked_up}",
    ]
    tail = [*_rates(result), *_self_test(result), *_duplicates(result), *_label_maps(result)]
    tail.append(f"not tested  {len(result.limitations)} things, listed in audit.json")
    room = min(_LISTED, _LINES - len(head) - len(tail))
    return "\n".join([*head, *(f"            {_pair(finding, names)}" for finding in result.copies[:room]), *tail])


def membership_words(known: Membership) -> str:
    """What a model's loss says of who is a training patient, with the figure that chance would give."""
    area = f"{known.auc:.2f} ({known.auc_low:.2f} to {known.auc_high:.2f})"
    members = plural(known.members, "training patient")
    return f"the model tells {members} from {known.held_out} held-out ones: AUC {area}; chance 0.5"


def _verdict(result: AuditResult) -> str:
    made, flagged = result.counts.synthetic_images, len(result.copies)
    if result.verdict == "copies" and flagged:
        rate = result.copy_rate
        more = ", and others that cannot be told one by one" if rate and rate.low * made > flagged else ""
        return f"COPIES: {flagged} of {made} synthetic images copy a training image{more}"
    if result.verdict == "copies":
        return f"COPIES: more of {made} synthetic images are near to training patients than chance explains"
    if result.verdict == "clean":
        return f"clean: no copy among {plural(made, 'image')}"
    if flagged:
        return f"INCONCLUSIVE: {flagged} flagged, as {result.set_p_value or 1.0:.0%} of sets without any copy have too"
    if result.counts.synthetic_not_comparable == result.counts.synthetic_images:
        return "INCONCLUSIVE: every synthetic image is constant"
    few = "held-out patients" if result.competition is None else "synthetic images"
    return f"INCONCLUSIVE: too few {few} to say that there is no copy"


def _left_out(result: AuditResult) -> str:
    words = skipped_words(result.counts.skipped)
    return f"; left out as unusable: {words}" if words else ""


def _resolution(result: AuditResult) -> str:
    resolved = result.resolution
    if result.competition is not None:
        return f"copies can be found if they are of {plural(result.competition.least_discoveries, 'patient')} or more"
    seen = (
        "no share of copies can be found"
        if resolved.detectable_share > 1
        else f"copies can be found if they make up {resolved.detectable_share:.1%} of the images"
    )
    if resolved.is_enough:
        return seen
    wanted = f"{result.settings.detectable_share:.1%}"
    return f"{seen}; {wanted} takes {plural(resolved.patients_needed, 'more held-out patient')}"


def _rates(result: AuditResult) -> list[str]:
    if result.copy_rate is None:
        return []
    words = f"copy rate   {_rate(result.copy_rate)} of {plural(result.counts.synthetic_images, 'image')}"
    if result.memorised_patients is not None:
        words += f"; {_rate(result.memorised_patients)} of the training patients memorised"
    return [words]


def _rate(rate: Rate) -> str:
    if not rate.estimate and rate.high >= 1:
        return "an unknown share"
    if not rate.estimate:
        return f"at most {rate.high:.1%}"
    return f"{rate.estimate:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def _self_test(result: AuditResult) -> list[str]:
    known = [tested for tested in result.self_test.tested if tested.power is not None] if result.self_test else []
    if not known:
        return ["self-test   none: no copy was planted, so how many would be found is not known"]
    best, least = max(known, key=lambda t: t.power or 0.0), min(known, key=lambda t: t.power or 0.0)
    found = f"{best.power:.0%} ({best.name}) to {least.power:.0%} ({least.name})"
    return [f"self-test   {len(known)} kinds of planted copies; found: {found}"]


def _duplicates(result: AuditResult) -> list[str]:
    found, repeated = result.duplicates, result.counts.train_duplicates
    parts = [plural(repeated, "repeated training image")] if repeated else []
    if found is not None:
        parts += [
            f"{plural(len(entries), what)} {words}"
            for entries, what, words in (
                (found.within_training, "pair", "of images of two patients that look like one"),
                (found.with_held_out, "held-out image", "like a training image"),
                (found.left_out, "shared patient", "left out"),
                (found.many_images, "patient", "with very many images"),
            )
            if entries
        ]
    return [f"real images {'; '.join(parts)}"] if parts else []


def _label_maps(result: AuditResult) -> list[str]:
    found = result.label_maps
    if found is None:
        return []
    near = f"{found.near} nearer to one than {1 - found.level:.0%} of new patients' are"
    return [f"label maps  {found.identical} of {found.compared} equal a training patient's; {near}"]


def _pair(finding: Finding, names: Names) -> str:
    nearness = "identical" if finding.is_identical else f"{finding.score} {finding.similarity:.3f}"
    whose = "nothing"
    if finding.nearest_image is not None and finding.nearest_patient is not None:
        image, patient = finding.nearest_image, finding.nearest_patient
        whose = f"{names.image(image, patient)} of {names.patient(patient)}"
    return f"{plain(finding.name)} ~ {whose} ({nearness}, p = {finding.p_value:.2g})"
