"""What the audit found, in words: verdict, what it rests on, what was not tested, and the copies.

Real patients and images are shown by their pseudonyms; whatever else an audit file says in their place is not shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from lichen.plurals import plural
from lichen.report.audit_details import Details, audit_details, pseudonym, rate_words
from lichen.report.evidence import Document, Facts
from lichen.report.formats import NOT_RECORDED, figure, whole
from lichen.skipped import SETS, skipped_words

Tone = Literal["good", "bad", "unsure"]

PRIVATE_NAMES = "PRIVATE-names.json"
"""The file beside an audit that says whom its pseudonyms stand for."""
MOST_COPIES = 200
"""Rows of the table of copies; the rest are in the audit file."""


@dataclass(frozen=True)
class Finding:
    """What the audit says of one synthetic image; ``is_copy`` None: it decides nothing."""

    name: str
    is_copy: bool | None
    is_identical: bool
    nearest: str | None
    """Pseudonym of the training image nearest to it."""
    score: float | None
    score_name: str
    p_value: float | None
    sha256: str | None = None
    """Of the file that was audited, where the audit says it."""
    nearest_patient: str | None = None
    """Pseudonym of whose that image is."""

    @property
    def score_words(self) -> str:
        """The similarity with three digits and the name of its score."""
        if self.is_identical:
            return "identical"
        return NOT_RECORDED if self.score is None else f"{figure(self.score)} {self.score_name}".rstrip()

    @property
    def p_value_words(self) -> str:
        """The p-value with two digits."""
        return NOT_RECORDED if self.p_value is None else f"{self.p_value:.2g}"


@dataclass(frozen=True)
class Verdict:
    """The verdict at a glance: a few words, and what they mean for whoever wants to share the images."""

    tone: Tone
    headline: str
    meaning: str


@dataclass(frozen=True)
class AuditSection:
    """Everything that the page says of the audit; ``findings`` None: there was none.

    ``generator_sha256`` is the generator whose samples were audited, where the audit says it.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] | None
    rows: tuple[tuple[str, str], ...]
    not_tested: tuple[str, ...]
    copies: tuple[Finding, ...]
    copies_left_out: int
    generator_sha256: str | None = None
    finer: str = ""
    """How a finer verdict could be had."""
    details: Details = field(default_factory=Details)
    private_names: str = PRIVATE_NAMES


def audit_section(document: Document) -> AuditSection:
    """What ``audit/audit.json`` says; a file that is absent or unreadable is no audit."""
    if document.problem is not None:
        meaning = (
            f"Nobody knows yet whether these synthetic images are copies of patients ({document.problem}). "
            "Do not share them, and do not look at them as if they were nobody."
        )
        return AuditSection(Verdict("unsure", "Not audited", meaning), None, (), (), (), 0)
    facts = document.facts
    findings = tuple(finding for entry in facts.each("images") if (finding := _finding(entry)) is not None)
    copies = sorted((finding for finding in findings if finding.is_copy), key=_most_certain_first)
    left_out = skipped_words({name: facts.number("counts", "skipped", name) or 0 for name in SETS})
    return AuditSection(
        _speaking_of(_verdict(facts, len(findings), len(copies)), left_out),
        findings,
        (*_basis(facts), *([("Left out as unusable", left_out)] if left_out else [])),
        facts.texts("not_tested"),
        tuple(copies[:MOST_COPIES]),
        max(len(copies) - MOST_COPIES, 0),
        facts.text("inputs", "generator"),
        "" if facts.at("competition") else _finer(facts.at("resolution")),
        audit_details(facts),
    )


def _finding(facts: Facts) -> Finding | None:
    name, score, is_copy = facts.text("file"), facts.number("score"), facts.flag("flagged")
    if name is None:
        return None
    return Finding(
        name,
        # an image that could not be compared was not found innocent
        is_copy if is_copy or score is not None else None,
        facts.flag("identical") is True,
        pseudonym(facts, "nearest_image"),
        score,
        facts.text("score_name") or "",
        facts.number("p_value"),
        facts.text("sha256"),
        pseudonym(facts, "nearest"),
    )


def _finer(resolution: Facts) -> str:
    patients, needed = resolution.number("patients"), resolution.number("patients_needed")
    if patients is None:
        return ""
    if needed:
        return f"{plural(needed, 'more held-out patient')} would make the share of copies found as small as was asked."
    return f"To halve the smallest share of copies found takes {plural(patients + 1, 'more held-out patient')}."


def _most_certain_first(finding: Finding) -> tuple[bool, float, float, str]:
    p_value = 1.0 if finding.p_value is None else finding.p_value
    return not finding.is_identical, p_value, -(finding.score or 0.0), finding.name


def _basis(facts: Facts) -> tuple[tuple[str, str], ...]:
    counts, resolution, settings = facts.at("counts"), facts.at("resolution"), facts.at("settings")
    share, rate = resolution.number("detectable_share"), settings.number("false_discovery_rate")
    least = facts.number("competition", "least_discoveries")
    compared = counts.number("synthetic_not_comparable")
    rows = (
        ("Synthetic images", counts.number("synthetic_images"), whole),
        ("of which could not be compared", compared or None, whole),
        ("Training images", counts.number("train_images"), whole),
        ("Training patients", counts.number("train_patients"), whole),
        ("Repeated training images", counts.number("train_duplicates"), whole),
        ("Held-out patients, as the scale", resolution.number("patients"), whole),
        ("Smallest possible p-value", resolution.number("smallest_p"), lambda p: f"{p:.2g}"),
        ("Fewest copies that can be found", least, whole),
        (
            "Smallest share of copies found",
            share if least is None else None,
            lambda s: f"{s:.1%}" if s <= 1 else "none: too few patients",
        ),
        ("Innocent among those flagged", rate, lambda q: f"at most {q:.0%} expected"),
    )
    known = tuple((name, words(number)) for name, number, words in rows if number is not None)
    scores = ", ".join(settings.texts("scores"))
    return (*known, ("Compared by", scores)) if scores else known


def _speaking_of(verdict: Verdict, left_out: str) -> Verdict:
    """The verdict, with the images that it does not speak of."""
    if not left_out:
        return verdict
    more = f"It says nothing of {left_out} left out as unusable."
    return replace(verdict, meaning=f"{verdict.meaning} {more}")


def _verdict(facts: Facts, tested: int, copies: int) -> Verdict:
    said = facts.text("verdict")
    if said == "copies" or (copies and said != "inconclusive"):
        rate = rate_words(facts.at("copy_rate"))
        corrected = f" Corrected for what was missed: {rate} are copies." if rate else ""
        shared = "A copy is an image of a patient: do not share this set as it is."
        if not copies:
            return Verdict(
                "bad",
                "Copies of training images",
                f"More of {plural(tested, 'synthetic image')} are near to training patients than chance explains, "
                f"though none stands out alone. {shared}{corrected}",
            )
        is_more = (facts.number("copy_rate", "low") or 0.0) * tested > copies
        more = ", beside others that cannot be told one by one" if is_more else ""
        return Verdict(
            "bad",
            f"{plural(copies, 'copy')} of {'a training image' if copies == 1 else 'training images'}",
            f"Found among {plural(tested, 'synthetic image')}{more}. {shared}{corrected}",
        )
    if said == "clean":
        share = facts.number("resolution", "detectable_share")
        limit = f"Copies that make up less than {share:.1%} of the set may go unnoticed." if share is not None else ""
        if (least := facts.number("competition", "least_discoveries")) is not None:
            limit = f"Fewer than {whole(least)} copies go unnoticed."
        if (high := facts.number("copy_rate", "high")) is not None:
            limit += f" At most {high:.1%} of the images are copies of the kinds that were planted (95 % confidence)."
        else:
            limit += " How many copies it would have found was not measured."
        return Verdict(
            "good",
            "No copy found",
            f"None of {plural(tested, 'synthetic image')} is nearer to a training image than images of new patients "
            f"are. {limit}".rstrip(),
        )
    if said == "inconclusive" and copies:
        chance = facts.number("set_p_value")
        often = "" if chance is None else f": {chance:.1%} of such sets have as much"
        return Verdict(
            "unsure",
            "Inconclusive",
            f"{plural(copies, 'image')} of {tested} are flagged, which also happens by chance in sets without any copy"
            f"{often}. More synthetic images or held-out patients would tell. Treat the flagged ones as copies.",
        )
    if said == "inconclusive":
        needed = facts.number("resolution", "patients_needed")
        more = (
            f"about {plural(needed, 'more held-out patient')} would do" if needed else "more held-out patients may do"
        )
        if facts.number("competition", "least_discoveries") is not None:
            more = "the competition needs more synthetic images"
        return Verdict(
            "unsure",
            "Inconclusive",
            f"Nothing was flagged, but this audit could not have found copies reliably: {more}. "
            "Treat the set as unaudited.",
        )
    return Verdict("unsure", "No verdict", "The audit file states no verdict that this version knows. Audit again.")
