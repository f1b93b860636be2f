"""Markdown of headings and tables, and how names, types and values are written in it."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin


def heading(words: str, *lines: str, level: int = 2) -> Iterator[str]:
    """A heading, and a paragraph of ``lines`` below it if there are any."""
    yield from (f"{'#' * level} {words}", "")
    yield from paragraph(*lines)


def paragraph(*lines: str) -> Iterator[str]:
    yield from (*lines, "") if lines else ()


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield "|" + "---|" * len(head)
    yield from map(_row, rows)
    yield ""


def glossary(kind: str, meaning: str, words: Mapping[str, str]) -> Iterator[str]:
    """A table of two columns: names of a ``kind``, and the ``meaning`` of each."""
    yield from table((kind, meaning), [(f"`{name}`", what) for name, what in words.items()])


def option_name(name: str) -> str:
    return "--" + name.replace("_", "-")


def type_words(kind: Any) -> str:
    origin, options = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return ", or ".join("nothing" if option is type(None) else type_words(option) for option in options)
    if origin is tuple:
        several = {int: "whole numbers", float: "numbers", str: "texts"}
        return several.get(options[0]) or f"any of {type_words(options[0])}"
    if origin is Literal:
        return ", ".join(f"`{option}`" for option in options)
    return {int: "whole number", float: "number", bool: "switch", str: "text", Path: "path"}[kind]


def value_words(value: Any) -> str:
    if value is None or value == ():
        return "nothing"
    if value is False:
        return "off"
    if isinstance(value, tuple):
        return f"`{' '.join(map(str, value))}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
