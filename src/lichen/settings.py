"""Settings in files: a YAML file is a list of settings and nothing else.

Scalars are read as the text that stands in the file and converted by the type of the setting. So the country code
``NO`` never becomes false and ``1e-4`` never stays a string, and no YAML tag can construct anything.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
import types
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import yaml

from lichen.errors import ConfigError, LichenError

T = TypeVar("T")

_NOTHING = {"", "~", "null", "none"}


def load_settings(path: Path, base: T) -> T:
    """Return ``base`` (a nested dataclass) with the settings of the YAML file at ``path`` in place of its own.

    Raises:
        ConfigError: the file cannot be read, names an unknown setting or one twice, or a value does not fit its type;
            the message names file, line and setting.
    """
    root = compose(path)
    return base if root is None else fill(base, root, path)


def compose(path: Path) -> yaml.Node | None:
    """The YAML file at ``path`` as nodes, their scalars still text; None where it is empty.

    Raises:
        ConfigError: there is no such file, or it is no YAML.
    """
    try:
        return yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist", fix="make one with: lichen init") from error
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path} is not a readable YAML file ({reason})", fix="see docs/how-to.md") from error


def fill(base: T, node: yaml.Node, path: Path, prefix: str = "") -> T:
    """``base`` with the settings of ``node``, a mapping in the file at ``path``; raises as ``load_settings`` does."""
    if not isinstance(node, yaml.MappingNode):
        raise located(path, node, f"{prefix.rstrip('.') or 'the file'} must be lines of the form 'name: value'")
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for key, value in node.value:
        name = name_of(key, path)
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1, cutoff=0.0)[0]
            raise located(path, key, f"there is no setting {prefix}{name}", fix=f"did you mean {prefix}{near}?")
        if name in changes:
            raise located(path, key, f"{prefix}{name} is set twice", fix="delete one of the two lines")
        if dataclasses.is_dataclass(hints[name]):
            changes[name] = fill(getattr(base, name), value, path, f"{prefix}{name}.")
        else:
            try:
                changes[name] = _convert(value, hints[name])
            except ValueError as error:
                raise located(path, value, f"{prefix}{name} {error}", fix=f"give {_wanted(hints[name])}") from error
    try:
        return cast("T", dataclasses.replace(cast("Any", base), **changes))
    except LichenError as error:
        raise ConfigError(f"{path}: {error.problem}", fix=error.fix) from error


def located(path: Path, node: yaml.Node, problem: str, fix: str = "see docs/reference.md") -> ConfigError:
    """An error that names the file and the line of ``node``."""
    return ConfigError(f"{path}, line {node.start_mark.line + 1}: {problem}", fix=fix)


def name_of(key: yaml.Node, path: Path) -> str:
    """The name that stands before a colon; raises ConfigError for a list or mapping there."""
    if not isinstance(key, yaml.ScalarNode):
        raise located(path, key, "a list or mapping stands in place of a name", fix="write 'name: value'")
    return str(key.value)


def _convert(node: yaml.Node, kind: Any) -> Any:
    """The value of a node as a ``kind``; ValueError says what is wrong, to be read after the setting's name."""
    if isinstance(node, yaml.SequenceNode):
        # never as text what is not: lists of anchors of lists are short in the file and endless in words
        if not all(isinstance(item, yaml.ScalarNode) for item in node.value):
            raise ValueError("is a list of lists or mappings, but its items are single values")
        return from_text([str(item.value) for item in node.value], kind)
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError("is a list of settings, but it is a single value")  # noqa: TRY004 (see docstring)
    return from_text(str(node.value), kind)


def from_text(text: str | list[str], kind: Any) -> Any:
    """Convert the text of a setting (a list of texts for a tuple) to the type ``kind``, or raise ValueError."""
    origin, options = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        if isinstance(text, str) and text.lower() in _NOTHING:
            return None
        (kind,) = [option for option in options if option is not type(None)]
        return from_text(text, kind)
    if origin is tuple:
        parts = text if isinstance(text, list) else text.replace(",", " ").split()
        return tuple(from_text(part, options[0]) for part in parts)
    if isinstance(text, list):
        raise ValueError("is a list, but it is a single value")  # noqa: TRY004 (one error for every misfit)
    if origin is Literal:
        if text not in options:
            raise ValueError(f"is {text!r}")
        return text
    if kind is bool:
        if text.lower() not in {"true", "false"}:
            raise ValueError(f"is {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"is {text!r}") from None


def _wanted(kind: Any) -> str:
    origin, options = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        return " or ".join("nothing" if option is type(None) else _wanted(option) for option in options)
    if origin is tuple:
        return f"a list, each {_wanted(options[0])}"
    if origin is Literal:
        return "one of " + ", ".join(options)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", Path: "a path"}
    return words.get(kind, str(kind))


def from_plain(cls: type[T], plain: Any) -> T:
    """Rebuild a dataclass of type ``cls`` from what ``dataclasses.asdict`` and JSON made of it.

    Raises:
        ValueError, TypeError, KeyError: ``plain`` does not fit.
    """
    if not isinstance(plain, dict):
        raise TypeError(f"{cls.__name__} must be a mapping")
    hints = get_type_hints(cls)
    if unknown := plain.keys() - hints.keys():
        raise ValueError(f"unknown field {min(unknown)}")
    return cls(**{name: _plain_value(value, hints[name]) for name, value in plain.items()})


def _plain_value(value: Any, kind: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        return from_plain(cast("type[Any]", kind), value)
    if get_origin(kind) in {Union, types.UnionType}:
        (kind,) = [option for option in get_args(kind) if option is not type(None)]
        return None if value is None else _plain_value(value, kind)
    if get_origin(kind) is tuple:
        return tuple(_plain_value(item, get_args(kind)[0]) for item in value)
    if kind in {int, float, bool, str} and not isinstance(value, kind) and not (kind is float and type(value) is int):
        raise TypeError(f"{value!r} is not {_wanted(kind)}")
    if get_origin(kind) is Literal and value not in get_args(kind):
        raise ValueError(f"{value!r} is not {_wanted(kind)}")
    return value


def dump_settings(config: Any, *, comments: bool = False) -> str:
    """A nested dataclass of settings as YAML text that ``load_settings`` reads back to the same settings."""
    lines = []
    for section in dataclasses.fields(config):
        part = getattr(config, section.name)
        docs = field_docs(type(part)) if comments else {}
        if comments:
            lines += ["", f"# {_first_line(type(part))}"]
        lines.append(f"{section.name}:")
        for setting in dataclasses.fields(part):
            if comments:
                lines += [f"  # {line}" for line in textwrap.wrap(docs[setting.name], 110)]
            lines.append(f"  {setting.name}: {_scalar(getattr(part, setting.name))}")
    return "\n".join(lines).strip() + "\n"


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_scalar(item) for item in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    return yaml.dump(str(value), default_style='"', allow_unicode=True, width=10**9).strip()


def flatten(config: Any) -> Iterator[tuple[str, Any]]:
    """("section.setting", value) of a nested dataclass, in order."""
    for section in dataclasses.fields(config):
        part = getattr(config, section.name)
        for setting in dataclasses.fields(part):
            yield f"{section.name}.{setting.name}", getattr(part, setting.name)


def field_docs(cls: type) -> dict[str, str]:
    """The line of reason under each field of a dataclass, by the field's name."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = cast("ast.ClassDef", tree).body
    docs = {}
    for line, following in pairwise(body):
        if isinstance(line, ast.AnnAssign) and isinstance(following, ast.Expr):
            docs[ast.unparse(line.target)] = " ".join(str(ast.literal_eval(following.value)).split())
    return docs


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().splitlines()[0]
