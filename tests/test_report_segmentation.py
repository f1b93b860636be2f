"""The page about a segmentation: how well it draws, how it learned, and what it says when a part is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lichen.report import write_report
from lichen.report.charts import line_chart
from test_report_audit import words_of
from test_report_page import Parsed, phase, write_json

LOOKS = [(100, 0.04, 1_000.0), (200, 0.7, 2_000.0), (300, 0.8, 3_000.0), (400, 0.75, 4_000.0), (500, 0.78, 5_000.0)]
"""Images seen, validation Dice, joules spent."""


def dice(estimate: float | None, low: float | None, high: float | None, n: int = 25) -> dict[str, Any]:
    return {"estimate": estimate, "low": low, "high": high, "n": n}


def summary(**changed: Any) -> dict[str, Any]:
    return {
        "lichen": "0.1.0",
        "state": "finished",
        "task": "segmentation",
        "finished_at": "2026-01-01T00:00:00+00:00",
        "label": "hippocampus",
        "images": {
            "train_images": 1689,
            "train_patients": 76,
            "validation_images": 632,
            "validation_patients": 26,
            "test_images": 598,
            "test_patients": 25,
            "patients_known": True,
            "shape": [2, 32, 48],
            "spacing_mm": [1.5, 1.5],
            "classes": [0, 1, 2],
            "note": "patients by column",
            "skipped": [{"name": "secret-name.nii.gz", "reason": "broken"}],
        },
        "model": {"kind": "unet", "width": 8, "levels": 4, "parameters": 40_977},
        "segmentation": {
            "dice": dice(0.825, 0.805, 0.845),
            "classes": [
                {"value": 1, "dice": dice(0.834, 0.816, 0.852)},
                {"value": 2, "dice": dice(None, None, None, 0)},
            ],
            "images_seen": 520,
            "best_images_seen": 300,
            "validation_dice": 0.8,
            "ended_by": "patience",
            "planned_images_seen": 14_000,
            "training_flop": 1.5e12,
        },
        "energy": {
            "phases": [
                phase("segmenter", 90.0, {"cpu": ("estimated", 5_000.0)}),
                phase("validate", 9.0, {"cpu": ("estimated", 1_000.0)}),
            ],
            "total": {"low_j": 3_600.0, "energy_j": 6_000.0, "high_j": 12_000.0},
        },
        "provenance": {"command": "lichen segment"},
    } | changed


def page_of(
    folder: Path, content: dict[str, Any], looks: Sequence[tuple[int, float, float | None]] | None = None
) -> tuple[str, str]:
    """The page, and all its words."""
    write_json(folder / "summary.json", content)
    lines = [
        {"phase": "segmenter", "images_seen": seen, "loss": 0.1, "validation_dice": found, "spent_j": joules}
        for seen, found, joules in (LOOKS if looks is None else looks)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    html = write_report(folder).read_text(encoding="utf-8")
    return html, words_of(html)


def test_the_page_loads_nothing_shows_no_image_and_names_nobody(tmp_path: Path) -> None:
    html, text = page_of(tmp_path, summary())
    page = Parsed(html)
    assert not {"img", "image", "canvas", "script", "link", "iframe"} & {tag for tag, _ in page.tags}
    assert {url[:1] for url in page.loaded} == {"#"}
    assert "secret-name" not in html
    assert "Left out 1 image" in text


def test_each_class_stands_with_its_interval_and_how_many_patients_have_it(tmp_path: Path) -> None:
    _, text = page_of(tmp_path, summary())
    assert "Class 1 25 patients 0.834 (0.816 to 0.852)" in text
    assert "Class 2: none: nobody has it." in text
    assert "95 % interval 0.805 to 0.845" in text
    assert "Mean over 2 classes and 25 patients whom the training never saw." in text
    for words in ("1,689 images of 76 patients", "632 images of 26 patients", "598 images of 25 patients"):
        assert words in text


def test_the_curves_mark_the_best_look_and_what_ended_the_training(tmp_path: Path) -> None:
    html, text = page_of(tmp_path, summary())
    assert html.count('class="curve-best"') == html.count("best 0.800</text>") == 2
    assert html.count("ended: no longer better</text>") == 2
    assert "Best after 300 images seen" in text
    assert "Training ended after 520 images." in text
    assert "3.00 kJ to the best look, 6.00 kJ (3.6–12) in all, looks included: 50% of the energy" in text
    assert html.count("(linear scale)") == 2  # a Dice of 0.04 beside one of 0.8 is no reason for a logarithm


def test_the_first_of_equally_good_looks_is_the_best_as_it_is_the_one_that_is_kept(tmp_path: Path) -> None:
    _, text = page_of(tmp_path, summary(), [(100, 0.5, 1.0), (200, 0.8, 2.0), (300, 0.8, 3.0)])
    assert "Best after 200 images seen" in text


def test_a_curve_whose_last_point_is_its_best_is_told_of_it_once() -> None:
    points = [(1.0, 0.2), (2.0, 0.6)]
    drawn = partial(line_chart, name="x", title="", description="", x_axis="", y_axis="Dice")
    rising = drawn(points, best=(2.0, 0.6, "best 0.600"))
    assert (rising.count("curve-best"), rising.count("curve-end")) == (1, 0)
    falling = drawn([*points, (3.0, 0.4)], best=(2.0, 0.6, "best 0.600"))
    assert (falling.count("curve-best"), falling.count("curve-end")) == (1, 1)


def test_what_nobody_measured_has_no_curve_over_energy(tmp_path: Path) -> None:
    html, text = page_of(tmp_path, summary(energy={}), [(seen, found, None) for seen, found, _ in LOOKS])
    assert "No meter gave a reading while it learned." in text
    assert html.count('class="curve-best"') == 1
    assert "not measured" in text


def test_a_training_that_a_budget_cut_says_so_first(tmp_path: Path) -> None:
    cut = summary(state="cut", segmentation=summary()["segmentation"] | {"ended_by": "budget"})
    html, text = page_of(tmp_path, cut)
    assert text.index("A budget ended this training") < text.index("Dice of the test patients")
    assert html.count("ended: budget spent</text>") == 2
    assert "A budget ended" not in page_of(tmp_path, summary())[1]


def test_parts_are_called_apart_only_where_patients_are_known(tmp_path: Path) -> None:
    assert "No patient is in two of them." in page_of(tmp_path, summary())[1]
    unknown = summary(images=summary()["images"] | {"patients_known": False})
    text = page_of(tmp_path, unknown)[1]
    assert "No patient is in two" not in text
    assert "Nothing says which images are of one patient" in text


def test_many_classes_are_counted_beyond_those_that_are_drawn(tmp_path: Path) -> None:
    many = [{"value": value, "dice": dice(0.5, 0.4, 0.6)} for value in range(1, 21)]
    html, text = page_of(tmp_path, summary(segmentation=summary()["segmentation"] | {"classes": many}))
    assert html.count('class="dot near"') == 1 + 12
    assert "8 more classes in summary.json." in text


@pytest.mark.parametrize("part", [part for part in summary() if part != "task"])
@pytest.mark.parametrize("value", [None, [], "<b>text</b>", 7, [{"dice": [1], "phase": {}}]])
def test_no_part_of_the_summary_is_needed_for_a_page_and_none_is_markup(
    tmp_path: Path, part: str, value: object
) -> None:
    html, text = page_of(tmp_path, summary(**{part: value}), [])
    assert "How well it draws" in text
    assert "<b>text</b>" not in html
    assert "so there are no curves" in text
