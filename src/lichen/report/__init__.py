"""One self-contained HTML page about a run: what it cost, what it made, and whether that may be shared.

The page is drawn from the files of the run folder alone and computes nothing new, but for the panel "What if?": that is
calculated in the reader's browser from figures in the page.
"""

from lichen.report.audit_page import write_audit_report
from lichen.report.charts import Bar, Part
from lichen.report.formats import Span
from lichen.report.levels import Series, levels_chart
from lichen.report.page import write_report
from lichen.report.quality_page import write_quality_report
from lichen.report.standalone import bars_file, charts_file

__all__ = [
    "Bar",
    "Part",
    "Series",
    "Span",
    "bars_file",
    "charts_file",
    "levels_chart",
    "write_audit_report",
    "write_quality_report",
    "write_report",
]
