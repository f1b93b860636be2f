"""What a person marked on the review page, bound to the audit that the page was made from.

    digest = audit_digest(result.findings, inputs_sha256)
    agreed = agreement(read_marks(Path("review-marks.json"), result.findings, digest), result.findings)

The marks are a file that anybody may have written, so it is read strictly: whatever the page does not write is refused.
Loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal, get_args

from lichen.audit.result import Finding
from lichen.errors import AuditError
from lichen.plain import plain

Mark = Literal["copy", "not-a-copy", "unsure"]
MARKS: tuple[Mark, ...] = get_args(Mark)

LAYOUT = 1
"""Of the exported file."""
MOST_BYTES = 4 * 2**20
"""A larger file is not what the page exports: that has about 100 bytes for each pair."""
MOST_CHARACTERS = 500
"""Of a note, and of the reviewer's name."""
CONFIDENCE = 0.95

_FIX = "give the file that the review page of this audit exports"


@dataclass(frozen=True)
class Marked:
    """What was said of one pair."""

    file: str
    """Name of the synthetic image."""
    mark: Mark
    note: str = ""


@dataclass(frozen=True)
class Marks:
    """What a reviewer said."""

    marked: tuple[Marked, ...]
    """In the order of the page."""
    reviewer: str | None = None

    def count(self, mark: Mark) -> int:
        """How many pairs have that mark."""
        return sum(entry.mark == mark for entry in self.marked)


@dataclass(frozen=True)
class Agreement:
    """How the flags of an audit agree with the marks. Pairs marked 'unsure' count neither way."""

    flagged_copies: int
    """Flagged, and marked as a copy."""
    flagged_not_copies: int
    """Flagged, and marked as no copy."""
    flagged_unsure: int
    other_copies: int
    """Not flagged, yet marked as a copy. Only pairs on the page were looked at, so this is no share of all."""
    other_not_copies: int
    other_unsure: int
    precision: float | None
    """Share of copies among the flagged pairs that were marked copy or no copy; None: none was."""
    low: float
    """Ends of Wilson's interval of the precision at ``CONFIDENCE``; 0 and 1 where there is none."""
    high: float


def audit_digest(findings: Sequence[Finding], inputs_sha256: Mapping[str, str]) -> str:
    """SHA-256 (64 hexadecimal digits) of what a mark is about: the images compared, and which stands beside which.

    Scores, p-values and flags are left out: another level or a rounding in the last digit makes no other pair.
    """
    pairs = [[finding.name, finding.nearest_image] for finding in findings]
    text = json.dumps({"inputs": dict(inputs_sha256), "pairs": pairs}, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def check_marks(path: Path) -> None:
    """Raise ``AuditError`` for a file that ``read_marks`` refuses whatever the audit finds, before the audit."""
    _strictly(path)


def read_marks(path: Path, findings: Sequence[Finding], audit_sha256: str) -> Marks:
    """The marks in ``path`` on pairs of ``findings``, bound to the audit of that digest (``audit_digest``).

    Raises ``AuditError`` for a file that cannot be read, is of another audit, names an image that the audit does not
    know or the same one twice, or holds anything that the page does not write.
    """
    digest, marks = _strictly(path)
    if digest != audit_sha256:
        raise AuditError(
            f"the marks in {path} are of another audit ({digest[:12]}, this one is {audit_sha256[:12]}): other images "
            "were compared, or others were found nearest",
            fix="audit the same folders with the same scores again, or review the new page",
        )
    known = {finding.name for finding in findings if finding.nearest_image is not None}
    for number, entry in enumerate(marks.marked, 1):
        if entry.file not in known:
            raise _refused(path, f"mark {number} is on an image that the audit did not compare")
    return marks


def agreement(marks: Marks, findings: Sequence[Finding]) -> Agreement:
    """How the flags of ``findings`` agree with ``marks`` of the same audit."""
    flagged = {finding.name for finding in findings if finding.is_copy}

    def count(mark: Mark, *, is_flagged: bool) -> int:
        return sum(entry.mark == mark and (entry.file in flagged) is is_flagged for entry in marks.marked)

    right, wrong = count("copy", is_flagged=True), count("not-a-copy", is_flagged=True)
    low, high = wilson(right, right + wrong)
    return Agreement(
        flagged_copies=right,
        flagged_not_copies=wrong,
        flagged_unsure=count("unsure", is_flagged=True),
        other_copies=count("copy", is_flagged=False),
        other_not_copies=count("not-a-copy", is_flagged=False),
        other_unsure=count("unsure", is_flagged=False),
        precision=right / (right + wrong) if right + wrong else None,
        low=low,
        high=high,
    )


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The score interval of a binomial share (Wilson, JASA 1927), (low, high); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At its ends the interval is exact, whatever rounding leaves.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    return low, 1.0 if successes == trials else (centre + spread) / scale


def as_json(marks: Marks, agreed: Agreement) -> dict[str, Any]:
    """The review as an entry ``reviewed`` of ``audit.json``, without notes: they may name patients."""
    return {
        "reviewer": marks.reviewer,
        "pairs": len(marks.marked),
        "copy": marks.count("copy"),
        "not_a_copy": marks.count("not-a-copy"),
        "unsure": marks.count("unsure"),
        "flags": asdict(agreed),
        "marks": [{"file": entry.file, "mark": entry.mark} for entry in marks.marked],
    }


def words(marks: Marks, agreed: Agreement) -> str:
    """The review in one or two sentences, for the summary and the report."""
    counts = ", ".join(f"{mark.replace('-', ' ')} {marks.count(mark)}" for mark in MARKS)
    pairs = f"{len(marks.marked)} pair{'s' * (len(marks.marked) != 1)}"
    said = f"{pairs} looked at{f' by {plain(marks.reviewer)}' if marks.reviewer else ''}: {counts}."
    decided = agreed.flagged_copies + agreed.flagged_not_copies
    if not decided:
        return said
    return (
        f"{said} Of {decided} flagged, copies to the eye: {agreed.flagged_copies} "
        f"({agreed.flagged_copies / decided:.0%}; {agreed.low:.0%} to {agreed.high:.0%})."
    )


def _strictly(path: Path) -> tuple[str, Marks]:
    """The digest of the audit that the marks are of, and the marks."""
    content = _entries(_parsed(path), path, "the file", {"layout", "audit_sha256", "marks"}, {"reviewer"})
    if content["layout"] != LAYOUT or isinstance(content["layout"], bool):
        raise _refused(path, f"it has layout {content['layout']!r}, and this version of lichen reads {LAYOUT}")
    digest = content["audit_sha256"]
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise _refused(path, "its audit_sha256 is no SHA-256")
    reviewer = _text(content.get("reviewer", ""), path, "the reviewer")
    if not isinstance(content["marks"], list):
        raise _refused(path, "its marks are no list")
    marked = tuple(_marked(entry, path, f"mark {i}") for i, entry in enumerate(content["marks"], 1))
    if len({entry.file for entry in marked}) < len(marked):
        raise _refused(path, "it marks an image twice")
    return digest, Marks(marked, reviewer or None)


def _marked(value: object, path: Path, where: str) -> Marked:
    entry = _entries(value, path, where, {"number", "file", "mark"}, {"note"})
    if not isinstance(entry["number"], int) or isinstance(entry["number"], bool) or entry["number"] < 1:
        raise _refused(path, f"{where} has a number that is none of a pair")
    mark = next((mark for mark in MARKS if mark == entry["mark"]), None)
    if mark is None:
        raise _refused(path, f"{where} is none of {', '.join(MARKS)}")
    if not isinstance(entry["file"], str):
        raise _refused(path, f"{where} names no file")
    return Marked(entry["file"], mark, _text(entry.get("note", ""), path, f"the note of {where}"))


def _parsed(path: Path) -> object:
    try:
        if not path.is_file():
            raise _refused(path, "there is no such file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _refused(path, str(error.strerror)) from error
    if len(content) > MOST_BYTES:
        raise _refused(path, f"it is larger than {MOST_BYTES // 2**20} MB")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _refused(path, "it is no valid JSON") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _entries(value: object, path: Path, what: str, needed: set[str], allowed: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refused(path, f"{what} is no JSON object")
    if not needed <= value.keys() <= needed | allowed:
        raise _refused(path, f"{what} has other entries than {', '.join(sorted(needed))}")
    return value


def _text(value: object, path: Path, what: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
        raise _refused(path, f"{what} is no text of at most {MOST_CHARACTERS} characters")
    if any("\ud800" <= letter <= "\udfff" for letter in value):  # JSON can say them; no file can hold them
        raise _refused(path, f"{what} holds halves of characters")
    return value


def _refused(path: Path, why: str) -> AuditError:
    return AuditError(f"the marks in {path} cannot be used: {why}", fix=_FIX)
