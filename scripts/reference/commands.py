"""Commands, their options and exit codes, from the code of the command line."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any, cast, get_type_hints

from lichen import options as of_commands
from lichen.commands import COMMANDS
from lichen.settings import field_docs

from .markdown import heading, option_name, paragraph, table, type_words, value_words
from .settings import markers, plain_type, sections

LIKE = {"train": "run"}
"""Commands that take the options of another."""

EXIT_CODES = {
    0: "The command did what was asked. After `run` and `audit`: the verdict is `clean`.",
    1: "`run` and `audit`: the verdict is `copies`. `release`: not released, because too many may be copies.",
    2: "Something that was given cannot be used. A message on stderr says what, and how to put it right.",
    3: "`run` and `audit`: the verdict is `inconclusive`. `release`: not released for that reason.",
    4: "A budget does not allow the work, or is spent. What was trained so far is saved.",
    70: "A defect of lichen; the traceback says where.",
    130: "Interrupted from the keyboard. The same command again goes on.",
    143: "`audit` and `release`: asked to stop (SIGTERM, SIGUSR1), so there is no verdict. The same command goes on.",
}


def commands() -> Iterator[str]:
    yield from heading("Commands", "Every option is also listed by `lichen COMMAND --help`.")
    for name in COMMANDS:
        yield from _command(name)


def exit_codes() -> Iterator[str]:
    yield from heading("Exit codes")
    yield from table(("code", "meaning"), [(str(code), words) for code, words in EXIT_CODES.items()])


def _command(name: str) -> Iterator[str]:
    like = LIKE.get(name, name)
    options: type = getattr(of_commands, f"{like.capitalize()}Options")
    # two commands share these options, so only the command itself says what it does
    about = COMMANDS[name] if options is of_commands.RunOptions else options
    yield from heading(f"lichen {name}", inspect.cleandoc(about.__doc__ or ""), level=3)
    if like != name:
        yield from paragraph(f"It takes the options of [lichen {like}](#lichen-{like}).")
        return
    yield from table(("option", "type", "default", "meaning"), _rows(options))
    if shared := [field.name for field in dataclasses.fields(options) if _is_section(options, field.name)]:
        listed = ", ".join(f"[`--{section}.*`](#{section})" for section in shared)
        yield from paragraph(f"And the settings {listed}.")


def _rows(options: type, prefix: str = "") -> Iterator[tuple[str, ...]]:
    """The options of a command that are its own, and not settings."""
    hints, docs = get_type_hints(options, include_extras=True), field_docs(options)
    for field in dataclasses.fields(options):
        hint = hints[field.name]
        kind, said = plain_type(hint), markers(hint)
        if _is_section(options, field.name):
            continue
        if dataclasses.is_dataclass(kind):
            called = next(filter(None, (getattr(marker, "name", None) for marker in said)), field.name)
            yield from _rows(cast("type", kind), f"{called}.")
            continue
        name = field.name.upper() if said else option_name(prefix + field.name)
        default = "required" if field.default is dataclasses.MISSING else value_words(field.default)
        yield f"`{name}`", type_words(kind), default, docs[field.name]


def _is_section(options: type, name: str) -> bool:
    """Whether a field of ``options`` is a section of a run's settings."""
    kind: Any = get_type_hints(options)[name]
    return sections().get(name) is kind
