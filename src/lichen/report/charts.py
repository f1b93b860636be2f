"""Charts as SVG markup: pure functions of figures and labels. The page's style sheet gives the colours.

Every label passes through ``Markup.format``, which escapes it. ``name`` becomes part of element ids and is the caller's
own word, never data. Figures are drawn 420 units wide, so that type stays readable on a telephone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from lichen.report.formats import Span, Unit
from lichen.report.scales import Scale, bar_scale, interval_scale, line_scale, tick_label

Kind = Literal["counter", "polled", "estimated", "range"]
"""How a bar's figure came about; what is estimated is hatched and dashed, so that it never looks measured."""

WIDTH = 420.0
_ROW, _BAR, _BAR_DROP = 46.0, 13.0, 22.0
_LINE_HEIGHT = 236.0
_MOST_POINTS = 600
_LONGEST_HEAD = 40


@dataclass(frozen=True)
class Part:
    """A piece of a bar: one reading, in base units (J, g)."""

    label: str
    kind: Kind
    value: float


@dataclass(frozen=True)
class Bar:
    """A row of a bar chart: pieces from zero, whiskers over ``span``; no pieces: the interval alone is drawn."""

    label: str
    note: str
    words: str
    span: Span
    parts: tuple[Part, ...]


def bar_chart(bars: Sequence[Bar], *, name: str, title: str, description: str, unit: Unit, axis: str) -> Markup:
    """Horizontal bars with whiskers from low to high; each row has its name, note and figure above its bar."""
    top = max((bar.span.top or 0.0 for bar in bars), default=0.0)
    scale = bar_scale(top / unit.size, 1.0, WIDTH - 12)
    bottom = len(bars) * _ROW + 4
    body = [_hatches(name)]
    for tick in scale.ticks:
        body.append(line("grid", scale(tick), 0, scale(tick), bottom))
        anchor = "start" if tick == 0 else "middle"
        body.append(text("tick", scale(tick) if tick else 0, bottom + 15, tick_label(tick), anchor))
    for row, bar in enumerate(bars):
        body.append(_bar(bar, row * _ROW, scale, unit, name))
    body.append(line("axis", 1, 0, 1, bottom))
    body.append(text("axis-title", WIDTH, bottom + 33, f"{axis} ({unit.symbol})", "end"))
    return figure_of(name, title, description, bottom + 40, body)


def _bar(bar: Bar, y: float, scale: Scale, unit: Unit, name: str) -> Markup:
    head = _shorten(bar.label, _LONGEST_HEAD - 16)
    marks = [
        Markup(
            '<text x="6" y="{:.1f}"><tspan class="row-label">{}</tspan><tspan class="row-note" dx="7">{}</tspan></text>'
        ).format(y + 15, head, _shorten(bar.note, _LONGEST_HEAD - len(head))),
        text("row-value" if bar.span.top is not None else "row-absent", WIDTH, y + 15, bar.words, "end"),
    ]
    low, high = (None if end is None else end / unit.size for end in (bar.span.low, bar.span.high))
    at = 0.0
    for part in bar.parts:
        end = at + max(part.value, 0.0) / unit.size
        marks.append(_block(part.kind, scale(at), scale(end), y, name, f"{part.label}: {part.kind}"))
        at = end
    if not bar.parts and bar.span.is_range:
        marks.append(_block("range", scale(low or 0.0), scale(high or 0.0), y, name, f"{bar.label}: {bar.words}"))
    elif low is not None and high is not None and high > low:
        middle = y + _BAR_DROP + _BAR / 2
        marks.append(line("whisker-halo", scale(low), middle, scale(high), middle))
        marks.append(line("whisker", scale(low), middle, scale(high), middle))
        marks.extend(line("whisker", scale(end), middle - 4, scale(end), middle + 4) for end in (low, high))
    return Markup("<g><title>{}: {}, {}</title>{}</g>").format(bar.label, bar.words, bar.note, Markup().join(marks))


def _block(kind: Kind, start: float, end: float, y: float, name: str, title: str) -> Markup:
    # a fill by reference must be an attribute: a style sheet cannot know the ids of this figure
    fill = Markup(' fill="url(#{}-{})"').format(name, kind) if kind in {"estimated", "range", "polled"} else Markup()
    return Markup(
        '<rect class="bar {}"{} x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="1.5"><title>{}</title></rect>'
    ).format(kind, fill, start, y + _BAR_DROP, max(end - start, 1.0), _BAR, title)


def swatch(kind: Kind | Literal["whisker"], name: str) -> Markup:
    """A small sample of how ``kind`` is drawn, for a legend; decorative, the legend's words say it."""
    if kind == "whisker":
        inner = line("whisker", 2, 7, 24, 7) + line("whisker", 2, 3, 2, 11) + line("whisker", 24, 3, 24, 11)
    else:
        inner = _hatches(name) + _block(kind, 1, 25, 1 - _BAR_DROP, name, kind)
    return Markup('<svg class="swatch" viewBox="0 0 26 15" width="26" height="15" aria-hidden="true">{}</svg>').format(
        inner
    )


def _hatches(name: str) -> Markup:
    hatch = Markup('<rect class="hatch" width="1.7" height="6"/>')
    dot = Markup('<circle class="hatch" cx="2.5" cy="2.5" r="1"/>')
    stripe = Markup('<rect class="polled-line" width="1" height="4"/>')
    return Markup("<defs>{}{}{}</defs>").format(
        _pattern(f"{name}-estimated", 6, "hatch-ground", hatch, turn=45),
        _pattern(f"{name}-range", 5, "hatch-ground", dot),
        _pattern(f"{name}-polled", 4, "polled-ground", stripe),
    )


def _pattern(name: str, side: int, ground: str, mark: Markup, turn: int = 0) -> Markup:
    return Markup(
        '<pattern id="{}" width="{side}" height="{side}" patternUnits="userSpaceOnUse" patternTransform="rotate({})">'
        '<rect class="{}" width="{side}" height="{side}"/>{}</pattern>'
    ).format(name, turn, ground, mark, side=side)


def line_chart(
    points: Sequence[tuple[float, float]],
    *,
    name: str,
    title: str,
    description: str,
    x_axis: str,
    y_axis: str,
    level: tuple[float, str] | None = None,
    best: tuple[float, float, str] | None = None,
    end: tuple[float, str] | None = None,
    is_share: bool = False,
) -> Markup:
    """One curve through ``points`` (x, y), x ascending; y is logarithmic where it spans more than a decade.

    ``level`` is a y to hold the curve against, ``best`` a point (x, y) on it and ``end`` the x at which it ended, each
    with what it is. ``is_share``: y lies between 0 and 1, and is never logarithmic.
    """
    left, right, top, bottom = 48.0, WIDTH - 14, 26.0, _LINE_HEIGHT - 42
    kept = _thin(points)
    x_scale = bar_scale(max([x for x, _ in kept] + ([] if end is None else [end[0]])), left, right)
    y_scale = (interval_scale if is_share else line_scale)(
        [y for _, y in kept] + ([] if level is None else [level[0]]), bottom, top
    )
    body = []
    for tick in y_scale.ticks:
        body.append(line("grid", left, y_scale(tick), right, y_scale(tick)))
        body.append(text("tick", left - 7, y_scale(tick) + 3.5, tick_label(tick), "end"))
    for tick in x_scale.ticks:
        body.append(line("axis", x_scale(tick), bottom, x_scale(tick), bottom + 4))
        body.append(text("tick", x_scale(tick), bottom + 17, tick_label(tick), "middle"))
    body.append(line("axis", left, bottom, right, bottom))
    if level is not None:
        body.append(line("level", left, y_scale(level[0]), right, y_scale(level[0])))
        body.append(text("level-label", left + 4, y_scale(level[0]) - 5, level[1], "start"))
    path = "M" + "L".join(f"{x_scale(x):.1f} {y_scale(y):.1f}" for x, y in kept)
    body.append(Markup('<path class="curve" d="{}"/>').format(path))
    if end is not None:
        body.append(line("level", x_scale(end[0]), top, x_scale(end[0]), bottom))
        body.append(text("level-label", x_scale(end[0]) - 5, bottom - 6, end[1], "end"))
    if best is not None:
        body.extend(_best(x_scale(best[0]), y_scale(best[1]), best[2], top))
    last_x, last_y = kept[-1]
    if best is None or best[:2] != (last_x, last_y):
        body.extend(_last(x_scale(last_x), y_scale(last_y), last_y, top, is_below=best is not None))
    kind = "log scale" if y_scale.is_log else "linear scale"
    body.append(text("axis-title", 0, 11, f"{y_axis} ({kind})", "start"))
    body.append(text("axis-title", right, _LINE_HEIGHT - 6, x_axis, "end"))
    return figure_of(name, title, description, _LINE_HEIGHT, body)


def _best(x: float, y: float, words: str, top: float) -> Iterator[Markup]:
    """A ring, and above it what it is."""
    yield Markup('<circle class="curve-best" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(x, y)
    anchor = "start" if x < WIDTH / 4 else "end" if x > WIDTH * 3 / 4 else "middle"
    yield text("curve-label", x, y - 10 if y > top + 14 else y + 20, words, anchor)


def _last(x: float, y: float, value: float, top: float, *, is_below: bool) -> Iterator[Markup]:
    """A dot, and beside it its figure; below, where that of the best, which is never lower, may stand above."""
    yield Markup('<circle class="curve-end" cx="{:.1f}" cy="{:.1f}" r="3"/>').format(x, y)
    label_y = y + (-9 if y > top + 12 and not is_below else 18)
    yield text("curve-label", x + 4, label_y, tick_label(float(f"{value:.3g}")), "end")


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Keep the lowest and highest point of each stretch, so that spikes survive and the page stays small."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    stretch = -(-2 * len(points) // _MOST_POINTS)
    kept = [points[0]]
    for start in range(0, len(points), stretch):
        part = points[start : start + stretch]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return [*kept, points[-1]]


def figure_of(name: str, title: str, description: str, height: float, body: Iterable[Markup]) -> Markup:
    """A chart of ``body`` with a title and a description for those who cannot see it."""
    return Markup(
        '<svg class="chart" viewBox="0 0 {:.0f} {:.0f}" role="img" aria-labelledby="{n}-title {n}-desc">'
        '<title id="{n}-title">{}</title><desc id="{n}-desc">{}</desc>{}</svg>'
    ).format(WIDTH, height, title, description, Markup("\n").join(body), n=name)


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    """A line whose colour the style sheet gives to its ``kind``."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def text(kind: str, x: float, y: float, words: str, anchor: str) -> Markup:
    """Words at a place; ``anchor``: start, middle or end."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(kind, x, y, anchor, words)


def _shorten(words: str, most: int) -> str:
    return words if len(words) <= most else words[: max(most - 1, 0)].rstrip() + "…"
