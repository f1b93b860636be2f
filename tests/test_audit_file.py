"""``audit.json``, its schema, and the private list beside it."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lichen.audit import PRIVATE_NAMES, Names, Transform, keep_names, open_names, summary, write_audit
from lichen.audit.audit_file import SCHEMA
from lichen.audit.rates import Rate
from lichen.audit.summary import membership_words
from lichen.audited import read_audited
from lichen.errors import AuditError
from made_audits import PATIENT, made_audit

VERDICTS = ("clean", "copies", "inconclusive")
INPUTS = {"synthetic": "ab" * 32, "train": "cd" * 32}


def written(folder: Path, verdict: Any = "copies", *, whole: bool = True) -> dict[str, Any]:
    write_audit(made_audit(verdict, whole=whole), folder / "audit.json", inputs_sha256=INPUTS)
    found: dict[str, Any] = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    return found


def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("verdict", VERDICTS)
def test_every_verdict_is_written_as_the_schema_says(tmp_path: Path, verdict: str, whole: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema checks audit.json against its schema")
    validator = jsonschema.Draft202012Validator
    validator.check_schema(schema())
    found = written(tmp_path, verdict, whole=whole)
    assert not list(validator(schema()).iter_errors(found))
    for key in found:
        assert list(validator(schema()).iter_errors({k: value for k, value in found.items() if k != key})), key
    assert list(validator(schema()).iter_errors({**found, "more": 1}))
    found["images"][0]["nearest"] = f"{PATIENT}-0"
    assert list(validator(schema()).iter_errors(found))


def test_every_key_that_is_written_is_described_and_required_and_no_other(tmp_path: Path) -> None:
    seen = compare(schema(), written(tmp_path), schema()["$defs"], "")
    assert {".images[].transform.zoom", ".self_test.*.power", ".membership.auc_low", ".copy_rate.of"} <= seen


def compare(part: dict[str, Any], value: Any, defs: dict[str, Any], at: str) -> set[str]:
    """Walk a value beside its schema; the paths of all keys with a description."""
    while "$ref" in part or "anyOf" in part:
        if "$ref" in part:
            part = defs[part["$ref"].rpartition("/")[2]]
        elif value is None:
            return set()
        else:
            part = next(option for option in part["anyOf"] if option.get("type") != "null")
    seen: set[str] = set()
    if isinstance(value, list):
        return seen.union(*(compare(part["items"], entry, defs, f"{at}[]") for entry in value))
    if not isinstance(value, dict):
        return seen
    if "properties" not in part:
        return seen.union(*(compare(part["additionalProperties"], v, defs, f"{at}.*") for v in value.values()))
    if part["additionalProperties"] is False:
        assert set(value) - {"sha256"} == set(part["required"]), at
        assert set(part["required"]) <= set(part["properties"])
    for key, entry in value.items():
        if key in part["properties"]:
            assert part["properties"][key]["description"], f"{at}.{key}"
            seen |= {f"{at}.{key}"} | compare(part["properties"][key], entry, defs, f"{at}.{key}")
    return seen


def test_the_shares_are_beside_the_numbers_they_are_of(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert found["copy_rate"] == {"estimate": 0.16, "low": 0.09, "high": 0.25, "of": 60}
    assert found["memorised_patients"] == {"estimate": 0.21, "low": 0.11, "high": 0.34, "of": 30, "by": 60}
    assert found["self_test"]["inversion"] == {
        "words": "black and white exchanged",
        "power": 0.03,
        "false_positive_rate": 0.0,
        "n": 100,
        "n_new": 50,
    }
    assert found["calibration"]["level"] == 0.05
    assert found["calibration"]["scores"]["aligned"] == sorted(found["calibration"]["scores"]["aligned"])
    assert found["inputs"] == INPUTS
    assert (found["competition"]["flagged"], len(found["competition"]["wins"])) == (9, 60)


def test_no_real_name_is_in_the_audit_or_on_the_screen_and_the_private_list_has_each(tmp_path: Path) -> None:
    found = written(tmp_path)
    assert PATIENT not in (tmp_path / "audit.json").read_text(encoding="utf-8")
    private = json.loads((tmp_path / PRIVATE_NAMES).read_text(encoding="utf-8"))
    shown = summary(made_audit(), open_names(tmp_path))
    assert PATIENT not in shown
    assert PRIVATE_NAMES in shown
    assert found["images"][0]["nearest"] in shown
    for number, image in enumerate(found["images"][:-1]):
        assert private["patients"][image["nearest"]] == f"{PATIENT}-{number}"
        assert private["images"][image["nearest_image"]]["file"] == f"{PATIENT}/scan-{number}.png"
    pair = found["duplicates"]["with_held_out"][0]
    assert private["images"][pair["other_image"]] == {
        "file": f"{PATIENT}/scan-4.png",
        "patient": f"{PATIENT}-4",
        "set": "held-out",
    }
    assert pair["other_image"] != found["images"][4]["nearest_image"]
    assert found["duplicates"]["many_images"] == [{"patient": found["images"][5]["nearest"], "images": 31}]


def test_the_private_list_is_its_owners_alone_and_keeps_its_key(tmp_path: Path) -> None:
    first, again, other = written(tmp_path / "a"), written(tmp_path / "a"), written(tmp_path / "b")
    assert stat.S_IMODE((tmp_path / "a" / PRIVATE_NAMES).stat().st_mode) == 0o600
    assert first["images"] == again["images"]
    ours, theirs = ({image["nearest"] for image in found["images"]} - {None} for found in (first, other))
    assert not ours & theirs


@pytest.mark.parametrize("content", ["not JSON", "[]", '{"key": "short"}', '{"patients": {}}'])
def test_a_private_list_without_its_key_is_refused_before_anything_is_written(tmp_path: Path, content: str) -> None:
    (tmp_path / PRIVATE_NAMES).write_text(content, encoding="utf-8")
    with pytest.raises(AuditError, match=PRIVATE_NAMES):
        written(tmp_path)
    assert not (tmp_path / "audit.json").exists()


def test_names_of_bytes_that_are_no_text_have_pseudonyms_too(tmp_path: Path) -> None:
    names = Names("0" * 64)
    pseudonym = names.patient("scan-\udcff\ud800")
    assert pseudonym != names.patient("scan-")
    keep_names(names, tmp_path)
    assert pseudonym in (tmp_path / PRIVATE_NAMES).read_text(encoding="utf-8")


@pytest.mark.parametrize("verdict", VERDICTS)
def test_an_audit_that_was_written_is_read_back_by_whoever_releases(tmp_path: Path, verdict: Any) -> None:
    result = made_audit(verdict)
    files = {finding.name: "ef" * 32 for finding in result.findings}
    write_audit(result, tmp_path / "audit.json", inputs_sha256=INPUTS, files_sha256=files)
    audited = read_audited(json.loads((tmp_path / "audit.json").read_text(encoding="utf-8")))
    assert (audited.verdict, audited.inputs) == (verdict, INPUTS)
    assert {image.file for image in audited.released} == set(result.passed_names) - {result.findings[-1].name}
    assert audited.flagged == len(result.copies)
    assert audited.copy_rate is not None


def test_a_transformation_is_told_in_degrees_and_shares() -> None:
    flat = Transform.of([0.05, -0.1, 0.17453292519943295, 0.0], mirror=True)
    assert flat.rotation_deg == pytest.approx((10.0,))
    assert (flat.mirror, flat.shift, flat.zoom) == (True, (0.05, -0.1), 1.0)
    solid = Transform.of([0.0, 0.0, 0.1, 0.0, 0.0, -0.17453292519943295, 0.09531017980432493], mirror=False)
    assert solid.rotation_deg == pytest.approx((0.0, 0.0, -10.0))
    assert solid.zoom == pytest.approx(1.1)


def test_the_summary_has_at_most_ten_lines_and_the_rates_and_checks_among_them(tmp_path: Path) -> None:
    lines = summary(made_audit(), open_names(tmp_path)).splitlines()
    assert len(lines) == 10
    assert "16.0% (9.0% to 25.0%) of 60 images" in lines[-4]
    assert "100% (exact) to 3% (inversion)" in lines[-3]
    assert "1 held-out image like a training image" in lines[-2]
    assert "at most 5.5%" in summary(made_audit("clean"), open_names(tmp_path))


def test_the_summary_calls_unknown_what_was_not_measured(tmp_path: Path) -> None:
    unmeasured = summary(made_audit("clean", whole=False), open_names(tmp_path))
    assert "how many would be found is not known" in unmeasured
    unknown = replace(made_audit("clean"), copy_rate=Rate(None, 0.0, 1.0))
    assert "copy rate   an unknown share of 60 images" in summary(unknown, open_names(tmp_path))


def test_no_identical_image_is_said_to_be_perhaps_innocent(tmp_path: Path) -> None:
    result = made_audit()
    only = replace(result, findings=tuple(f for f in result.findings if f.is_identical or not f.is_copy))
    assert "up to 10% may be innocent" in summary(result, open_names(tmp_path))
    assert "innocent" not in summary(only, open_names(tmp_path))


def test_what_a_model_knows_is_said_beside_what_chance_would_give() -> None:
    known = made_audit().membership
    assert known is not None
    words = membership_words(known)
    assert words == "the model tells 30 training patients from 110 held-out ones: AUC 0.71 (0.64 to 0.78); chance 0.5"


def test_where_a_competition_decided_the_summary_gives_its_floor_and_not_that_of_p_values(tmp_path: Path) -> None:
    by_competition = replace(made_audit("clean"), verdict="inconclusive")
    words = summary(by_competition, open_names(tmp_path))
    assert "copies can be found if they are of 10 patients or more" in words
    assert "too few synthetic images" in words
    by_p_values = summary(replace(by_competition, competition=None), open_names(tmp_path))
    assert "% of the images" in by_p_values
    assert "too few held-out patients" in by_p_values


def test_the_summary_says_that_there_are_more_copies_than_the_flagged_ones_where_the_rate_does(tmp_path: Path) -> None:
    found, names = made_audit("copies"), open_names(tmp_path)
    more = "COPIES: 9 of 60 synthetic images copy a training image, and others that cannot be told one by one"
    assert more not in summary(found, names)
    assert more in summary(replace(found, copy_rate=Rate(0.5, 0.4, 0.6)), names)
