"""Figures in words, scales and charts."""

from __future__ import annotations

import math
import re
import sys
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lichen.report.charts import Bar, Part, bar_chart, line_chart
from lichen.report.evidence import Facts
from lichen.report.formats import GRAMS, JOULES, WATT_HOURS, Span, Unit, duration, figure, span_words
from lichen.report.levels import Series, levels_chart
from lichen.report.scales import bar_scale, line_scale, tick_label


def bar(label: str, low: float, estimate: float | None, high: float, *parts: Part) -> Bar:
    span = Span(low, estimate, high)
    return Bar(label, "note", span_words(span, JOULES), span, parts)


def chart(*bars: Bar) -> ET.Element:
    markup = bar_chart(bars, name="e", title="T", description="D", unit=Unit("J", 1.0), axis="energy")
    return ET.fromstring(str(markup))


def rects(root: ET.Element) -> list[tuple[str, float, float]]:
    """(class, start, width) of each bar."""
    found = [rect.attrib for rect in root.iter("rect") if rect.get("class", "").startswith("bar ")]
    return [(each["class"], float(each["x"]), float(each["width"])) for each in found]


def test_bars_are_as_long_as_their_figures() -> None:
    root = chart(bar("a", 100, 100, 100, Part("cpu", "counter", 100)), bar("b", 50, 50, 50, Part("cpu", "counter", 50)))
    (_, _, long), (_, _, short) = rects(root)
    assert long == pytest.approx(2 * short, abs=0.2)


def test_the_pieces_of_a_bar_lie_end_to_end() -> None:
    root = chart(bar("a", 30, 30, 30, Part("gpu", "counter", 20), Part("cpu", "estimated", 10)))
    (kind, start, width), (next_kind, next_start, next_width) = rects(root)
    assert (kind, next_kind) == ("bar counter", "bar estimated")
    assert start + width == pytest.approx(next_start, abs=0.2)
    assert width == pytest.approx(2 * next_width, abs=0.2)


def test_a_whisker_spans_low_to_high() -> None:
    root = chart(bar("a", 50, 100, 200, Part("cpu", "estimated", 100)))
    (_, start, width) = rects(root)[0]
    whisker = next(line.attrib for line in root.iter("line") if line.get("class") == "whisker")
    assert float(whisker["x1"]) == pytest.approx(start + width / 2, abs=0.2)
    assert float(whisker["x2"]) == pytest.approx(start + width * 2, abs=0.3)


def test_a_range_without_an_estimate_is_drawn_from_low_to_high_and_has_no_whisker() -> None:
    root = chart(bar("a", 50, None, 100))
    assert [kind for kind, _, _ in rects(root)] == ["bar range"]
    assert rects(root)[0][1] > 100
    assert not [line for line in root.iter("line") if line.get("class") == "whisker"]


def test_labels_are_escaped_in_charts() -> None:
    evil = "</text><script>\"&'"
    root = chart(Bar(evil, evil, evil, Span(1, 2, 3), (Part(evil, "polled", 2),)))
    assert not list(root.iter("script"))
    assert any(evil in (element.text or "") for element in root.iter("title"))


def test_a_curve_passes_through_its_points_in_order() -> None:
    points = [(0.0, 1.0), (50.0, 0.75), (100.0, 0.5)]
    markup = line_chart(points, name="l", title="T", description="D", x_axis="seen", y_axis="loss")
    path = next(element.get("d", "") for element in ET.fromstring(str(markup)).iter("path"))
    (x0, y0), (x1, y1), (x2, y2) = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert y0 < y2, "a smaller loss lies lower on the page"


def test_a_long_curve_keeps_its_spike() -> None:
    points = [(float(i), 100.0 if i == 12_345 else 1.0) for i in range(50_000)]
    markup = line_chart(points, name="l", title="T", description="D", x_axis="seen", y_axis="loss")
    path = next(element.get("d", "") for element in ET.fromstring(str(markup)).iter("path"))
    heights = [float(pair.split()[1]) for pair in re.split("[ML]", path)[1:]]
    assert len(heights) < 1_000
    highest, next_highest = sorted(heights)[:2]  # on paper, up is small
    assert highest < next_highest


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=30))
@example([4.0, sys.float_info.min])
@example([1.0, 1e-98])
@example([5e-324])
def test_a_scale_holds_all_its_values_and_its_ticks(values: list[float]) -> None:
    scale = line_scale(values, 0.0, 100.0)
    assert all(0.0 <= scale(value) <= 100.0 for value in values)
    assert all(0.0 <= scale(tick) <= 100.0 for tick in scale.ticks)
    assert len(scale.ticks) <= 12


@given(st.floats(1e-9, 1e15))
def test_a_bar_scale_starts_at_zero_and_reaches_its_largest_value(top: float) -> None:
    scale = bar_scale(top, 0.0, 1.0)
    assert scale.low == 0
    assert scale.high >= top * (1 - 1e-6)
    assert scale(scale.high / 2) == pytest.approx(0.5)


def test_a_logarithmic_scale_gives_every_decade_the_same_room() -> None:
    scale = line_scale([1e-3, 1e-2, 1e-1, 1.0], 0.0, 1.0)
    assert scale.is_log
    assert scale(1e-2) - scale(1e-3) == pytest.approx(scale(1.0) - scale(1e-1))


def test_a_decade_or_less_and_negative_values_get_a_linear_scale() -> None:
    assert not line_scale([1.0, 9.0], 0.0, 1.0).is_log
    assert not line_scale([-1.0, 900.0], 0.0, 1.0).is_log


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (0.02, "0.02"), (1e-5, "10⁻⁵"), (200_000, "200k"), (1.5e6, "1.5M"), (2e-4, "2·10⁻⁴")]
)
def test_ticks_are_short(value: float, words: str) -> None:
    assert tick_label(value) == words


@pytest.mark.parametrize(
    ("value", "words"), [(9.999, "10.0"), (0.012345, "0.0123"), (1234.5, "1,230"), (999.6, "1,000"), (0, "0")]
)
def test_a_figure_has_three_significant_digits(value: float, words: str) -> None:
    assert figure(value) == words


@given(st.floats(1e-6, 1e12))
def test_a_figure_is_its_value_to_half_a_percent(value: float) -> None:
    assert float(figure(value).replace(",", "")) == pytest.approx(value, rel=0.005)


def test_a_figure_without_an_estimate_is_a_range() -> None:
    assert span_words(Span(0.9, None, 3.1), GRAMS) == "0.90–3.1 g"


def test_a_figure_carries_its_ends_in_the_same_unit() -> None:
    assert span_words(Span(900, 1500, 3100), JOULES) == "1.50 kJ (0.90–3.1)"
    assert span_words(Span(3.6e6, 3.6e6, 3.6e6), WATT_HOURS) == "1.00 kWh"


def test_no_figure_is_not_measured() -> None:
    assert span_words(Span(None, None, None), JOULES) == "not measured"
    assert span_words(Span(None, 0.0, None), JOULES) == "0 J"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.42, "0.42 s"), (59.6, "1 min"), (200, "3 min 20 s"), (7_500, "2 h 5 min"), (None, "not measured")],
)
def test_durations_have_two_units_at_most(seconds: float | None, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("value", [True, "1", None, [], {}, math.nan, math.inf, 10**400])
def test_what_is_no_finite_number_is_no_number(value: object) -> None:
    assert Facts({"x": value}).number("x") is None


@pytest.mark.parametrize("value", [0, 1, "false", "true", None, []])
def test_only_true_and_false_are_flags(value: object) -> None:
    assert Facts({"x": value}).flag("x") is None
    assert Facts({"x": False}).flag("x") is False


@pytest.mark.parametrize(("levels", "lines"), [(("4", "8.5", "1000"), 1), (("none", "bf16"), 0)])
def test_points_are_joined_over_numbers_and_not_over_words(levels: tuple[str, ...], lines: int) -> None:
    points = tuple((level, Span(1.0, 2.0, 3.0)) for level in levels)
    said = {"title": "", "description": "", "x_axis": "", "y_axis": ""}
    svg = levels_chart([Series("one", points)], levels, name="x", unit=GRAMS[0], **said)
    assert str(svg).count('<path class="series ') == lines
    assert str(svg).count('class="spread ') == 3 * len(levels)
