"""Charts as one SVG file of their own, to put into a paper or a talk."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lichen.report.charts import WIDTH, Bar, bar_chart
from lichen.report.formats import GRAMS, unit_for

_GAP, _MARGIN, _HEAD, _FOOT = 40.0, 20.0, 34.0, 16.0
_LINE = 82
"""Characters in a line of the footer, per chart beside each other."""
_STYLE = """
svg { font-family: system-ui, "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
text { fill: #1b241f; font-size: 12px; } .head { font-size: 14px; font-weight: 600; }
.tick, .axis-title, .row-note, .row-absent, .foot { fill: #4d5a52; font-size: 10.5px; } .row-label { font-weight: 600; }
.grid { stroke: #cfd6cb; } .axis { stroke: #4d5a52; } .bar { stroke-width: 1; stroke: #5f8a70; }
.bar.estimated { stroke-dasharray: 3 2; } .bar.range { stroke-dasharray: 1 2; } .hatch-ground { fill: #f2f6f0; }
.hatch { fill: #5f8a70; opacity: .55; } .whisker { stroke: #1b241f; stroke-width: 1.3; }
.whisker-halo { stroke: #fff; stroke-width: 4; }
.series { fill: none; stroke-width: 1.6; opacity: .7; } .spread { stroke-width: 1.3; } .dot { stroke: none; }
.key { font-size: 11px; } .series-0 { stroke: #3f7256; } .dot.series-0 { fill: #3f7256; }
.series-1 { stroke: #b5651d; } .dot.series-1 { fill: #b5651d; } .series-2 { stroke: #41619a; }
.dot.series-2 { fill: #41619a; } .series-3 { stroke: #8a4a7d; } .dot.series-3 { fill: #8a4a7d; }
.series-4 { stroke: #5b5b52; } .dot.ring { fill: #fff; stroke: #5b5b52; stroke-width: 1.8; }
.level { stroke: #4d5a52; stroke-dasharray: 4 3; } .level-label { fill: #4d5a52; font-size: 10.5px; }
.series-back { stroke: #4d5a52; opacity: .35; } .path-end { opacity: 1; stroke-width: 2; fill: none; }
.front-line { fill: none; stroke: #3f7256; stroke-width: 1.5; stroke-dasharray: 4 3; }
.mark.taken, .mark.front { fill: #3f7256; } .mark-ring { fill: none; stroke: #3f7256; stroke-width: 1.6; }
.mark.beaten { fill: #fff; stroke: #4d5a52; stroke-width: 1.6; }
.mark.broken { fill: none; stroke: #9a3b2a; stroke-width: 1.5; }
.aside { fill: none; stroke: #4d5a52; stroke-width: 1.6; } .aside-reach { stroke: #4d5a52; opacity: .5; }
.error { stroke: #4d5a52; stroke-width: 1.2; opacity: .75; } .error.taken, .error.front { stroke: #3f7256; }
.error.broken { stroke: #9a3b2a; }
.mark-label { font-size: 11.5px; paint-order: stroke; stroke: #fff; stroke-width: 3; }
.mark-label.taken { font-weight: 700; }
.mark-label.beaten, .mark-label.broken { fill: #4d5a52; }
"""


@dataclass(frozen=True)
class Picture:
    """A chart for a page, and the same as an SVG file of its own."""

    name: str
    """Also that of its file."""
    title: str
    chart: Markup
    file: str


def bars_file(groups: Sequence[tuple[str, Sequence[Bar]]], footer: str) -> str:
    """An SVG file of bar charts in grams of CO2e beside each other, (title, bars) each, and a line of origin."""
    charts = []
    for number, (title, bars) in enumerate(groups):
        top = max((bar.span.top or 0.0 for bar in bars), default=0.0)
        unit = unit_for(top, GRAMS)
        charts.append(
            (title, bar_chart(bars, name=f"chart{number}", title=title, description=title, unit=unit, axis="CO₂e"))
        )
    return charts_file(charts, footer)


def charts_file(charts: Sequence[tuple[str, Markup]], footer: str) -> str:
    """An SVG file of charts beside each other, (title, chart) each, and a line below them."""
    body, left, height = [], _MARGIN, 0.0
    for title, chart in charts:
        tall = float(chart.split('viewBox="0 0 ')[1].split('"')[0].split()[1])
        place = Markup('<svg x="{}" y="{}" width="{}" height="{}" ').format(left, _HEAD + 10, WIDTH, tall)
        body.append(Markup('<text class="head" x="{}" y="{}">{}</text>').format(left, _HEAD - 8, title))
        body.append(place + Markup(chart.removeprefix("<svg ")))  # noqa: S704 (markup that a chart has escaped)
        left, height = left + WIDTH + _GAP, max(height, tall)
    lines = textwrap.wrap(footer, _LINE * len(charts))
    y = _HEAD + height + 28
    for number, line in enumerate(lines):
        body.append(Markup('<text class="foot" x="{}" y="{}">{}</text>').format(_MARGIN, y + _FOOT * number, line))
    size = (left - _GAP + _MARGIN, y + _FOOT * len(lines) + 6)
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}">'
            '<style>{2}</style><rect width="100%" height="100%" fill="#fff"/>{3}</svg>\n'
        ).format(*size, Markup(_STYLE), Markup("\n").join(body))  # noqa: S704 (our own style)
    )
