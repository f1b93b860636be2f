"""Figures of unlike units below each other: each a dot with its interval on a scale of its own, before a band. SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lichen.report.charts import WIDTH, figure_of, line, text
from lichen.report.scales import Scale, interval_scale, tick_label

_ROW, _STRIP, _LEFT, _RIGHT = 68.0, 26.0, 6.0, 8.0
_BAND, _TALL = 17.0, 4.0


@dataclass(frozen=True)
class Dot:
    """A row: a figure with its interval, and the band that it is held against."""

    label: str
    note: str
    words: str
    value: float
    low: float
    high: float
    band: tuple[float, float, float] | None
    """Low, value and high of the band; None: there is nothing to hold the figure against."""
    kind: str
    """How it is drawn: ``near`` the band, ``worse`` or ``better``."""
    is_share: bool = False
    """Whether the scale is to reach from 0 to 1."""


def dot_chart(rows: Sequence[Dot], *, name: str, title: str, description: str) -> Markup:
    """The ``rows``; ``name`` becomes part of element ids and is the caller's own word."""
    body = [_row(row, at * _ROW) for at, row in enumerate(rows)]
    return figure_of(name, title, description, len(rows) * _ROW, body)


def _row(row: Dot, y: float) -> Markup:
    ends = [row.low, row.value, row.high, *(row.band or ()), *((0.0, 1.0) if row.is_share else ())]
    scale = interval_scale(ends, _LEFT, WIDTH - _RIGHT)
    middle = y + _STRIP + _BAND / 2
    marks = [
        Markup(
            '<text x="0" y="{:.1f}"><tspan class="row-label">{}</tspan><tspan class="row-note" dx="7">{}</tspan></text>'
        ).format(y + 14, row.label, row.note),
        text("row-value", WIDTH, y + 14, row.words, "end"),
    ]
    if row.band is not None:
        low, value, high = row.band
        marks.append(_rect("band", scale(low), y + _STRIP, scale(high) - scale(low), _BAND))
        marks.append(line("band-middle", scale(value), y + _STRIP, scale(value), y + _STRIP + _BAND))
    marks.append(line("axis", _LEFT, y + _STRIP + _BAND, WIDTH - _RIGHT, y + _STRIP + _BAND))
    marks.extend(_ticks(scale, y + _STRIP + _BAND))
    marks.append(line(f"dot-line {row.kind}", scale(row.low), middle, scale(row.high), middle))
    marks.extend(
        line(f"dot-line {row.kind}", scale(end), middle - _TALL, scale(end), middle + _TALL)
        for end in (row.low, row.high)
    )
    marks.append(
        Markup('<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(row.kind, scale(row.value), middle)
    )
    return Markup("<g><title>{}: {}</title>{}</g>").format(row.label, row.words, Markup().join(marks))


def _ticks(scale: Scale, y: float) -> list[Markup]:
    """The ends of the scale and what is between, each with a short line."""
    marks = []
    for tick in scale.ticks:
        at = scale(tick)
        anchor = "start" if at < _LEFT + 1 else "end" if at > WIDTH - _RIGHT - 1 else "middle"
        marks.append(line("axis", at, y, at, y + 3))
        marks.append(text("tick", at, y + 13, tick_label(tick), anchor))
    return marks


def dot_swatch(kind: str) -> Markup:
    """A sample for the legend: ``near``, ``worse``, ``better`` or ``band``; decorative, the legend's words say it."""
    if kind == "band":
        inner = _rect("band", 1, 1, 24, 13) + line("band-middle", 13, 1, 13, 14)
    else:
        inner = line(f"dot-line {kind}", 1, 7, 25, 7) + Markup(
            '<circle class="dot {}" cx="13" cy="7" r="4.5"/>'
        ).format(kind)
    return Markup('<svg class="swatch" viewBox="0 0 26 15" width="26" height="15" aria-hidden="true">{}</svg>').format(
        inner
    )


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, x, y, max(width, 1.0), height
    )
