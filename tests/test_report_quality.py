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
    assert "1 is more varied than real" in text
    assert "is better, as copies would be" not in text
    assert "better, as copies would be; a likeness: more varied than real" in text
    assert text.count("more varied than real") == 3, "the summary, the legend and its row"
    figures = [{**figure, "finding": "better"} for figure in found()["figures"][:1]]
    assert "1 is better, as copies would be." in words_of(page_of(tmp_path, found(figures=figures))[0])


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


@pytest.mark.parametrize("part", ["counts", "grid", "figures", "extractors", "not_seen", "inputs", "real_from", "task"])
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
    (likeness,) = [line for line in lines if line.startswith("  Likeness")]
    assert likeness.endswith("more varied than real")


def dice(estimate: float | None, low: float | None, high: float | None, n: int = 25) -> dict[str, Any]:
    return {"estimate": estimate, "low": low, "high": high, "n": n}


def task(difference: dict[str, Any] | None, **changed: Any) -> dict[str, Any]:
    def learned(mean: float) -> dict[str, Any]:
        of_class = {"value": 1, "dice": dice(mean + 0.01, mean, mean + 0.02, 24)}
        return {"dice": dice(mean, mean - 0.02, mean + 0.02), "classes": [of_class]}

    return {
        "name": "segmentation",
        "train_images": 64,
        "test_patients": 25,
        "parameters": 40_977,
        "synthetic": learned(0.7),
        "real": learned(0.8),
        "difference": difference,
    } | changed


def test_what_learned_from_synthetic_images_stands_beside_what_learned_from_real_ones(tmp_path: Path) -> None:
    html, page = page_of(tmp_path, found(task=task(dice(-0.1, -0.13, -0.07))))
    text = words_of(html)
    assert "draws worse than one that learned from as many real images: Dice -0.100 (-0.130 to -0.070)" in text
    assert "Mean over classes 0.700 0.680 to 0.720, 25 patients 0.800 0.780 to 0.820, 25 patients" in text
    assert "Class 1 0.710 0.700 to 0.720, 24 patients 0.810 0.800 to 0.820, 24 patients" in text
    assert "Each learned from 64 images. 25 real patients" in text
    without, _ = page_of(tmp_path, found())
    assert html.count('class="dot worse"') == without.count('class="dot worse"') + 1
    assert html.count('class="band"') == without.count('class="band"') + 1
    assert "What they are good for" not in words_of(without)
    assert page.count("table") == page.count("caption")


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (dice(0.05, 0.02, 0.08), "draws better than one that learned"),
        (dice(-0.01, -0.03, 0.01), "It cannot be told from one that learned"),
        (dice(-0.01, None, None, 1), "is -0.010, but cannot be judged from so few patients"),
        (None, "The difference to one that learned from real images cannot be judged"),
    ],
)
def test_the_difference_is_judged_by_its_interval(tmp_path: Path, difference: dict[str, Any], words: str) -> None:
    assert words in words_of(page_of(tmp_path, found(task=task(difference)))[0])


@pytest.mark.parametrize(
    ("difference", "said", "summary"),
    [
        (
            dice(-0.1, -0.13, -0.07),
            "worse, difference by patient -0.100 (-0.130 to -0.070), learned",
            "draws worse than what learned",
        ),
        (dice(0.05, 0.02, 0.08), "better, difference by patient +0.050", "draws better than what learned"),
        (dice(-0.01, -0.03, 0.01), "as real, difference by patient -0.010", "cannot be told from what learned"),
        (dice(-0.01, None, None, 1), ")  difference by patient -0.010, learned from 64 images", ""),
        (None, ")  learned from 64 images", ""),
    ],
)
def test_the_finding_of_the_task_stands_on_the_terminal_and_at_the_top_of_the_page(
    tmp_path: Path, difference: dict[str, Any] | None, said: str, summary: str
) -> None:
    content = found(task=task(difference))
    assert said in quality_lines(content, "quality.json", "")
    html, _ = page_of(tmp_path, content)
    lead = html[html.index('class="lead"') :].partition("</p>")[0]
    assert summary in lead
    assert ("What learned from them" in lead) == bool(summary)


def test_without_real_images_to_learn_from_nothing_stands_beside_a_dice(tmp_path: Path) -> None:
    html, _ = page_of(tmp_path, found(task=task(None, real=None), figures=[]))
    assert "so nothing stands beside its Dice" in words_of(html)
    assert "0.700 0.680 to 0.720, 25 patients none" in words_of(html)
    assert 'class="band"' not in html
