"""The nodes of a YAML file that is more than settings, read strictly: what is wrong names file and line."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lichen.errors import ConfigError
from lichen.settings import from_text, located, name_of


class Fields:
    """A mapping with known keys; ``what`` it describes is said in errors."""

    def __init__(self, node: yaml.Node, path: Path, what: str, known: Sequence[str] = ()) -> None:
        self._node, self.path, self.what = node, path, what
        self._values: dict[str, yaml.Node] = {}
        self._keys: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(node, f"{what} must be lines of the form 'name: value'")
        for key, value in node.value:
            name = name_of(key, path)
            if known and name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise located(path, key, f"{what} has no {name}", fix=f"did you mean {near}?")
            if name in self._values:
                raise located(path, key, f"{what} has {name} twice", fix="delete one of the two")
            self._keys[name], self._values[name] = key, value

    def wrong(self, node: yaml.Node, problem: str, fix: str = "see docs/how-to.md") -> ConfigError:
        """An error at ``node``."""
        return located(self.path, node, problem, fix=fix)

    def lacking(self, name: str) -> ConfigError:
        """The error of a key that must be there."""
        return self.wrong(self._node, f"{self.what} has no {name}", fix=f"add a line '{name}: ...'")

    def node(self, name: str) -> yaml.Node | None:
        """What stands at ``name``; None where nothing does."""
        return self._values.get(name)

    def key(self, name: str) -> yaml.Node:
        """Where ``name`` itself stands; KeyError where it does not."""
        return self._keys[name]

    def required(self, name: str) -> yaml.Node:
        """What stands at ``name``."""
        found = self._values.get(name)
        if found is None:
            raise self.lacking(name)
        return found

    def value(self, name: str, kind: Any, default: Any = None, *, required: bool = False) -> Any:
        """What stands at ``name`` as a ``kind`` of setting: int, float | None, tuple[str, ...], Literal."""
        node = self.required(name) if required else self.node(name)
        if node is None:
            return default
        try:
            return from_text(self.texts_of(node, name), kind)
        except ValueError as error:
            raise self.wrong(node, f"{self.what}: {name} {error}") from error

    def check_form(self, name: str, version: int) -> None:
        """Refuse a file whose ``name`` says that it is of another form than ``version``."""
        found = self.value(name, str, required=True)
        if found != str(version):
            raise self.wrong(
                self.required(name),
                f"{self.what} is of form {found}; this version of lichen reads form {version}",
                fix=f"write '{name}: {version}' if it is of that form, or use the lichen it was written for",
            )

    def text(self, name: str) -> str:
        """The text at ``name``, which must be there; it can be written to a file again."""
        text = " ".join(str(self.value(name, str, required=True)).split())
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise self.wrong(self.required(name), f"{self.what}: {name} has half of a letter in it", fix="retype it")
        return text

    def lines(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty where there is none."""
        node = self.node(name)
        found = () if node is None else self.texts_of(node, name)
        return (found,) if isinstance(found, str) else tuple(found)

    def texts_of(self, node: yaml.Node, name: str) -> str | list[str]:
        """The text of a node, or the texts of a list."""
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
            return [str(item.value) for item in node.value]
        raise self.wrong(node, f"{self.what}: {name} must be one value, or a list of them")

    def items(self) -> tuple[tuple[str, yaml.Node], ...]:
        """(key, node) of each line, in the file's order."""
        return tuple(self._values.items())

    def below(self, name: str, what: str = "", known: Sequence[str] = ()) -> Fields | None:
        """The mapping at ``name``; None where there is none."""
        node = self.node(name)
        return None if node is None else Fields(node, self.path, what or f"{self.what}: {name}", known)
