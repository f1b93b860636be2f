"""The files of a run folder, read with doubt: what is absent, cut short or of another type is None, never an error."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

MAX_TEXT_CHARACTERS = 200_000
"""A settings file longer than this is no settings file; the page shows its beginning."""


class Facts:
    """A JSON value of unknown shape, asked for by path: ``facts.number("energy", "total", "low_j")``."""

    def __init__(self, value: object = None) -> None:
        self._value = value

    def _below(self, path: tuple[str, ...]) -> object:
        value = self._value
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def at(self, *path: str) -> Facts:
        """What lies at ``path``; nothing lies below anything that is no object."""
        return Facts(self._below(path))

    def text(self, *path: str) -> str | None:
        """The text at ``path``; an empty one is none."""
        value = self._below(path)
        return value if isinstance(value, str) and value else None

    def number(self, *path: str) -> float | None:
        """The finite number at ``path``."""
        value = self._below(path)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None

    def flag(self, *path: str) -> bool | None:
        """The true or false at ``path``; 0, 1 and "false" are neither."""
        value = self._below(path)
        return value if isinstance(value, bool) else None

    def each(self, *path: str) -> tuple[Facts, ...]:
        """The entries of the list at ``path``."""
        value = self._below(path)
        return tuple(Facts(entry) for entry in value) if isinstance(value, list) else ()

    def numbers(self, *path: str) -> tuple[float, ...]:
        """The finite numbers of the list at ``path``."""
        return tuple(number for entry in self.each(*path) if (number := entry.number()) is not None)

    def texts(self, *path: str) -> tuple[str, ...]:
        """The texts of the list at ``path``."""
        return tuple(text for entry in self.each(*path) if (text := entry.text()) is not None)

    def keys(self, *path: str) -> tuple[str, ...]:
        """The keys of the object at ``path``."""
        value = self._below(path)
        return tuple(value) if isinstance(value, dict) else ()

    def __bool__(self) -> bool:
        return self._value not in (None, {}, [])


@dataclass(frozen=True)
class Document:
    """A JSON file: its content, or in ``problem`` why there is none."""

    facts: Facts
    problem: str | None = None


def read_document(path: Path) -> Document:
    """The JSON object in ``path``."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Document(Facts(), f"there is no {path.name}")
    except OSError as error:
        return Document(Facts(), f"{path.name} cannot be read ({error.strerror})")
    except (ValueError, RecursionError):
        return Document(Facts(), f"{path.name} is not valid JSON")
    if not isinstance(value, dict):
        return Document(Facts(), f"{path.name} holds no JSON object")
    return Document(Facts(value))


def read_text(path: Path) -> str | None:
    """The text of a small file, or None if it cannot be read."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_TEXT_CHARACTERS)
    except OSError:
        return None
