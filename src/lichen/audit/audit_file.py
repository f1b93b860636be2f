"""``audit.json``: written beside its private list of names. ``lichen.audited`` reads it back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lichen.audit.names import keep_names, open_names
from lichen.audit.result import AuditResult
from lichen.files import write_json

SCHEMA = Path(__file__).with_name("audit.schema.json")
"""JSON Schema (draft 2020-12) of ``audit.json``."""


def write_audit(
    result: AuditResult,
    path: Path,
    *,
    inputs_sha256: Mapping[str, str],
    files_sha256: Mapping[str, str] | None = None,
    reviewed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``result`` to ``path``, bound to its inputs by their SHA-256 (what was hashed -> hexadecimal digest).

    ``files_sha256`` binds each synthetic image to its finding: name -> digest of its file. ``reviewed``: what people
    said of the pairs (``reviewed.as_json``). Beside it the private list of the real names is written, first: no
    pseudonym is ever in ``path`` that nobody can resolve. Returns what was written to ``path``.
    """
    names = open_names(path.parent)
    whole = result.as_json(names, inputs_sha256=inputs_sha256, files_sha256=files_sha256, reviewed=reviewed)
    keep_names(names, path.parent)
    write_json(path, whole)
    return whole
