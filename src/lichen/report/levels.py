"""Figures over the levels of something, with intervals, for each of a few things that are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lichen.report.charts import WIDTH, figure_of, line, text
from lichen.report.formats import Span, Unit
from lichen.report.scales import line_scale, tick_label

_LEFT, _RIGHT, _PLOT = 52.0, 12.0, 190.0
_KEY, _LETTER, _SPACING = 17.0, 5.9, 28.0
"""Height of a line of the key; width of a letter there, and what is between two entries."""
_SHIFT = 7.0
"""Lines stand beside each other by this much, so that whiskers do not cover each other."""
_LONGEST_LEVEL = 9
MOST_SERIES = 5
"""Lines that look different; more are hard to tell apart in any case."""


@dataclass(frozen=True)
class Series:
    """One of what is compared: at each level a figure with its interval, in base units; a level may lack."""

    label: str
    points: tuple[tuple[str, Span], ...]


def levels_chart(
    series: Sequence[Series],
    levels: Sequence[str],
    *,
    name: str,
    title: str,
    description: str,
    x_axis: str,
    y_axis: str,
    unit: Unit,
) -> Markup:
    """Points with whiskers over ``levels``, evenly spaced, for each of ``series``; joined where the levels are numbers.

    Words have no order that a line could follow.
    The axis is logarithmic where all that is drawn is positive and spans more than a decade.
    """
    values = [end / unit.size for one in series for _, span in one.points for end in _ends(span)]
    key, key_height = key_of([one.label for one in series])
    top, bottom = key_height + 26.0, key_height + 26.0 + _PLOT
    scale = line_scale(values or [0.0, 1.0], bottom, top)
    step = (WIDTH - _LEFT - _RIGHT) / max(len(levels), 1)
    are_numbers = all(_is_number(level) for level in levels)
    body = [*key]
    for tick in scale.ticks:
        body.append(line("grid", _LEFT, scale(tick), WIDTH - _RIGHT, scale(tick)))
        body.append(text("tick", _LEFT - 7, scale(tick) + 3.5, tick_label(tick), "end"))
    body.append(line("axis", _LEFT, bottom, WIDTH - _RIGHT, bottom))
    for at, level in enumerate(levels):
        body.append(text("tick", _LEFT + step * (at + 0.5), bottom + 17, _level_label(level, len(levels)), "middle"))
    for number, one in enumerate(series):
        shift = _SHIFT * (number - (len(series) - 1) / 2)
        middle = {level: _LEFT + step * (at + 0.5) + shift for at, level in enumerate(levels)}
        drawn = [(middle[level], span) for level, span in one.points]
        path = "L".join(f"{x:.1f} {scale((span.estimate or 0.0) / unit.size):.1f}" for x, span in drawn)
        if len(drawn) > 1 and are_numbers:
            body.append(Markup('<path class="series series-{}" d="M{}"/>').format(number % MOST_SERIES, path))
        for x, span in drawn:
            low, estimate, high = (None if end is None else scale(end / unit.size) for end in _three(span))
            if low is not None and high is not None:
                body.append(line(f"spread series-{number % MOST_SERIES}", x, low, x, high))
                body.extend(line(f"spread series-{number % MOST_SERIES}", x - 3, y, x + 3, y) for y in (low, high))
            if estimate is not None:
                body.append(marker(number, x, estimate))
    kind = ", log scale" if scale.is_log else ""
    symbol = f" ({unit.symbol}{kind})" if unit.symbol else kind
    body.append(text("axis-title", 0, key_height + 11, f"{y_axis}{symbol}", "start"))
    body.append(text("axis-title", WIDTH - _RIGHT, bottom + 36, x_axis, "end"))
    return figure_of(name, title, description, bottom + 42, body)


def key_of(labels: Sequence[str]) -> tuple[list[Markup], float]:
    """A sample and a name for each line, and the height they take; nothing for a line without a name."""
    marks: list[Markup] = []
    x, y = 6.0, 11.0
    for number, label in enumerate(labels):
        if not label:
            continue
        wide = 14 + _LETTER * len(label) + _SPACING
        if x > 6.0 and x + wide - _SPACING > WIDTH:
            x, y = 6.0, y + _KEY
        marks += [marker(number, x, y - 4), text("key", x + 11, y, label, "start")]
        x += wide
    return marks, y + 8 if marks else 0.0


def marker(number: int, x: float, y: float) -> Markup:
    """Circle, square, triangle, diamond, ring: lines differ without colour, too."""
    shapes = (
        '<circle class="dot series-0" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>',
        '<rect class="dot series-1" x="{left:.1f}" y="{top:.1f}" width="6.8" height="6.8"/>',
        '<path class="dot series-2" d="M{x:.1f} {top:.1f}l4.2 7.4h-8.4z"/>',
        '<path class="dot series-3" d="M{x:.1f} {top:.1f}l4.2 4.2-4.2 4.2-4.2-4.2z"/>',
        '<circle class="dot ring series-4" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>',
    )
    return Markup(shapes[number % MOST_SERIES]).format(x=x, y=y, left=x - 3.4, top=y - 3.8)  # noqa: S704 (our own shapes)


def _is_number(level: str) -> bool:
    try:
        return math.isfinite(float(level))
    except ValueError:
        return False


def _ends(span: Span) -> tuple[float, ...]:
    return tuple(end for end in _three(span) if end is not None)


def _three(span: Span) -> tuple[float | None, float | None, float | None]:
    return span.low, span.estimate, span.high


def _level_label(level: str, count: int) -> str:
    most = _LONGEST_LEVEL * 5 // max(count, 1)
    return level if len(level) <= max(most, 5) else level[: max(most, 5) - 1] + "…"
