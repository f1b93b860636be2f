"""The reference of lichen as one page of Markdown."""

from __future__ import annotations

from .commands import commands, exit_codes
from .failures import failures
from .files import folders, records
from .markdown import heading
from .settings import presets, settings

HEAD = (
    "<!-- Written by scripts/make_reference.py. Change the code, then run it again. -->",
    *heading(
        "Reference", "Commands, options, settings and files of lichen. How to use them: [how-to](how-to.md).", level=1
    ),
)


def reference() -> str:
    """The whole page."""
    parts = (HEAD, commands(), settings(), presets(), exit_codes(), folders(), records(), failures())
    return "\n".join(line for part in parts for line in part).rstrip() + "\n"
