"""Settings, from the dataclasses that hold them, and what the presets make of them."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from lichen.config import RunConfig
from lichen.presets import PresetName, load_preset
from lichen.settings import field_docs, flatten

from .markdown import heading, option_name, paragraph, table, type_words, value_words


def settings() -> Iterator[str]:
    yield from heading(
        "Settings",
        "Each is an option of the command line and a key of a YAML file: `--images.held-out-fraction 0.5` is",
    )
    yield from paragraph("```yaml", "images:", "  held_out_fraction: 0.5", "```")
    yield from paragraph(
        "The command line replaces the YAML file, and the YAML file replaces the preset. The defaults below hold",
        "where none of them says anything.",
    )
    for name, section in sections().items():
        yield from heading(name, inspect.cleandoc(section.__doc__ or ""), level=3)
        hints, docs, default = get_type_hints(section, include_extras=True), field_docs(section), section()
        rows = [
            (
                f"`{setting.name}`",
                ", ".join(f"`{option}`" for option in _options(f"{name}.{setting.name}", hints[setting.name])),
                type_words(plain_type(hints[setting.name])),
                value_words(getattr(default, setting.name)),
                docs[setting.name],
            )
            for setting in dataclasses.fields(section)
        ]
        yield from table(("setting", "option", "type", "default", "meaning"), rows)


def presets() -> Iterator[str]:
    yield from heading(
        "Presets",
        "What `--preset` sets; the images decide whether 2D or 3D settings apply. An empty cell is the default.",
    )
    names = [(preset, dims) for preset in get_args(PresetName) for dims in (2, 3)]
    loaded = [dict(flatten(load_preset(preset, dims))) for preset, dims in names]
    rows = []
    for setting, default in flatten(RunConfig()):
        values = [preset[setting] for preset in loaded]
        if setting != "images.phantoms" and any(value != default for value in values):
            rows.append((f"`{setting}`", *("" if value == default else value_words(value) for value in values)))
    yield from table(("setting", *(f"{preset}, {dims}D" for preset, dims in names)), rows)


def sections() -> dict[str, type]:
    """The dataclass of each section of settings, by its name."""
    return get_type_hints(RunConfig)


def plain_type(hint: Any) -> Any:
    """A type without what is said about it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def markers(hint: Any) -> tuple[Any, ...]:
    """What is said about a type."""
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _options(name: str, hint: Any) -> tuple[str, ...]:
    """An option, and its shorter names."""
    shorter = (alias for marker in markers(hint) for alias in getattr(marker, "aliases", None) or ())
    return (option_name(name), *shorter)
