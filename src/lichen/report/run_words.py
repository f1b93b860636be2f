"""What every page about a run says of it: when it ended, how many took part, and what the page was drawn from."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lichen.files import sha256_of
from lichen.plurals import plural
from lichen.report.evidence import Facts
from lichen.report.formats import NOT_RECORDED, figure, rows_of, whole

Rows = tuple[tuple[str, str], ...]

_BOUND_FILES = ("summary.json", "config.yaml", "log.jsonl", "audit/audit.json")


def finished_words(facts: Facts) -> str:
    """`` · finished 2026-01-01 00:00 UTC``; a text that is no moment stays as it is, and nothing gives nothing."""
    text = facts.text("finished_at")
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
        known = moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if moment.tzinfo else text
    except (ValueError, OverflowError):
        known = text
    return f" · finished {known}"


def counted(number: float | None, noun: str) -> str:
    """``12 images``; ``not recorded`` where nobody counted."""
    return NOT_RECORDED if number is None else plural(number, noun)


def of_patients(images: Facts, key: str) -> str:
    """``of 5 patients``, as far as it is known."""
    if images.flag("patients_known") is False:
        return "patients unknown"
    number = images.number(key)
    return "" if number is None else f"of {plural(number, 'patient')}"


def compact(number: float) -> str:
    """``1.25 million``."""
    for symbol, size in (("billion", 1e9), ("million", 1e6)):
        if number >= size:
            return f"{figure(number / size)} {symbol}"
    return whole(number)


def provenance_rows(facts: Facts) -> Rows:
    """Versions, command and device of a summary."""
    version = facts.text("lichen")
    rows = [("lichen", version)] if version else []
    if finished := facts.text("finished_at"):
        rows.append(("Finished", finished))
    rows += rows_of(facts.at("provenance"))
    if checkpoint := facts.text("sampling", "checkpoint_sha256"):
        rows.append(("Checkpoint SHA-256", checkpoint))
    return tuple(rows)


def hashes(run_dir: Path) -> Rows:
    """(file, SHA-256) of what a page was drawn from: whoever holds the files can tell that they are the same."""
    return tuple((name, sha256_of(run_dir / name)) for name in _BOUND_FILES if (run_dir / name).is_file())
