"""The run folder: plain files that are the whole state of a run."""

from lichen.runs.folder import RunFolder, now
from lichen.runs.listing import find_runs
from lichen.runs.log import append_line, read_lines, read_log

__all__ = ["RunFolder", "append_line", "find_runs", "now", "read_lines", "read_log"]
