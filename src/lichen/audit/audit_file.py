"""``audit.json``: written beside its private list of names, read back by whoever releases or reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lichen.audit.names import PRIVATE_NAMES, keep_names, open_names
from lichen.audit.result import EXIT_CODES, LAYOUT, AuditResult
from lichen.errors import AuditError
from lichen.files import sha256_of, write_json

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
    said of the pairs (``reviewed.as_json``). Beside it the private list
    of the real names is written, first: no pseudonym is ever in ``path`` that nobody can resolve. Returns what was
    written to ``path``.
    """
    names = open_names(path.parent)
    whole = result.as_json(names, inputs_sha256=inputs_sha256, files_sha256=files_sha256, reviewed=reviewed)
    keep_names(names, path.parent)
    write_json(path, whole)
    return whole


@dataclass(frozen=True, eq=False)
class AuditFile:
    """An ``audit.json`` of the layout that this version writes."""

    path: Path
    sha256: str
    """Of the file."""
    content: Mapping[str, Any]

    @property
    def verdict(self) -> str:
        """``clean``, ``copies`` or ``inconclusive``."""
        return str(self.content["verdict"])

    @property
    def images(self) -> tuple[Mapping[str, Any], ...]:
        """What it says of each synthetic image."""
        return tuple(self.content["images"])

    @property
    def copies(self) -> frozenset[str]:
        """File names of the flagged synthetic images, by the list and by each image: one of the two is enough."""
        return frozenset(self.content["copies"]) | {image["file"] for image in self.images if image["flagged"]}

    @property
    def private_names(self) -> Path:
        """The file beside it that says whom its pseudonyms stand for."""
        return self.path.with_name(PRIVATE_NAMES)


def read_audit(path: Path) -> AuditFile:
    """The audit in ``path``.

    Raises AuditError if it cannot be read, has another layout, lacks a field or states an unknown verdict.
    """
    try:
        digest, content = sha256_of(path), json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise AuditError(f"{path} is no audit that can be read ({error})", fix=_AGAIN) from error
    layout = content.get("layout", 1) if isinstance(content, dict) else None
    if layout != LAYOUT:
        what = "holds no JSON object" if layout is None else f"has layout {layout!r}, and this version reads {LAYOUT}"
        raise AuditError(f"{path} {what}", fix=_AGAIN)
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    missing = [key for key in schema["required"] if key not in content]
    of_images = schema["$defs"]["image"]["required"]
    for number, image in enumerate(content["images"] if isinstance(content.get("images"), list) else []):
        lacking = [key for key in of_images if not isinstance(image, dict) or key not in image]
        missing += [f"images[{number}].{key}" for key in lacking]
    if missing:
        raise AuditError(f"{path} lacks {', '.join(missing[:3])}", fix=_AGAIN)
    wrong = [key for key, kind in (("images", list), ("copies", list)) if not isinstance(content[key], kind)]
    if wrong or content["verdict"] not in EXIT_CODES:
        raise AuditError(f"{path} has an impossible {(*wrong, 'verdict')[0]}", fix=_AGAIN)
    return AuditFile(path, digest, content)


_AGAIN = "run lichen audit again with this version"
