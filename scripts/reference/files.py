"""What stands in words: the files of each folder, and the fields of each file. A test compares them with a run."""

from __future__ import annotations

from collections.abc import Iterator

from .folders import RELEASE, RUN_FOLDER, SEARCH_FOLDER, STUDY
from .markdown import glossary, heading, paragraph
from .records import AUDIT, QUALITY, SEARCH, SIDECAR


def folders() -> Iterator[str]:
    yield from heading(
        "Run folder",
        "The folder is the whole state of a run. Files are plain, and are written whole or appended to.",
    )
    yield from glossary("file", "what it is", RUN_FOLDER)
    yield from paragraph(
        "`lichen audit` writes `audit.json`, `report.html`, `PRIVATE-names.json`, an energy trace and `.lock` into",
        "its own folder.",
        "`lichen quality --out` writes `quality.json`, `quality.html`, an energy trace and `.lock` into that folder.",
    )
    yield from heading("Release folder", "What `lichen release` makes, whole or not at all.")
    yield from glossary("file", "what it is", RELEASE)
    yield from heading("Study folder")
    yield from glossary("file", "what it is", STUDY)
    yield from heading("Search folder", "What `lichen select` keeps of a search, and says of it at its end.")
    yield from glossary("file", "what it is", SEARCH_FOLDER)


def records() -> Iterator[str]:
    yield from heading(
        "search.json",
        "Figures with an interval have `estimate`, `low`, `high`, and where they are means `n`, the seeds.",
    )
    yield from glossary("field", "meaning", SEARCH)
    yield from heading("Sidecar of a synthetic image")
    yield from glossary("field", "meaning", SIDECAR)
    yield from heading("audit.json")
    yield from glossary("field", "meaning", AUDIT)
    yield from paragraph(
        "`lichen/audit/audit.schema.json` in the package describes every key (JSON Schema, draft 2020-12).",
        "`lichen.audit.read_audit` reads the file back.",
    )
    yield from heading("quality.json")
    yield from glossary("field", "meaning", QUALITY)
