"""One self-contained HTML page about a run: what it cost, what it made, and whether that may be shared.

The page is drawn from the files of the run folder alone and computes nothing new.
"""

from lichen.report.page import write_report

__all__ = ["write_report"]
