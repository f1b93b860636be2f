"""The page about one audit: shareable, whatever the verdict."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browsing import browser_tab
from lichen.audit import write_audit
from lichen.errors import AuditError
from lichen.files import sha256_of
from lichen.report import write_audit_report
from lichen.report.histogram import Series, histograms
from made_audits import PATIENT, made_audit
from test_report_page import Parsed

INPUTS = {"synthetic": "ab" * 32, "train": "cd" * 32, "reference": "ef" * 32}


def words_of(html: str) -> str:
    """What a page says, its parts set apart by one space."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def page_of(folder: Path, verdict: Any = "copies", *, whole: bool = True) -> tuple[str, Parsed]:
    write_audit(made_audit(verdict, whole=whole), folder / "audit.json", inputs_sha256=INPUTS)
    html = write_audit_report(folder / "audit.json").read_text(encoding="utf-8")
    return html, Parsed(html)


@pytest.mark.parametrize(
    ("verdict", "whole", "words"),
    [
        ("copies", True, "9 copies of training images"),
        ("copies", False, "9 copies of training images"),
        ("clean", True, "No copy found"),
        ("clean", False, "How many copies it would have found was not measured."),
        ("inconclusive", True, "the competition needs more synthetic images"),
        ("inconclusive", False, "about 87 more held-out patients would do"),
    ],
)
def test_the_verdict_comes_first_and_no_image_and_no_real_name_is_there(
    tmp_path: Path, verdict: str, whole: bool, words: str
) -> None:
    html, page = page_of(tmp_path, verdict, whole=whole)
    assert words in page.text[: page.text.index("What it rests on")]
    assert PATIENT not in html
    assert not {"img", "image", "canvas", "script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert {url[:1] for url in page.loaded} == {"#"}
    assert "default-src 'none'" in html
    assert page.count("table") == page.count("caption")


def test_shares_stand_beside_their_intervals_and_numbers_and_none_found_is_an_upper_bound(tmp_path: Path) -> None:
    text = words_of(page_of(tmp_path / "a")[0])
    assert "Copies 16.0% 9.0% to 25.0%, of 60 synthetic images" in text
    assert "Patients memorised 21.0% 11.0% to 34.0%, of 30, by 60 images" in text
    text = words_of(page_of(tmp_path / "b", "clean")[0])
    assert "Copies at most 5.5% of 60 synthetic images" in text
    assert "At most 5.5% of the images are copies of the kinds that were planted" in text
    assert "Fewer than 10 copies go unnoticed." in text
    text = words_of(page_of(tmp_path / "c", "clean", whole=False)[0])
    assert "To halve the smallest share of copies found takes 111 more held-out patients." in text


def test_each_transformation_is_told_with_power_and_false_positives_and_what_was_not_done_is_said(
    tmp_path: Path,
) -> None:
    html, _ = page_of(tmp_path / "a")
    text = words_of(html)
    assert "rotation 10 degrees turned by 10 degrees 97% of 100 4.0% of 50" in text
    assert "autoencoder round trip encoded and decoded by the model not tested not tested" in text
    assert "judged at p ≤ 0.05" in text
    assert html.count('class="bar missed"') == 1  # inversion: 3 %
    assert "95th percentile of validation images: 23 % flagged" in text
    assert "0.71 (0.64 to 0.78)" in text
    assert "1 training patient has very many images." in text
    _, page = page_of(tmp_path / "b", "inconclusive", whole=False)
    assert "No copies were planted in this audit" in page.text
    assert "not estimated" in page.text


def test_names_of_synthetic_files_are_text_and_never_markup(tmp_path: Path) -> None:
    page_of(tmp_path)
    evil = "<script>alert('1')</script>\" onload=\"x\" '& Ünïcødé 病院.png"
    found = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    found["images"][0]["file"] = found["images"][0]["score_name"] = evil
    found["settings"][evil] = evil
    found["inputs"] = {evil: evil}
    found["not_tested"] = [evil]
    found["self_test"][evil] = {"words": evil, "power": 0.5}
    found["classics"][0]["words"] = evil
    (tmp_path / "audit.json").write_text(json.dumps(found), encoding="utf-8")
    page = Parsed(write_audit_report(tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert page.text.count("<script>alert('1')</script>") >= 7
    assert page.count("script") == 0
    assert not any("onload" in attributes for _, attributes in page.tags)


PARTS = "counts resolution images copy_rate self_test calibration duplicates competition membership classics settings"


@pytest.mark.parametrize("part", PARTS.split())
@pytest.mark.parametrize("value", [None, [], "text", 7, {"scores": 3, "a": {"power": "x"}}, [{"file": 3}, "x"]])
def test_no_part_of_an_audit_is_needed_for_a_page(tmp_path: Path, part: str, value: object) -> None:
    write_audit(made_audit(), tmp_path / "audit.json", inputs_sha256=INPUTS)
    found = {**json.loads((tmp_path / "audit.json").read_text(encoding="utf-8")), part: value}
    (tmp_path / "audit.json").write_text(json.dumps(found), encoding="utf-8")
    assert "copies of training images" in write_audit_report(tmp_path / "audit.json").read_text(encoding="utf-8") or (
        part == "images"
    )


def test_the_page_is_bound_to_its_audit_by_hashes(tmp_path: Path) -> None:
    _, page = page_of(tmp_path)
    for digest in (*INPUTS.values(), sha256_of(tmp_path / "audit.json")):
        assert digest in page.text


def test_there_is_no_page_without_an_audit(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"there is no audit\.json"):
        write_audit_report(tmp_path / "audit.json")


def test_the_bars_of_each_side_of_the_histogram_add_up_to_the_whole() -> None:
    rng = np.random.default_rng(0)
    above = [Series("made", "counter", tuple(rng.normal(size=90))), Series("bad", "flagged", (4.0,) * 10)]
    below = Series("real", "reference", tuple(rng.normal(size=50)))
    chart = histograms(above, below, name="x", title="t", description="d", axis="score")
    shares: dict[str, float] = {}
    for label, share in re.findall(r"<title>(made|bad|real): ([\d.]+)%</title>", chart):
        shares[label] = shares.get(label, 0.0) + float(share)
    assert shares == {"made": pytest.approx(90, abs=1), "bad": pytest.approx(10), "real": pytest.approx(100, abs=1)}


def test_scores_that_are_all_equal_make_a_histogram_too() -> None:
    same = Series("made", "counter", (0.5, 0.5))
    chart = histograms([same], Series("real", "reference", (0.5,)), name="x", title="t", description="d", axis="s")
    assert chart.count("100.0%") == 2


def test_the_page_fits_a_telephone_and_asks_for_nothing(tmp_path: Path) -> None:
    page_of(tmp_path)
    with browser_tab(tmp_path / "profile") as tab:
        for width in (1200, 420):
            tab.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
            tab.open(tmp_path / "report.html")
            assert tab.run("document.documentElement.scrollWidth") <= width
            assert (len(tab.requests), tab.complaints) == (1, [])


def test_the_report_says_that_there_are_more_copies_than_the_flagged_ones_where_the_rate_does(tmp_path: Path) -> None:
    more = "Found among 60 synthetic images, beside others that cannot be told one by one."
    assert more not in words_of(page_of(tmp_path)[0])
    found = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    found["copy_rate"]["low"] = 0.2
    (tmp_path / "audit.json").write_text(json.dumps(found), encoding="utf-8")
    page = write_audit_report(tmp_path / "audit.json")
    assert more in words_of(page.read_text(encoding="utf-8"))
