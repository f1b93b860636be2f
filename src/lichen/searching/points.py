"""Points of a search's space: one value of each varied setting, by its name in the file; where points come from."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import yaml

from lichen.errors import ConfigError
from lichen.searching.definition import Choices, Search, Span
from lichen.selection import proposing
from lichen.selection.types import Setting
from lichen.settings import fill

Point = Mapping[str, str]
"""Setting -> value as text: of ``Choices`` one of its names, of a ``Span`` a number."""
C = TypeVar("C")

DIGITS = 4
"""Significant digits of a value from a span: candidates are named for their values."""
LONGEST_NAME = 200
"""Of a candidate, so that its files can be named for it: most file systems take 255 bytes."""
MOST_TRIES = 100
"""For each random point: where a space has fewer points than asked for, all of them are soon found."""


@dataclass(frozen=True)
class Place:
    """A point with a seed: what one candidate is."""

    name: str
    """Also that of its run folder."""
    point: Point
    seed: int

    @property
    def settings(self) -> dict[str, Setting]:
        """By setting: a number where it is one, words otherwise."""
        return {setting: _setting(text) for setting, text in self.point.items()}


def places_of(search: Search, points: Sequence[Point]) -> tuple[Place, ...]:
    """A place for each point and seed, seed by seed, so that every point has its first before one has its second.

    Raises:
        ConfigError: two of them would have one folder, or one's name is too long for a folder.
    """
    places = tuple(Place(_name(search, point, seed), point, seed) for seed in search.seeds for point in points)
    seen: set[str] = set()
    for place in places:
        if len(place.name) > LONGEST_NAME or place.name in seen:
            what = f"two candidates are called {place.name}" if place.name in seen else f"{place.name} is too long"
            raise ConfigError(f"{search.path}: {what}", fix="vary less, or put lists into files of their own")
        seen.add(place.name)
    return places


def applied(search: Search, point: Point, config: C) -> C:
    """``config`` with the values of ``point``.

    Raises:
        ConfigError: they do not go together.
    """
    for dimension in search.space:
        config = fill(config, node_of(dimension.setting, _node(dimension, point[dimension.setting])), search.path)
    return config


def node_of(setting: str, value: yaml.Node) -> yaml.MappingNode:
    """``section.name`` and its value, as they stand in a file of settings."""
    section, _, name = setting.partition(".")
    return _mapping(section, _mapping(name, value))


def most_candidates(search: Search) -> int:
    """How many a grid of its choices has, with all seeds."""
    return len(search.seeds) * math.prod(len(each.values) for each in search.space if isinstance(each, Choices))


def grid(search: Search) -> tuple[Point, ...]:
    """All combinations, the last setting fastest.

    Raises:
        ConfigError: a setting has a span.
    """
    return tuple(_point(search, found) for found in proposing.grid(_space(search)))


def at_random(search: Search, count: int, seed: int) -> tuple[Point, ...]:
    """``count`` points, each another; fewer where the space has no more. The first are the same for a larger count."""
    count = int(min(count, _most_points(search)))
    found: dict[tuple[str, ...], Point] = {}
    for number in range(count * MOST_TRIES):
        point = _point(search, proposing.at_random(_space(search), seed, number))
        found.setdefault(tuple(point.values()), point)
        if len(found) == count:
            break
    return tuple(found.values())


def _most_points(search: Search) -> float:
    """How many points a space can have; those of a span that is not of whole numbers are not counted."""
    return math.prod(
        len(each.values) if isinstance(each, Choices) else each.high - each.low + 1 if each.whole else math.inf
        for each in search.space
    )


def text_of(span: Span, value: float) -> str:
    """A value of a span as a candidate has it."""
    return str(round(value)) if span.whole else f"{value:.{DIGITS}g}"


def _space(search: Search) -> proposing.Space:
    return {
        each.setting: each.names
        if isinstance(each, Choices)
        else proposing.Between(each.low, each.high, each.logarithmic, each.whole)
        for each in search.space
    }


def _point(search: Search, values: Mapping[str, Setting]) -> Point:
    spans = {each.setting: each for each in search.space if isinstance(each, Span)}
    return {name: text_of(spans[name], float(value)) if name in spans else str(value) for name, value in values.items()}


def _node(dimension: Choices | Span, text: str) -> yaml.Node:
    if isinstance(dimension, Choices):
        return dimension.values[dimension.names.index(text)]
    return _scalar(text)


def _name(search: Search, point: Point, seed: int) -> str:
    return "-".join(
        [re.sub(r"[^A-Za-z0-9.+_-]", "_", part) for part in _parts(search, point)] + [f"seed-{seed}"],
    )


def _parts(search: Search, point: Point) -> Iterator[str]:
    """Name and value of each setting; the section only where two settings share a name."""
    short = [dimension.setting.partition(".")[2] for dimension in search.space]
    for dimension, name in zip(search.space, short, strict=True):
        yield f"{dimension.setting if short.count(name) > 1 else name}-{point[dimension.setting]}"


def _setting(text: str) -> Setting:
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _mapping(key: str, value: yaml.Node) -> yaml.MappingNode:
    return yaml.MappingNode("tag:yaml.org,2002:map", [(_scalar(key, value), value)], value.start_mark, value.end_mark)


def _scalar(text: str, beside: yaml.Node | None = None) -> yaml.ScalarNode:
    mark = yaml.Mark("", 0, 0, 0, None, 0) if beside is None else beside.start_mark
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, mark, mark)
