"""The page about the quality of a set, and its lines for the terminal: from figures alone, and made to be shared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lichen.errors import AuditError
from lichen.report import write_quality_report
from lichen.report.quality_words import FIGURES
from lichen.words import quality_lines
from test_report_audit import words_of
from test_report_page import Parsed


def reading(value: float, low: float, high: float, images: int = 40) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "images": images, "reference_images": 60}


def found(**changed: Any) -> dict[str, Any]:
    def figure(name: str, extractor: str, finding: str, *readings: dict[str, Any] | None) -> dict[str, Any]:
        return dict(zip(("synthetic", "matched", "real"), readings, strict=True)) | {
            "name": name,
            "extractor": extractor,
            "finding": finding,
        }

    near, far = reading(0.01, -0.02, 0.04), reading(0.9, 0.8, 1.0)
    figures = [
        figure("kernel", "random-conv-v1", "worse", reading(0.91, 0.85, 0.97, 64), far, near),
        figure("precision", "random-conv-v1", "as real", far, far, far),
        figure("coverage", "random-conv-v1", "unknown", near, None, None),
        figure("ms-ssim", "voxels, 3 scales", "better", near, near, far),
    ]
    counts = {"synthetic_images": 64, "reference_images": 60, "reference_patients": 30}
    common = {
        "lichen": "0.1.0",
        "counts": counts | {"train_images": 50, "train_patients": 25},
        "grid": [1, 64, 64],
        "real_from": "training images",
        "figures": figures,
        "extractors": {"random-conv-v1": "A network with random weights."},
        "not_seen": ["Copies of training patients."],
        "inputs": {"synthetic": "ab" * 32},
    }
    return common | changed


def page_of(folder: Path, content: object) -> tuple[str, Parsed]:
    (folder / "quality.json").write_text(json.dumps(content), encoding="utf-8")
    html = write_quality_report(folder / "quality.json").read_text(encoding="utf-8")
    return html, Parsed(html)


def test_the_page_loads_nothing_and_shows_no_image(tmp_path: Path) -> None:
    html, page = page_of(tmp_path, found())
    assert not {"img", "image", "canvas", "script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert {url[:1] for url in page.loaded} == {"#"}
    assert "default-src 'none'" in html
    assert page.count("table") == page.count("caption")


def test_every_figure_stands_beside_the_same_between_real_images(tmp_path: Path) -> None:
    text = words_of(page_of(tmp_path, found())[0])
    assert "Kernel distance 0.910 (0.85 to 0.97) 0.900 (0.80 to 1.0) 0.0100 (-0.020 to 0.040)" in text
    assert "Coverage 0.0100 (-0.020 to 0.040) none none not known" in text
    assert "64 synthetic images, compared with 60 real images of 30 patients" in text
    assert "Of 3 figures, 1 cannot be told from those between real images, 1 is worse" in text
    assert "1 is better, as copies would be" in text


def test_the_page_says_first_that_no_figure_sees_copies(tmp_path: Path) -> None:
    text = words_of(page_of(tmp_path, found())[0])
    assert text.index("No figure here sees copies") < text.index("A network with random weights.")


def test_a_figure_is_drawn_in_the_tone_of_its_finding_and_without_a_band_where_nothing_is_real(tmp_path: Path) -> None:
    html, _ = page_of(tmp_path, found())
    legend = 1
    assert html.count('class="dot worse"') == 1 + legend
    assert html.count('class="dot better"') == 1 + legend
    assert html.count('class="dot near"') == 2 + legend
    assert html.count('class="band"') == 3 + legend


def test_the_whole_set_has_a_column_of_its_own_where_its_figures_differ(tmp_path: Path) -> None:
    assert "Equal numbers" in page_of(tmp_path, found())[1].text
    content = found(figures=found()["figures"][1:2])
    text = page_of(tmp_path, content)[1].text
    assert "Equal numbers" not in text
    assert "Not here" not in text
    assert "40 synthetic images beside 40 real ones, against 60 other real ones." in text


def test_what_small_sets_lack_is_said_on_the_page_and_on_the_terminal(tmp_path: Path) -> None:
    content = found(figures=found()["figures"][:1])
    assert "Not here: precision, recall, density and coverage" in page_of(tmp_path, content)[1].text
    assert "lacking  precision" in quality_lines(content, "quality.json", "")


def test_only_measured_figures_are_explained(tmp_path: Path) -> None:
    text = words_of(page_of(tmp_path, found())[0])
    assert FIGURES["kernel"].meaning in text
    assert FIGURES["inception-score"].meaning not in text


def test_names_of_features_are_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert('1')</script>"
    content = found(extractors={evil: evil}, not_seen=[evil], inputs={evil: evil}, real_from=evil, lichen=evil)
    content["figures"][0]["extractor"] = evil
    _, page = page_of(tmp_path, content)
    assert page.text.count(evil) >= 7
    assert page.count("script") == 0


@pytest.mark.parametrize("part", ["counts", "grid", "figures", "extractors", "not_seen", "inputs", "real_from"])
@pytest.mark.parametrize("value", [None, [], "text", 7, [{"name": "kernel"}, {"name": "kernel", "real": [1]}, "x"]])
def test_no_part_of_the_file_is_needed_for_a_page(tmp_path: Path, part: str, value: object) -> None:
    assert "How good are the synthetic images?" in page_of(tmp_path, found(**{part: value}))[1].text


def test_a_file_that_is_none_gives_an_error_in_two_lines(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"there is no quality\.json") as caught:
        write_quality_report(tmp_path / "quality.json")
    assert len(str(caught.value).splitlines()) == 2


def test_the_terminal_shows_a_table_for_each_kind_of_features() -> None:
    lines = quality_lines(found(), "quality.json", "12 mg CO2e").splitlines()
    (heading,) = [line for line in lines if line.startswith("random-conv-v1")]
    kernel = lines[lines.index(heading) + 1]
    assert kernel.split()[:2] == ["Kernel", "distance"]
    assert kernel.endswith("worse")
    assert heading.index("real") == kernel.index("0.0100")
    assert "copies   are not seen by any of these; lichen audit looks for them" in lines
