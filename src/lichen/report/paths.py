"""Many curves in one chart: a few that are told apart, the others behind them, and where each ended. SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from lichen.report.charts import WIDTH, figure_of, line, text
from lichen.report.formats import Unit
from lichen.report.levels import MOST_SERIES, key_of, marker
from lichen.report.scales import line_scale, tick_label

_LEFT, _RIGHT, _PLOT = 52.0, 12.0, 200.0


@dataclass(frozen=True)
class Path:
    """A curve, x in base units and ascending."""

    label: str
    """Of the key; empty: it is drawn behind the others."""
    words: str
    points: tuple[tuple[float, float], ...]
    end: Literal["done", "stopped", "open"]
    """A curve that was stopped ends in a cross, one that is done in a mark, any other in nothing."""


def paths_chart(
    paths: Sequence[Path],
    *,
    name: str,
    title: str,
    description: str,
    x_axis: str,
    y_axis: str,
    unit: Unit,
    level: tuple[float, str] | None = None,
) -> Markup:
    """``paths`` over one x axis; ``level`` is an x to hold them against, and what it is.

    Either axis is logarithmic where all on it is positive and spans more than a decade.
    """
    drawn = [path for path in paths if path.points]
    labels = list(dict.fromkeys(path.label for path in drawn if path.label))[:MOST_SERIES]
    key, key_height = key_of(labels)
    top = key_height + 26.0
    bottom = top + _PLOT
    xs = [x / unit.size for path in drawn for x, _ in path.points] + ([] if level is None else [level[0] / unit.size])
    x_scale = line_scale(xs or [0.0, 1.0], _LEFT + 4, WIDTH - _RIGHT)
    y_scale = line_scale([y for path in drawn for _, y in path.points] or [0.0, 1.0], bottom, top)
    body = [*key]
    for tick in y_scale.ticks:
        body.append(line("grid", _LEFT, y_scale(tick), WIDTH - _RIGHT, y_scale(tick)))
        body.append(text("tick", _LEFT - 7, y_scale(tick) + 3.5, tick_label(tick), "end"))
    for tick in x_scale.ticks:
        body.append(line("axis", x_scale(tick), bottom, x_scale(tick), bottom + 4))
        body.append(text("tick", x_scale(tick), bottom + 17, tick_label(tick), "middle"))
    body.append(line("axis", _LEFT, bottom, WIDTH - _RIGHT, bottom))
    if level is not None:
        at = x_scale(level[0] / unit.size)
        body.append(line("level", at, top, at, bottom))
        body.append(text("level-label", at - 4, bottom - 6, level[1], "end"))
    for path in sorted(drawn, key=lambda path: path.label in labels):
        places = [(x_scale(x / unit.size), y_scale(y)) for x, y in path.points]
        body.append(_path(path, places, labels.index(path.label) if path.label in labels else None))
    body.append(text("axis-title", 0, key_height + 11, y_axis + (", log scale" if y_scale.is_log else ""), "start"))
    scale_words = f" ({unit.symbol}, log scale)" if x_scale.is_log else f" ({unit.symbol})"
    body.append(text("axis-title", WIDTH - _RIGHT, bottom + 36, x_axis + scale_words, "end"))
    return figure_of(name, title, description, bottom + 42, body)


def _path(path: Path, places: Sequence[tuple[float, float]], number: int | None) -> Markup:
    kind = "series series-back" if number is None else f"series series-{number}"
    parts = []
    if len(places) > 1:
        route = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts.append(Markup('<path class="{}" d="M{}"/>').format(kind, route))
    x, y = places[-1]
    if path.end == "stopped":
        cross = '<path class="{} path-end" d="M{:.1f} {:.1f}m-3.5-3.5l7 7m0-7l-7 7"/>'
        parts.append(Markup(cross).format(kind, x, y))  # noqa: S704 (our own shape)
    elif path.end == "done" and number is not None:
        parts.append(marker(number, x, y))
    return Markup("<g><title>{}</title>{}</g>").format(path.words, Markup().join(parts))
