"""Tables in Markdown, of figures and of words that came from somebody's file."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [f"| {' | '.join(map(markdown_cell, row))} |" for row in (head, ("---",) * len(head), *rows)]


def markdown_cell(words: str) -> str:
    """``words`` on one line, without what would end a cell or begin a tag."""
    return " ".join(words.replace("|", "\\|").replace("<", "&lt;").split())
