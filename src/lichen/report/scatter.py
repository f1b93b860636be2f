"""Quality against cost: points with intervals, the front, and what has a cost alone below them. SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from lichen.report.charts import WIDTH, figure_of, line, text
from lichen.report.formats import Span, Unit
from lichen.report.scales import Scale, line_scale, tick_label

Kind = Literal["taken", "front", "beaten", "broken"]
"""How a point is drawn; the key says it in words."""
KEYS: dict[Kind, str] = {
    "taken": "to take",
    "front": "on the front",
    "beaten": "not on it",
    "broken": "breaks a limit",
}
_LEFT, _RIGHT, _PLOT, _ROW = 56.0, 12.0, 224.0, 20.0
_LETTER, _LINE = 6.2, 12.0
"""Width and height of a letter of a label."""
_KEY_LETTER, _KEY_GAP = 5.5, 24.0
_LONGEST_LABEL = 16
_WHISKER = 3.0


@dataclass(frozen=True)
class Mark:
    """A point with both intervals, x in base units."""

    label: str
    """Shown beside the point where there is room."""
    words: str
    """Shown when pointed at."""
    x: Span
    y: Span
    kind: Kind


@dataclass(frozen=True)
class Row:
    """Things below the plot that have a place on its x axis alone."""

    label: str
    spans: tuple[tuple[str, Span], ...]
    """(words, where) of each."""


def scatter_chart(
    marks: Sequence[Mark],
    rows: Sequence[Row],
    *,
    name: str,
    title: str,
    description: str,
    x_axis: str,
    y_axis: str,
    unit: Unit,
    best_at: Literal["top", "bottom"],
) -> Markup:
    """``marks`` with whiskers, a staircase along those taken and on the front, and ``rows`` below.

    Either axis is logarithmic where all on it is positive and spans more than a decade. ``best_at`` is where the better
    figures of y are: the front has nothing beyond it there, so its labels have room.
    """
    rows = [row for row in rows if row.spans]
    key, top = _key([kind for kind in KEYS if any(mark.kind == kind for mark in marks)])
    top += 24.0
    bottom = top + _PLOT
    floor = bottom + (8 + _ROW * len(rows) if rows else 0)
    xs = [end / unit.size for span in (*(mark.x for mark in marks), *_spans(rows)) for end in _ends(span)]
    ys = [end for mark in marks for end in _ends(mark.y)]
    x_scale = line_scale(xs or [0.0, 1.0], _LEFT + 10, WIDTH - _RIGHT - 8)
    y_scale = line_scale(ys or [0.0, 1.0], bottom - 8, top + 6)
    places = [(mark, x_scale(_at(mark.x) / unit.size), y_scale(_at(mark.y))) for mark in marks]
    body = [*key, *_grid(x_scale, y_scale, top, floor)]
    body.extend(_staircase([(x, y) for mark, x, y in places if mark.kind in {"taken", "front"}]))
    order: list[Kind] = list(KEYS)
    places.sort(key=lambda place: order.index(place[0].kind))
    for mark, x, y in reversed(places):  # the front on top of what it beats
        body.append(_mark(mark, x, y, x_scale, y_scale, unit))
    body.extend(_labels(places, top, bottom, up=best_at == "top"))
    if rows:
        body.append(line("axis", _LEFT, bottom, WIDTH - _RIGHT, bottom))
        for at, row in enumerate(rows):
            body.append(_row(row, bottom + 8 + _ROW * (at + 0.5), x_scale, unit))
    body.append(text("axis-title", 0, top - 12, y_axis + (", log scale" if y_scale.is_log else ""), "start"))
    scale_words = f" ({unit.symbol}, log scale)" if x_scale.is_log else f" ({unit.symbol})"
    body.append(text("axis-title", WIDTH - _RIGHT, floor + 34, x_axis + scale_words, "end"))
    return figure_of(name, title, description, floor + 40, body)


def _grid(x_scale: Scale, y_scale: Scale, top: float, floor: float) -> list[Markup]:
    body = []
    for tick in y_scale.ticks:
        body.append(line("grid", _LEFT, y_scale(tick), WIDTH - _RIGHT, y_scale(tick)))
        body.append(text("tick", _LEFT - 7, y_scale(tick) + 3.5, tick_label(tick), "end"))
    for tick in x_scale.ticks:
        body.append(line("grid", x_scale(tick), top, x_scale(tick), floor))
        body.append(text("tick", x_scale(tick), floor + 16, tick_label(tick), "middle"))
    body.append(line("axis", _LEFT, floor, WIDTH - _RIGHT, floor))
    return body


def _staircase(points: Sequence[tuple[float, float]]) -> list[Markup]:
    """From each point sideways and then to the next: what can be had for a cost, without mixing two models."""
    steps = sorted(points)
    if len(steps) < 2:
        return []
    path = f"M{steps[0][0]:.1f} {steps[0][1]:.1f}" + "".join(f"H{x:.1f}V{y:.1f}" for x, y in steps[1:])
    return [Markup('<path class="front-line" d="{}"/>').format(path)]


def _mark(mark: Mark, x: float, y: float, x_scale: Scale, y_scale: Scale, unit: Unit) -> Markup:
    parts = []
    if mark.x.low is not None and mark.x.high is not None:
        low, high = x_scale(mark.x.low / unit.size), x_scale(mark.x.high / unit.size)
        parts.append(line(f"error {mark.kind}", low, y, high, y))
        parts.extend(line(f"error {mark.kind}", end, y - _WHISKER, end, y + _WHISKER) for end in (low, high))
    if mark.y.low is not None and mark.y.high is not None:
        low, high = y_scale(mark.y.low), y_scale(mark.y.high)
        parts.append(line(f"error {mark.kind}", x, low, x, high))
        parts.extend(line(f"error {mark.kind}", x - _WHISKER, end, x + _WHISKER, end) for end in (low, high))
    parts.append(_shape(mark.kind, x, y))
    return Markup("<g><title>{}</title>{}</g>").format(mark.words, Markup().join(parts))


def _shape(kind: Kind, x: float, y: float) -> Markup:
    """A disc in a ring, a disc, a ring, a struck square: kinds differ without colour, too."""
    shapes: dict[Kind, str] = {
        "taken": '<circle class="mark-ring taken" cx="{x:.1f}" cy="{y:.1f}" r="8"/>'
        '<circle class="mark taken" cx="{x:.1f}" cy="{y:.1f}" r="4.4"/>',
        "front": '<circle class="mark front" cx="{x:.1f}" cy="{y:.1f}" r="4.4"/>',
        "beaten": '<circle class="mark beaten" cx="{x:.1f}" cy="{y:.1f}" r="3.8"/>',
        "broken": '<path class="mark broken" d="M{x:.1f} {y:.1f}m-4-4h8v8h-8zl8 8m0-8l-8 8"/>',
    }
    return Markup(shapes[kind]).format(x=x, y=y)  # noqa: S704 (our own shapes)


def _row(row: Row, y: float, x_scale: Scale, unit: Unit) -> Markup:
    parts = [text("tick", _LEFT - 7, y + 3.5, row.label, "end")]
    for words, span in row.spans:
        x = x_scale(_at(span) / unit.size)
        cross = Markup('<path class="aside" d="M{:.1f} {:.1f}m-3.5-3.5l7 7m0-7l-7 7"/>').format(x, y)
        reach = Markup()
        if span.low is not None and span.high is not None:
            reach = line("aside-reach", x_scale(span.low / unit.size), y, x_scale(span.high / unit.size), y)
        parts.append(Markup("<g><title>{}</title>{}{}</g>").format(words, reach, cross))
    return Markup().join(parts)


def _labels(places: Sequence[tuple[Mark, float, float]], top: float, bottom: float, *, up: bool) -> list[Markup]:
    """The names of points where there is room for them, the first of ``places`` first."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for _, x, y in places]
    body = []
    for mark, x, y in places:
        words = mark.label if len(mark.label) <= _LONGEST_LABEL else mark.label[: _LONGEST_LABEL - 1].rstrip() + "…"
        wide, off = _LETTER * len(words), 11.0 if mark.kind == "taken" else 7.0
        high, low = y - off, y + off + _LINE - 3
        spots = [(x - off, high, "end"), (x + off, high, "start"), (x + off, low, "start"), (x - off, low, "end")]
        for left, base, anchor in spots if up else [spots[3], spots[2], spots[1], spots[0]]:
            start = left - wide if anchor == "end" else left
            box = (start, base - _LINE + 2, start + wide, base + 2)
            inside = box[0] >= _LEFT and box[2] <= WIDTH and box[1] >= top - 6 and box[3] <= bottom
            if words and inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                body.append(text(f"mark-label {mark.kind}", left, base, words, anchor))
                break
    return body


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _key(kinds: Sequence[Kind]) -> tuple[list[Markup], float]:
    """A sample and words for each kind, and the height they take."""
    marks: list[Markup] = []
    x, y = 10.0, 14.0
    for kind in kinds:
        wide = 14 + _KEY_LETTER * len(KEYS[kind])
        if x > 10.0 and x + wide > WIDTH:
            x, y = 10.0, y + 18.0
        marks += [_shape(kind, x, y - 4), text("key", x + 13, y, KEYS[kind], "start")]
        x += wide + _KEY_GAP
    return marks, y + 8 if marks else 0.0


def _spans(rows: Sequence[Row]) -> list[Span]:
    return [span for row in rows for _, span in row.spans]


def _at(span: Span) -> float:
    """Where a point is: at the estimate, or in want of one at the upper end."""
    return (span.top or 0.0) if span.estimate is None else span.estimate


def _ends(span: Span) -> tuple[float, ...]:
    return tuple(end for end in (span.low, span.estimate, span.high) if end is not None)
