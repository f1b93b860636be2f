"""What a forecast would mean elsewhere and in another month, as charts."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import fmean
from typing import TYPE_CHECKING

from markupsafe import Markup

from lichen.carbon import Footprint, Range, all_year, everywhere, ratio_text
from lichen.report.charts import bar_chart
from lichen.report.formats import GRAMS, unit_for
from lichen.report.standalone import bars_file
from lichen.whatif import bars_of, both_ends, month_name

if TYPE_CHECKING:
    from lichen.studies.results import Results

ENDS = 6
"""Countries shown from either end of the list."""


def elsewhere(results: Results) -> Iterator[tuple[str, str, Markup, str]]:
    """(name, title, chart, file) of the last table's usual plan by country, and by month where the place is known."""
    rows = [row for row in results.rows if row.cell.table == results.tables[-1].name]
    usual = results.tables[-1].usual(())
    found = [ends for row in rows if row.found.fits(usual) and (ends := row.details.get("total_j"))]
    if not found:
        return
    low, middle, high = (fmean(ends[end] for ends in found) for end in ("low", "estimate", "high"))
    footprint = Footprint(Range(low, middle, high))
    places = everywhere(footprint, pue=results.pue)
    title = f"{results.tables[-1].words}, usual settings, by country"
    groups = [("places", title, bars_of([(place.zone_name, place) for place in both_ends(places, ENDS)]))]
    months = all_year(footprint, results.place.zone, results.pue) if results.place.zone else ()
    if months:
        title = f"The same by month, {months[0].zone_name}"
        groups.append(("months", title, bars_of([(month_name(month), month) for month in months])))
    footer = f"{ratio_text(places[0], places[-1])}. {places[0].attribution}"
    for name, words, bars in groups:
        unit = unit_for(max(bar.span.top or 0.0 for bar in bars), GRAMS)
        chart = bar_chart(bars, name=name, title=words, description=words, unit=unit, axis="CO₂e")
        yield name, words, chart, bars_file([(words, bars)], footer)
