"""Files of JSON lines: appended to, and read though a run that wrote them may have been killed and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lichen.errors import RunError


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line to a file; raises RunError if its folder is gone."""
    line = json.dumps(record, allow_nan=False)
    try:
        file = path.open("a+b")
    except FileNotFoundError as error:
        raise RunError(
            f"the run folder {path.parent} has vanished", fix="bring it back or name another; then repeat the command"
        ) from error
    with file:
        file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
        cut_short = file.read(1) not in {b"", b"\n"}  # by a kill or a full disk; it must not spoil this line too
        file.write(b"\n" * cut_short + line.encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, a line each; what is none is left out, as is a line that a kill cut short."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [record for line in lines if isinstance(record := _parse(line), dict)]


def read_log(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of a log by phase, in order of images seen; an empty mapping where there is no log.

    A resumed run goes back to its last checkpoint: what it logs then replaces what the killed one had logged beyond
    that point. A line cut short by a kill is left out.
    """
    phases: dict[str, list[dict[str, Any]]] = {}
    for record in read_lines(path):
        if "phase" not in record or not isinstance(record.get("images_seen"), int):
            continue
        records = phases.setdefault(str(record["phase"]), [])
        while records and records[-1]["images_seen"] >= record["images_seen"]:
            records.pop()
        records.append(record)
    return phases


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
