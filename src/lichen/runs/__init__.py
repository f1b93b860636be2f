"""The run folder: plain files that are the whole state of a run."""

from lichen.runs.folder import RunFolder, now
from lichen.runs.listing import RunRow, list_runs
from lichen.runs.log import read_log

__all__ = ["RunFolder", "RunRow", "list_runs", "now", "read_log"]
