"""What a search writes: figures with their ranges, words escaped, and no crash where little is known."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lichen.carbon import Range, intensity
from lichen.commands.judging import report as report_command
from lichen.errors import RunError
from lichen.report.formats import Span, Unit
from lichen.report.markdown import markdown_table
from lichen.report.paths import Path as Curve
from lichen.report.paths import paths_chart
from lichen.report.scatter import Mark, Row, scatter_chart
from lichen.searching.definition import Search
from lichen.searching.results import Results, report
from lichen.searching.spending import Spent
from lichen.searching.view import in_words
from lichen.searching.wording import times
from lichen.selection.types import Candidate, CurvePoint, Limits, Measured, State

SEARCH = Search(
    path=Path("widths.yaml"),
    title="Which width?",
    task="segmentation",
    base=None,
    space=(),
    seeds=(0, 1, 2),
    quality="dice",
    beta=1.0,
    planned_images=0,
    peak_memory_gb=None,
    copy_rate=None,
)


def candidate(width: float, seed: int = 0, state: State = "finished", **changes: Any) -> Candidate:
    cost, quality = 1000.0 * width, 0.7 + 0.01 * width + 0.002 * (seed % 3)
    is_done = state == "finished"
    made = Candidate(
        name=f"width-{width:g}-seed-{seed}",
        settings={"segmenter.width": width},
        seed=seed,
        state=state,
        training_j=Range(0.9 * cost, cost, 1.2 * cost),
        synthesis_j=None,
        spent_j=cost if is_done else 10.0,
        curve=(CurvePoint(cost / 2, 0.5), CurvePoint(cost, quality)) if is_done else (),
        found=Measured(quality, quality - 0.01, quality + 0.01, cost) if is_done else None,
        cut=None,
        training_s=cost / 50 if is_done else None,
        parameters=int(1e4 * width),
        training_flop=1e9 * width if is_done else None,
        peak_memory_bytes=None,
        copy_rate=None,
        reason="" if is_done else "costs more than width 2 and cannot be better",
    )
    return replace(made, **changes)


def written(home: Path, candidates: Sequence[Candidate], *, grid: str | None = "FR", **changes: Any) -> Results:
    limits = changes.pop("limits", Limits())
    spent_j = sum(each.spent_j for each in candidates)
    spent = Spent(Range(0.9 * spent_j, spent_j, 1.2 * spent_j), changes.pop("unread", 0))
    return report(replace(SEARCH, **changes), candidates, limits, intensity(grid), None, spent, home)


def found(home: Path) -> dict[str, Any]:
    return dict(json.loads((home / "search.json").read_text()))


def test_a_trace_that_cannot_be_read_is_named_beside_what_the_search_emitted(tmp_path: Path) -> None:
    written(tmp_path, [candidate(1, 0)], unread=2)
    said = "2 energy traces cannot be read: the search emitted more than is said here."
    assert said in (tmp_path / "search.md").read_text()
    assert said in (tmp_path / "report.html").read_text()
    assert found(tmp_path)["unread_traces"] == 2


def test_costs_that_are_nearly_alike_are_told_apart() -> None:
    assert [times(factor) for factor in (1.036, 1.94, 4.52, 120.4)] == [
        "1.04 times",
        "1.94 times",
        "4.5 times",
        "120 times",
    ]


def test_a_search_writes_its_answer_for_people_and_for_programs(tmp_path: Path) -> None:
    candidates = [candidate(width, seed) for width in (1, 2, 4, 8) for seed in range(3)]
    results = written(tmp_path, [*candidates, candidate(16, 0, "refused")])
    answer = found(tmp_path)
    assert answer["configurations"][answer["choice"]["take"]]["settings"] == {"segmenter.width": 8.0}
    assert answer["front"] == [0, 1, 2, 3]
    assert len(answer["steps"]) == 3
    assert answer["saved_j"]["estimate"] == pytest.approx(16000.0 - 10.0)
    assert answer["rank_correlations"]["parameters"]["estimate"] == pytest.approx(1.0)
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [each.name for each in results.candidates]
    assert float(rows[0]["quality"]) == pytest.approx(0.71)
    page, table = (tmp_path / "report.html").read_text(), (tmp_path / "search.md").read_text()
    for text in (page, table, in_words(results, tmp_path)):
        assert "Take width 8" in text
        assert "2024" in text  # the year of the intensity
    assert "cannot be better" in page
    assert "refused" in (tmp_path / "figures" / "quality-against-cost.svg").read_text()


def test_at_an_unknown_place_grams_are_ranges_and_the_axis_is_of_energy(tmp_path: Path) -> None:
    results = written(tmp_path, [candidate(1), candidate(2)], grid=None)
    assert found(tmp_path)["search_g"]["estimate"] is None
    assert "place unknown" in in_words(results, tmp_path)
    figure = (tmp_path / "figures" / "quality-against-cost.svg").read_text()
    assert "energy of training" in figure
    assert "CO₂e of training" not in figure


def test_titles_names_and_reasons_from_somebodys_file_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>|\x1b[31m"
    settings = {f"segmenter.{evil}": evil}
    candidates = [
        candidate(1, name=evil, settings=settings),
        candidate(2, 0, "refused", name=evil, settings={f"segmenter.{evil}": "other"}, reason=evil),
    ]
    results = written(tmp_path, candidates, title=evil)
    for name in ("report.html", "search.md", "figures/quality-against-cost.svg", "figures/learning.svg"):
        assert "<script" not in (tmp_path / name).read_text(), name
    assert "\x1b" not in in_words(results, tmp_path)


@pytest.mark.parametrize(
    "candidates",
    [
        [],
        [candidate(1)],
        [candidate(1, 0, "waiting", training_j=None, spent_j=0.0)],
        [candidate(1, 0, "running"), candidate(2, 0, "stopped")],
        [candidate(1, 0, "refused"), candidate(2, 0, "refused")],
        [candidate(1, training_j=None), candidate(2, training_j=None)],
        [candidate(1, training_j=Range(0.0, 0.0, 0.0)), candidate(2, training_j=Range(10.0, None, 30.0))],
        [candidate(1, found=Measured(0.0, None, None, 1.0)), candidate(2, found=Measured(-0.1, None, None, 1.0))],
        [candidate(1, settings={}), candidate(2, 1, settings={})],
    ],
    ids=[
        "none",
        "one",
        "unknown",
        "none done",
        "all refused",
        "no cost",
        "no estimate",
        "no quality",
        "no setting",
    ],
)
@pytest.mark.parametrize("grid", ["FR", None])
@pytest.mark.parametrize("quality", ["dice", "kernel_distance"])
def test_a_report_can_be_written_of_anything_that_is_known(
    candidates: list[Candidate], grid: str | None, quality: str, tmp_path: Path
) -> None:
    limits = Limits(candidate_j=1500.0, copy_rate=0.01 if quality == "kernel_distance" else None)
    results = written(tmp_path, candidates, grid=grid, quality=quality, limits=limits)
    words = in_words(results, tmp_path)
    for text in (words, (tmp_path / "report.html").read_text(), (tmp_path / "search.md").read_text()):
        assert "None" not in text
        assert "nan" not in text.replace("nance", "")
    for figure in (tmp_path / "figures").glob("*.svg"):
        assert "nan" not in ET.tostring(ET.parse(figure).getroot(), encoding="unicode")


def test_a_cut_candidate_is_shown_beside_what_it_is_when_done_and_counts_within_the_budget(tmp_path: Path) -> None:
    dear = candidate(8, cut=Measured(0.76, 0.75, 0.77, 1900.0))
    results = written(tmp_path, [candidate(1), dear], limits=Limits(candidate_j=2000.0))
    assert results.in_budget is not None
    assert results.in_budget.take.is_cut
    assert found(tmp_path)["in_budget"]["cut"]
    assert "width 8, cut at the budget" in in_words(results, tmp_path)
    assert "trained until done" in (tmp_path / "figures" / "cut-at-budget.svg").read_text()
    rows = (tmp_path / "search.md").read_text()
    assert "| width 1 | not cut | 0.710 (0.700 to 0.720) |" in rows
    assert "| 80,000 |" in rows, "parameters of a small network in full"
    assert "| width 8 | 0.760 (0.750 to 0.770) | 0.780 (0.770 to 0.790) |" in rows


def test_a_search_is_no_run_to_report_on(tmp_path: Path) -> None:
    written(tmp_path, [candidate(1)])
    with pytest.raises(RunError, match=r"holds a search, not a run\n  fix: repeat its lichen select command"):
        report_command([str(tmp_path)])


def test_what_is_done_and_was_not_measured_says_so_and_why(tmp_path: Path) -> None:
    results = written(tmp_path, [candidate(1, found=None, reason="there are 2 held-out patients")])
    words = in_words(results, tmp_path)
    assert "No configuration can be chosen: no quality was measured: there are 2 held-out patients." in words
    assert "until it was done" not in words


def test_of_differences_within_chance_the_report_names_no_winner(tmp_path: Path) -> None:
    alike = [
        candidate(w, s, found=Measured(0.7 + 0.01 * ((w + s) % 2), None, None, 1.0)) for w in (1, 2) for s in range(4)
    ]
    results = written(tmp_path, [*alike[:4], *[replace(each, seed=each.seed) for each in alike[4:]]])
    words = in_words(results, tmp_path)
    assert "Take width 1" in words
    assert "shown to be worse" not in words


def marks_of(*points: tuple[float, float], kind: Any = "front") -> list[Mark]:
    return [Mark("m", "words", Span(None, x, None), Span(y - 0.01, y, y + 0.01), kind) for x, y in points]


def drawn(marks: list[Mark], rows: Sequence[Row] = ()) -> ET.Element:
    chart = scatter_chart(
        marks,
        rows,
        name="s",
        title="T",
        description="D",
        x_axis="cost",
        y_axis="quality",
        unit=Unit("g", 1.0),
        best_at="top",
    )
    return ET.fromstring(str(chart))


def centres(root: ET.Element) -> list[tuple[float, float]]:
    circles = [each.attrib for each in root.iter("circle") if each.get("class") == "mark front"]
    return sorted((float(each["cx"]), float(each["cy"])) for each in circles[1:])  # the first one is that of the key


def test_points_stand_as_far_apart_as_their_costs_and_higher_where_quality_is() -> None:
    (x1, y1), (x2, y2), (x3, y3) = centres(drawn(marks_of((10, 0.5), (20, 0.6), (40, 0.7))))
    assert x3 - x2 == pytest.approx(2 * (x2 - x1), abs=0.3)
    assert y1 - y2 == pytest.approx(y2 - y3, abs=0.3)
    assert y3 < y2 < y1


def test_costs_over_more_than_a_decade_are_on_a_log_axis() -> None:
    root = drawn(marks_of((1, 0.5), (10, 0.6), (100, 0.7)))
    (x1, _), (x2, _), (x3, _) = centres(root)
    assert x3 - x2 == pytest.approx(x2 - x1, abs=0.3)
    assert any("log scale" in (each.text or "") for each in root.iter("text"))


def test_the_front_is_drawn_on_top_of_what_it_beats() -> None:
    root = drawn([*marks_of((10, 0.5)), *marks_of((10, 0.5), kind="beaten")])
    kinds = [each.get("class") for each in root.iter("circle") if each.get("class", "").startswith("mark ")]
    assert kinds[-2:] == ["mark beaten", "mark front"]


def test_the_staircase_joins_the_front_and_leaves_out_what_is_beaten() -> None:
    root = drawn([*marks_of((10, 0.5), (20, 0.6)), *marks_of((30, 0.4), kind="beaten")])
    (path,) = [each.get("d", "") for each in root.iter("path") if each.get("class") == "front-line"]
    (x1, y1), (x2, y2) = centres(root)
    assert path == f"M{x1:.1f} {y1:.1f}H{x2:.1f}V{y2:.1f}"


def test_labels_of_a_scatter_do_not_cover_each_other() -> None:
    root = drawn(marks_of(*[(10 + 0.1 * at, 0.5 + 0.001 * at) for at in range(12)]))
    boxes = []
    for label in root.iter("text"):
        if label.get("class", "").startswith("mark-label"):
            x, y, wide = float(label.get("x", 0)), float(label.get("y", 0)), 6.2 * len(label.text or "")
            left = x - wide if label.get("text-anchor") == "end" else x
            boxes.append((left, y - 10, left + wide, y + 2))
    assert boxes
    apart = [a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for a in boxes for b in boxes if a is not b]
    assert all(apart)


def test_what_has_a_cost_alone_stands_below_the_plot_in_a_row_with_its_name() -> None:
    root = drawn(marks_of((10, 0.5)), [Row("refused", (("words", Span(5.0, 20.0, 40.0)),)), Row("stopped", ())])
    words = [each.text for each in root.iter("text")]
    assert "refused" in words
    assert "stopped" not in words
    assert len([each for each in root.iter("path") if each.get("class") == "aside"]) == 1


def test_a_curve_that_was_stopped_ends_in_a_cross_and_one_that_is_done_in_a_mark() -> None:
    points = ((1.0, 0.1), (2.0, 0.2))
    curves = [Curve("a", "a", points, "done"), Curve("b", "b", points, "stopped"), Curve("", "c", points, "open")]
    chart = paths_chart(curves, name="p", title="T", description="D", x_axis="x", y_axis="y", unit=Unit("g", 1.0))
    root = ET.fromstring(str(chart))
    classes = [each.get("class", "") for each in root.iter("path")]
    assert sum("path-end" in each for each in classes) == 1
    assert sum("series-back" in each for each in classes) == 1


def test_a_markdown_cell_ends_no_cell_and_opens_no_tag() -> None:
    assert markdown_table(("a",), (("x|y\n<b>",),))[-1] == "| x\\|y &lt;b> |"


def test_the_reference_names_every_field_and_file_of_a_search(tmp_path: Path) -> None:
    reference = (Path(__file__).resolve().parents[1] / "docs" / "reference.md").read_text()
    folder, _, rest = reference.partition("## Search folder")[2].partition("## search.json")
    fields = rest.partition("\n## ")[0]
    written(
        tmp_path, [candidate(1), candidate(8, cut=Measured(0.7, None, None, 1900.0))], limits=Limits(candidate_j=2e3)
    )
    files = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    named = {line.split("|")[1].join(("|", "|")) for line in rows_of(folder)}
    assert {f"| `{name}` |" for name in files} <= named, "besides there is what a search keeps while it goes on"
    assert {f"| `{name}` |" for name in found(tmp_path)} == {
        line.split("|")[1].join(("|", "|")) for line in rows_of(fields)
    }


def rows_of(table: str) -> list[str]:
    return [line for line in table.splitlines() if line.startswith("| `")]
