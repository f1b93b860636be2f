"""Scripts and styles of our own in a page, and the data that they read there.

A script is a constant file and holds no data; the data stand beside it in a block that no browser runs. So the page's
Content-Security-Policy can name the hash of each script that may run, and forbid every other.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Inline:
    """A script or a style that goes into a page as it is."""

    text: Markup
    sha256: str
    """As a Content-Security-Policy names it, e.g. ``sha256-...``."""


def inline(*names: str) -> Inline:
    """The files of this room called ``names``, one after the other."""
    here = Path(__file__).parent
    return as_inline("".join((here / name).read_text(encoding="utf-8") for name in names))


def as_inline(text: str) -> Inline:
    """A script or style of ours, or of a package that the user installed; never text with data in it."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Inline(Markup(text), f"sha256-{digest}")  # noqa: S704 (code, no data)


def inert(data: dict[str, Any]) -> Markup:
    """JSON that cannot end the script element it stands in, nor open a comment there."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 (without < there is no markup)
