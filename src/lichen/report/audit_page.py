"""The page about one audit: drawn from ``audit.json`` alone, and made to be shared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lichen.errors import AuditError
from lichen.files import sha256_of, write_text
from lichen.plurals import plural
from lichen.report.audit_details import Rows, rate_words, share_words
from lichen.report.evidence import Facts, read_document
from lichen.report.formats import NOT_RECORDED, rows_of, whole
from lichen.report.templates import render
from lichen.report.verdict import AuditSection, audit_section


@dataclass(frozen=True)
class AuditPage:
    """What the template is given; every text in it is data and is escaped there."""

    subtitle: str
    audit: AuditSection
    cards: tuple[tuple[str, str, str], ...]
    settings: Rows
    hashes: Rows
    version: str


def write_audit_report(audit_json: Path) -> Path:
    """Draw ``report.html`` beside ``audit_json``, and return its path.

    The page loads nothing from anywhere, and has no script. It shows no image at all: neither of a patient nor of a
    synthetic set, which may hold copies. Real patients and images have the pseudonyms of the file.

    Raises:
        AuditError: the file cannot be read.
    """
    document = read_document(audit_json)
    if document.problem is not None:
        raise AuditError(f"no report can be drawn: {document.problem}", fix="run lichen audit again")
    facts = document.facts
    page = AuditPage(
        subtitle=_subtitle(facts),
        audit=audit_section(document),
        cards=_cards(facts),
        settings=rows_of(facts.at("settings")),
        hashes=(*rows_of(facts.at("inputs")), (audit_json.name, sha256_of(audit_json))),
        version=facts.text("lichen") or "",
    )
    path = audit_json.with_name("report.html")
    write_text(path, render("audit.html", page=page))
    return path


def _subtitle(facts: Facts) -> str:
    counts = facts.at("counts")
    made, images, patients = (counts.number(k) for k in ("synthetic_images", "train_images", "train_patients"))
    if made is None or images is None or patients is None:
        return "An audit of synthetic images"
    pool = f"{plural(images, 'training image')} of {plural(patients, 'patient')}"
    return f"{plural(made, 'synthetic image')}, compared with {pool}"


def _cards(facts: Facts) -> tuple[tuple[str, str, str], ...]:
    """(what, figure, a word more)."""
    rate, memorised = facts.at("copy_rate"), facts.at("memorised_patients")
    resolution = facts.at("resolution")
    tested = [facts.at("self_test", name) for name in facts.keys("self_test")]
    powers = [power for each in tested if (power := each.number("power")) is not None]
    accused = [share for each in tested if (share := each.number("false_positive_rate")) is not None]
    smallest = resolution.number("smallest_p")
    return (
        ("Copies", *_rate(rate, f"of {whole(rate.number('of'))} synthetic images")),
        (
            "Patients memorised",
            *_rate(memorised, f"of {whole(memorised.number('of'))}, by {whole(memorised.number('by'))} images"),
        ),
        ("Flagged", whole(len(facts.texts("copies"))), f"of {whole(facts.number('counts', 'synthetic_images'))}"),
        (
            "Held-out patients",
            whole(resolution.number("patients")),
            "" if smallest is None else f"smallest p {smallest:.2g}",
        ),
        ("Planted copies found", *_range(powers)),
        ("New patients accused", *_range(accused)),
    )


def _rate(rate: Facts, sizes: str) -> tuple[str, str]:
    words = rate_words(rate)
    if words is None:
        return NOT_RECORDED, "not estimated"
    best, _, ends = words.partition(" (")
    return best, f"{ends.removesuffix(')')}, {sizes}" if ends else sizes


def _range(shares: list[float]) -> tuple[str, str]:
    if not shares:
        return "not tested", "no copies were planted"
    low, high = share_words(min(shares)), share_words(max(shares))
    return (low if low == high else f"{low} to {high}"), f"{plural(len(shares), 'transformation')}"
