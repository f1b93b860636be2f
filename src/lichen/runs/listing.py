"""The run folders under a folder."""

from __future__ import annotations

from pathlib import Path

from lichen.errors import RunError
from lichen.runs.folder import RunFolder


def find_runs(root: Path) -> tuple[RunFolder, ...]:
    """The run folders in ``root`` and up to two levels below it, sorted by path.

    Raises:
        RunError: ``root`` is no folder.
    """
    if not root.is_dir():
        raise RunError(
            f"there is no folder {root}", fix="give the folder that holds your runs, or make one: lichen run"
        )
    configs = (path for depth in ("", "*/", "*/*/") for path in root.glob(f"{depth}config.yaml"))
    return tuple(RunFolder(path) for path in sorted({path.parent for path in configs}))
