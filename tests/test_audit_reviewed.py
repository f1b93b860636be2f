"""What a person marked: read strictly, bound to its audit, and compared with the flags."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lichen.audit import Finding
from lichen.audit.reviewed import (
    MOST_BYTES,
    Marked,
    Marks,
    agreement,
    as_json,
    audit_digest,
    check_marks,
    read_marks,
    wilson,
    words,
)
from lichen.errors import AuditError

INPUTS = {"train": "a" * 64, "synthetic": "b" * 64}


def finding(number: int, *, is_copy: bool = False, nearest: str | None = "") -> Finding:
    return Finding(
        name=f"sample-{number}.png",
        similarities={"pearson": 0.9},
        p_value=0.01,
        is_copy=is_copy,
        is_identical=False,
        score="pearson",
        nearest_image=f"train-{number}.png" if nearest == "" else nearest,
        nearest_patient=f"person-{number}",
    )


FINDINGS = tuple(finding(number, is_copy=number < 4) for number in range(8))
DIGEST = audit_digest(FINDINGS, INPUTS)


def exported(*marks: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {"layout": 1, "audit_sha256": DIGEST, "marks": list(marks), **other}


def mark(number: int, said: str = "copy", **other: Any) -> dict[str, Any]:
    return {"number": number + 1, "file": f"sample-{number}.png", "mark": said, **other}


def read(folder: Path, content: object) -> Marks:
    path = folder / "marks.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_marks(path, FINDINGS, DIGEST)


def test_marks_are_read_as_they_were_made(tmp_path: Path) -> None:
    marks = read(tmp_path, exported(mark(2, "unsure", note="blurred"), mark(0), reviewer="Dr Who"))
    assert marks == Marks((Marked("sample-2.png", "unsure", "blurred"), Marked("sample-0.png", "copy")), "Dr Who")
    assert [marks.count("copy"), marks.count("not-a-copy"), marks.count("unsure")] == [1, 0, 1]
    assert read(tmp_path, exported()) == Marks((), None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "nonsense",
        "[" * 100_000,
        '{"layout": NaN}',
        json.dumps(exported(mark(0)))[:-1],
        json.dumps(exported()).replace('"layout"', '"layout": 1, "layout"'),
        exported() | {"layout": 2},
        exported() | {"layout": True},
        exported() | {"audit_sha256": 7},
        exported() | {"audit_sha256": "short"},
        exported() | {"marks": {}},
        exported() | {"more": 1},
        {"layout": 1, "audit_sha256": DIGEST},
        exported(reviewer=["Dr Who"]),
        exported(reviewer="x" * 501),
        exported("copy"),  # type: ignore[arg-type]
        exported(mark(0), mark(0, "unsure")),
        exported(mark(0, "innocent")),
        exported(mark(0) | {"mark": ["copy"]}),
        exported(mark(0) | {"number": 0}),
        exported(mark(0) | {"number": True}),
        exported(mark(0) | {"number": 1.5}),
        exported(mark(0) | {"file": {}}),
        exported(mark(0, note=5)),
        exported(mark(0, note="\ud800")),
        exported(mark(0), reviewer="\udcff"),
        exported(mark(0, colour="red")),
        exported({"number": 1, "file": "sample-0.png"}),
    ],
)
def test_what_the_page_does_not_write_is_refused(tmp_path: Path, content: object) -> None:
    for reading in (lambda: read(tmp_path, content), lambda: check_marks(tmp_path / "marks.json")):
        with pytest.raises(AuditError, match=r"cannot be used.*\n  fix: give the file that the review page"):
            reading()


def test_a_missing_file_a_folder_a_huge_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    huge, binary = tmp_path / "huge.json", tmp_path / "binary.json"
    huge.write_bytes(b" " * (MOST_BYTES + 1))
    binary.write_bytes(b'{"layout": "\xff"}')
    for path in (tmp_path / "missing.json", tmp_path, huge, binary):
        with pytest.raises(AuditError, match="cannot be used"):
            read_marks(path, FINDINGS, DIGEST)


def test_marks_of_another_audit_are_refused_and_it_is_said_so(tmp_path: Path) -> None:
    other = audit_digest(FINDINGS, INPUTS | {"train": "c" * 64})
    with pytest.raises(AuditError, match=f"are of another audit \\({other[:12]}, this one is {DIGEST[:12]}"):
        read(tmp_path, exported(mark(0)) | {"audit_sha256": other})


def test_a_file_that_the_audit_does_not_know_is_refused(tmp_path: Path) -> None:
    stranger = exported(mark(0), mark(1) | {"file": "../../etc/passwd"})
    with pytest.raises(AuditError, match="mark 2 is on an image that the audit did not compare"):
        read(tmp_path, stranger)
    check_marks(tmp_path / "marks.json")  # before the audit nobody knows its images


def test_an_image_that_was_compared_with_nothing_cannot_have_been_seen(tmp_path: Path) -> None:
    findings = (*FINDINGS, finding(8, nearest=None))
    digest = audit_digest(findings, INPUTS)
    path = tmp_path / "marks.json"
    path.write_text(json.dumps(exported(mark(8)) | {"audit_sha256": digest}), encoding="utf-8")
    with pytest.raises(AuditError, match="did not compare"):
        read_marks(path, findings, digest)


def test_the_digest_changes_with_images_and_pairs_but_not_with_scores_and_flags() -> None:
    assert audit_digest([replace(f, p_value=0.5, is_copy=True) for f in FINDINGS], INPUTS) == DIGEST
    changed = [
        audit_digest(FINDINGS[1:], INPUTS),
        audit_digest((replace(FINDINGS[0], nearest_image="train-1.png"), *FINDINGS[1:]), INPUTS),
        audit_digest((replace(FINDINGS[0], name="another.png"), *FINDINGS[1:]), INPUTS),
        audit_digest(FINDINGS, {}),
    ]
    assert len({DIGEST, *changed}) == 5
    assert len(audit_digest([replace(FINDINGS[0], name="bad \udc80 name")], {})) == 64


def test_the_precision_of_flags_is_that_of_pairs_marked_one_way_or_the_other() -> None:
    said = ["copy", "copy", "not-a-copy", "unsure", "copy", "not-a-copy", "unsure"]
    marks = Marks(tuple(Marked(f"sample-{i}.png", s) for i, s in enumerate(said)), "Dr Who")  # type: ignore[arg-type]
    agreed = agreement(marks, FINDINGS)
    assert (agreed.flagged_copies, agreed.flagged_not_copies, agreed.flagged_unsure) == (2, 1, 1)
    assert (agreed.other_copies, agreed.other_not_copies, agreed.other_unsure) == (1, 1, 1)
    assert agreed.precision == pytest.approx(2 / 3)
    assert (agreed.low, agreed.high) == wilson(2, 3)
    assert words(marks, agreed) == (
        "7 pairs looked at by Dr Who: copy 3, not a copy 2, unsure 2. "
        "Of 3 flagged, copies to the eye: 2 (67%; 21% to 94%)."
    )
    kept = json.loads(json.dumps(as_json(marks, agreed)))
    assert (kept["copy"], kept["not_a_copy"], kept["unsure"], kept["pairs"]) == (3, 2, 2, 7)
    assert kept["flags"]["flagged_copies"] == 2
    assert kept["marks"][3] == {"file": "sample-3.png", "mark": "unsure"}  # a note may name a patient


def test_without_a_decided_flag_there_is_no_precision() -> None:
    marks = Marks((Marked("sample-0.png", "unsure"), Marked("sample-7.png", "copy")))
    agreed = agreement(marks, FINDINGS)
    assert (agreed.precision, agreed.low, agreed.high) == (None, 0.0, 1.0)
    assert words(marks, agreed) == "2 pairs looked at: copy 1, not a copy 0, unsure 1."


def test_wilsons_interval_has_the_published_values_and_is_symmetric() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    for successes, trials, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)
        mirrored = wilson(trials - successes, trials)
        assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)
    assert wilson(0, 9)[0] == 0
    assert wilson(9, 9)[1] == 1
