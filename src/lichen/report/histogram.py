"""Two histograms back to back: what was measured above the axis, what it is compared with below. Pure SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lichen.report.charts import WIDTH, figure_of, line, text
from lichen.report.scales import bar_scale, interval_scale, tick_label

_HEIGHT = 270.0
_LEFT, _RIGHT, _TOP, _MIDDLE, _BOTTOM = 2.0, 10.0, 26.0, 136.0, 226.0
_BINS = 36


@dataclass(frozen=True)
class Series:
    """Values of one kind, drawn in a style of the page: ``counter``, ``flagged`` or ``reference``."""

    label: str
    kind: str
    values: tuple[float, ...]


def histograms(above: Sequence[Series], below: Series, *, name: str, title: str, description: str, axis: str) -> Markup:
    """The share of all values ``above`` in each bin, stacked upwards, and of those ``below`` downwards.

    ``name`` becomes part of element ids and is the caller's own word.
    """
    every = [value for series in (*above, below) for value in series.values]
    scale = interval_scale(every, _LEFT, WIDTH - _RIGHT)
    width = (scale.high - scale.low) / _BINS
    total = sum(len(series.values) for series in above)
    stacks = [_binned(series.values, scale.low, width, total) for series in above]
    down = _binned(below.values, scale.low, width, len(below.values))
    top = max((sum(column) for column in zip(*stacks, strict=True)), default=0.0)
    up_scale = bar_scale(max(top, *down), 0.0, _MIDDLE - _TOP)
    body = []
    for tick in scale.ticks:
        body.append(line("grid", scale(tick), _TOP, scale(tick), _BOTTOM))
        body.append(text("tick", scale(tick), _BOTTOM + 15, tick_label(tick), "middle"))
    step = (WIDTH - _RIGHT - _LEFT) / _BINS
    for column in range(_BINS):
        base = _MIDDLE - 1
        for series, shares in zip(above, stacks, strict=True):
            height = up_scale(shares[column])
            body.append(_bar(series.kind, column, step, base - height, height, series.label, shares[column]))
            base -= height
        height = up_scale(down[column]) * (_BOTTOM - _MIDDLE) / (_MIDDLE - _TOP)
        body.append(_bar(below.kind, column, step, _MIDDLE + 1, height, below.label, down[column]))
    body.append(line("axis", _LEFT, _MIDDLE, WIDTH - _RIGHT, _MIDDLE))
    at = _LEFT
    for series in above:
        words = f"{series.label} ({len(series.values):,})"
        body.append(_key(series.kind, at, 8))
        body.append(text("row-note", at + 15, 16, words, "start"))
        at += 30 + 5.6 * len(words)
    body.append(_key(below.kind, _LEFT, _BOTTOM + 28))
    body.append(text("row-note", _LEFT + 15, _BOTTOM + 36, f"{below.label} ({len(below.values):,})", "start"))
    body.append(text("axis-title", WIDTH - _RIGHT, _BOTTOM + 36, axis, "end"))
    return figure_of(name, title, description, _HEIGHT, body)


def mini_bar(share: float | None, kind: str) -> Markup:
    """A small bar from 0 to 1 beside a figure that says the same; decorative."""
    filled = Markup("") if share is None else _rect(f"bar {kind}", 0, 1, 100 * min(max(share, 0.0), 1.0), 8)
    return Markup(
        '<svg class="mini" viewBox="0 0 100 10" width="100" height="10" aria-hidden="true">'
        '<rect class="mini-ground" x="0" y="1" width="100" height="8"/>{}</svg>'
    ).format(filled)


def _binned(values: Sequence[float], low: float, width: float, total: int) -> list[float]:
    shares = [0.0] * _BINS
    for value in values:
        shares[min(max(int((value - low) / width), 0), _BINS - 1)] += 1 / total
    return shares


def _bar(kind: str, at: int, step: float, y: float, height: float, label: str, share: float) -> Markup:
    if not share:
        return Markup("")
    shown = _rect(f"bar {kind}", _LEFT + at * step + 0.6, y, step - 1.2, max(height, 1.0))
    return Markup("<g><title>{}: {}</title>{}</g>").format(label, f"{share:.1%}", shown)


def _key(kind: str, x: float, y: float) -> Markup:
    return _rect(f"bar {kind}", x, y, 10, 10)


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, x, y, width, height
    )
