"""Reading a log that was appended to by a run that may have been killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_log(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of a log by phase, in order of images seen; an empty mapping where there is no log.

    A resumed run goes back to its last checkpoint: what it logs then replaces what the killed one had logged beyond
    that point. A line cut short by a kill is left out.
    """
    phases: dict[str, list[dict[str, Any]]] = {}
    if not path.is_file():
        return phases
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        record = _parse(line)
        if record is None:
            continue
        records = phases.setdefault(str(record["phase"]), [])
        while records and records[-1]["images_seen"] >= record["images_seen"]:
            records.pop()
        records.append(record)
    return phases


def _parse(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, dict) and "phase" in record and isinstance(record.get("images_seen"), int)
    return record if whole else None
