"""From a search's YAML file to a ``Search``: every name is checked, and every value tried on the settings."""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

import yaml

from lichen.config import RunConfig
from lichen.errors import ConfigError, LichenError
from lichen.fields import Fields
from lichen.quality.estimates import LEAST_COMPARED
from lichen.searching.definition import Choices, Method, QualityName, Search, Span, TaskName
from lichen.searching.points import most_candidates, node_of
from lichen.searching.tasks import Settings, task_of
from lichen.settings import compose, fill, flatten

VERSION = 1
"""Of the form of the file."""
_SEARCH = (
    *("lichen_search", "title", "task", "base", "space", "seeds", "quality", "beta"),
    *("planned_images", "peak_memory_gb", "copy_rate"),
)
_SPAN = ("from", "to", "scale")
_QUALITY: MappingProxyType[TaskName, QualityName] = MappingProxyType(
    {"segmentation": "dice", "generation": "kernel_distance"}
)
MOST_CANDIDATES = 10_000
"""Of a search: each is at least one probe or training."""
NOT_VARIED = MappingProxyType(
    {
        "training.seed": "name seeds in the line 'seeds: [0, 1, 2]'",
        "sampling.seed": "name seeds in the line 'seeds: [0, 1, 2]'",
        "sampling.count": "say 'planned_images: 10000'; each candidate draws so many as 'base' says, to be judged",
        "images.path": "give --data DIR; candidates learn from the same images",
        "images.split_seed": "put it into 'base'; candidates have the same patients held out",
        "images.held_out_fraction": "put it into 'base'; candidates have the same patients held out",
    }
)
"""Settings in which candidates that are compared cannot differ, with what is to be done instead."""
_VIEWS = ("carbon", "budget", "labels")
"""Sections that change nothing in what a candidate is."""


def read_search(path: Path, method: Method = "grid") -> Search:
    """The search in the file at ``path``, to be done by ``method``.

    Raises:
        ConfigError: there is none, or it says something that is no search; with file and line.
    """
    if not path.is_file():
        raise ConfigError(f"there is no search in a file {path}", fix="name its YAML file; docs/how-to.md has one")
    root = compose(path)
    if root is None:
        raise ConfigError(f"{path} is empty", fix="write a search into it: see docs/how-to.md")
    fields = Fields(root, path, "the search", _SEARCH)
    fields.check_form("lichen_search", VERSION)
    task: TaskName = fields.value("task", TaskName, required=True)
    base = fields.node("base")
    start = task_of(task).default
    if base is not None:
        start = fill(start, base, path)
    if isinstance(start, RunConfig) and start.sampling.count < LEAST_COMPARED:
        raise fields.wrong(
            fields.required("base"),
            f"candidates draw {start.sampling.count} images each, and a kernel distance needs {LEAST_COMPARED}",
            fix=f"write 'sampling: {{count: {LEAST_COMPARED}}}' or more into 'base'",
        )
    search = Search(
        path=path,
        title=fields.text("title"),
        task=task,
        base=base,
        space=_space(fields, start, method),
        seeds=_seeds(fields),
        quality=_quality(fields, task),
        beta=_number(fields, "beta", 1.0, least=0.0),
        planned_images=_planned(fields, task),
        peak_memory_gb=_limit(fields, "peak_memory_gb"),
        copy_rate=_share(fields, "copy_rate", task),
    )
    _refuse_too_many(fields, search, method)
    return search


def _space(fields: Fields, start: Settings, method: Method) -> tuple[Choices | Span, ...]:
    node = fields.required("space")
    is_null = isinstance(node, yaml.ScalarNode) and node.value in {"", "~", "null"}
    space = None if is_null else Fields(node, fields.path, "the space")
    if space is None or not space.items():
        raise fields.wrong(node, "the space is empty", fix="add a setting, e.g. 'denoiser.channels: [...]'")
    return tuple(_dimension(space, name, node, start, method) for name, node in space.items())


def _dimension(space: Fields, name: str, node: yaml.Node, start: Settings, method: Method) -> Choices | Span:
    known = dict(flatten(start))
    key = space.key(name)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise space.wrong(key, f"there is no setting {name}", fix=f"did you mean {near}?")
    if name in NOT_VARIED:
        raise space.wrong(key, f"{name} cannot be varied", fix=NOT_VARIED[name])
    if name.partition(".")[0] in _VIEWS:
        raise space.wrong(key, f"{name} changes nothing in what is made", fix="leave it out; it is an option")
    if isinstance(node, yaml.MappingNode):
        return _span(space, name, node, start, method)
    if not isinstance(node, yaml.SequenceNode):
        raise space.wrong(node, f"{name} has one value", fix=f"give several, '{name}: [A, B]', or put it into 'base'")
    return _choices(space, name, node, start)


def _choices(space: Fields, name: str, node: yaml.SequenceNode, start: Settings) -> Choices:
    if not node.value:
        raise space.wrong(node, f"{name} has no values, so the space is empty", fix="give one or more")
    if len(node.value) > MOST_CANDIDATES:
        raise space.wrong(node, f"{name} has {len(node.value)} values; {MOST_CANDIDATES} are most", fix="give fewer")
    found: dict[str, yaml.Node] = {}
    made: set[Settings] = set()
    for item in node.value:
        texts = space.texts_of(item, name)
        called = texts if isinstance(texts, str) else "x".join(texts)
        config = _try(space, name, item, start)
        if called in found or config in made:
            raise space.wrong(item, f"{name} has {called} twice", fix="delete one of the two")
        found[called] = item
        made.add(config)
    return Choices(name, tuple(found.values()), tuple(found))


def _span(space: Fields, name: str, node: yaml.Node, start: Settings, method: Method) -> Span:
    if method == "grid":
        raise space.wrong(
            node, f"{name} is a span, and a grid needs values", fix=f"give '{name}: [A, B]', or --method random"
        )
    kind = _kind_of(start, name)
    if kind not in {int, float}:
        raise space.wrong(node, f"{name} is no number, so it has no span", fix=f"give '{name}: [A, B]'")
    below = Fields(node, space.path, f"the space: {name}", _SPAN)
    low, high = (_end(below, end) for end in ("from", "to"))
    scale = below.value("scale", str, "linear")
    if scale not in {"linear", "log"}:
        raise below.wrong(below.required("scale"), f"{name} has the scale {scale!r}", fix="write 'log' or 'linear'")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise below.wrong(node, f"{name} goes from {low:g} to {high:g}", fix="give two numbers, the smaller first")
    if scale == "log" and low <= 0:
        raise below.wrong(node, f"{name} starts at {low:g}, which has no logarithm", fix="start above 0")
    for end in ("from", "to"):
        _try(space, name, below.required(end), start)
    return Span(name, low, high, scale == "log", kind is int)


def _end(below: Fields, name: str) -> float:
    try:
        return float(below.value(name, float, required=True))
    except ConfigError as error:
        raise ConfigError(error.problem, fix="give a number") from error


def _try(space: Fields, name: str, value: yaml.Node, start: Settings) -> Settings:
    """The settings with this value."""
    try:
        return fill(start, node_of(name, value), space.path)
    except LichenError as error:
        said = error.problem.removeprefix(f"{space.path}: ")
        if said.startswith(f"{space.path}, line "):  # it names the line of the value itself
            raise
        raise space.wrong(value, said, fix=error.fix) from error


def _kind_of(start: Settings, name: str) -> Any:
    section, _, setting = name.partition(".")
    return get_type_hints(type(getattr(start, section)))[setting]


def _seeds(fields: Fields) -> tuple[int, ...]:
    seeds: tuple[int, ...] = fields.value("seeds", tuple[int, ...], (0,))
    if not seeds or len(set(seeds)) < len(seeds):
        raise fields.wrong(fields.required("seeds"), "the search needs seeds, each another", fix="e.g. 'seeds: [0, 1]'")
    return seeds


def _quality(fields: Fields, task: TaskName) -> QualityName:
    usual = _QUALITY[task]
    quality: QualityName = fields.value("quality", QualityName, usual)
    if quality != usual:
        raise fields.wrong(fields.required("quality"), f"a {task} has no {quality}", fix=f"write 'quality: {usual}'")
    return quality


def _number(fields: Fields, name: str, usual: float, *, least: float) -> float:
    value: float = fields.value(name, float, usual)
    if not least <= value < math.inf:
        raise fields.wrong(fields.required(name), f"{name} is {value:g}", fix=f"give a number of {least:g} or more")
    return value


def _limit(fields: Fields, name: str) -> float | None:
    value: float | None = fields.value(name, float | None)
    if value is not None and not 0 < value * 1e9 < math.inf:  # as bytes
        raise fields.wrong(fields.required(name), f"{name} is {value:g}", fix="give a number above 0, or leave it out")
    return value


def _share(fields: Fields, name: str, task: TaskName) -> float | None:
    value: float | None = fields.value(name, float | None)
    if value is not None and task == "segmentation":
        raise fields.wrong(fields.required(name), f"a segmentation makes no copies, so it has no {name}", fix="drop it")
    if value is not None and not 0 <= value <= 1:
        raise fields.wrong(fields.required(name), f"{name} is {value:g}", fix="give a share between 0 and 1")
    return value


def _planned(fields: Fields, task: TaskName) -> int:
    if task == "generation":
        planned: int = fields.value("planned_images", int, required=True)
    else:
        planned = fields.value("planned_images", int, 0)
    if task == "segmentation" and planned:
        raise fields.wrong(
            fields.required("planned_images"), "a segmentation makes no images", fix="leave planned_images out"
        )
    if task == "generation" and not 1 <= planned <= 10**12:
        raise fields.wrong(
            fields.required("planned_images"),
            f"planned_images is {planned}",
            fix="say how many synthetic images you will make, e.g. 10000",
        )
    return planned


def _refuse_too_many(fields: Fields, search: Search, method: Method) -> None:
    """Before they are made: a file of a few lines may ask for millions."""
    count = most_candidates(search)
    if method == "grid" and count > MOST_CANDIDATES:
        raise fields.wrong(
            fields.required("space"),
            f"the search asks for {count} candidates; it may have {MOST_CANDIDATES}",
            fix="give fewer values or seeds, or --method random --trials 20",
        )
