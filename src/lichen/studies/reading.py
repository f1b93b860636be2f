"""From a study's YAML file to a ``Study``: settings and nothing else, every name checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from lichen.config import RunConfig
from lichen.errors import ConfigError
from lichen.fields import Fields
from lichen.settings import compose
from lichen.studies.definition import (
    AgainstTable,
    Choice,
    Contrast,
    Electricity,
    Factor,
    Kind,
    Level,
    Mean,
    Measure,
    Outcome,
    Overrides,
    Plot,
    RankWith,
    Scale,
    Size,
    Statement,
    Study,
    Table,
    TrendOver,
)
from lichen.studies.outcomes import known_outcomes

VERSION = 1
"""Of the form of the file."""
_STUDY = ("lichen_study", "title", "kind", "papers", "not_tested", "data", "sizes", "outcomes", "plots", "statements")
_TABLE = ("words", "data", "base", "factors", "arms", "seeds")
_PLOT = ("title", "tables", "outcomes", "over", "lines", "at")
_MEASURES = ("contrast", "against_table", "trend", "rank_with", "electricity")
_STATEMENT = ("words", "source", "asks", "table", "outcome", *_MEASURES, "at", "above", "below")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""Of tables, factors and levels: they become part of folders' names."""


def packaged() -> tuple[str, ...]:
    """The names of the studies that come with lichen."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.yaml")))


def load_study(name: str) -> Study:
    """The packaged study called ``name``, or the one in the file ``name``.

    Raises:
        ConfigError: there is none, or the file says something that is no study; with file and line.
    """
    if name in packaged():
        return read_study(Path(__file__).with_name(f"{name}.yaml"))
    if not name.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"there is no study {name!r}", fix=f"give one of {', '.join(packaged())}, or the path of a YAML file"
        )
    return read_study(Path(name))


def read_study(path: Path) -> Study:
    """The study in the file at ``path``; raises as ``load_study`` does."""
    root = compose(path)
    if root is None:
        raise ConfigError(f"{path} is empty", fix=f"give one of {', '.join(packaged())}, or write a study into it")
    fields = Fields(root, path, "the study", _STUDY)
    fields.check_form("lichen_study", VERSION)
    data = fields.below("data")
    known = {} if data is None else {name: data.text(name) for name, _ in data.items()}
    kind: Kind = fields.value("kind", Kind, required=True)
    study = Study(
        name=path.stem,
        title=fields.text("title"),
        kind=kind,
        papers=fields.lines("papers"),
        not_tested=fields.lines("not_tested"),
        data=known,
        tables=_sizes(fields, known),
        outcomes=tuple(_outcomes(fields, kind)),
        plots=(),
        statements=(),
        path=path,
    )
    plots = tuple(_plot(name, node, fields, study) for name, node in _entries(fields, "plots"))
    statements = tuple(_statement(name, node, fields, study) for name, node in _entries(fields, "statements"))
    return Study(**{**vars(study), "plots": plots, "statements": statements})


def _entries(fields: Fields, name: str) -> tuple[tuple[str, yaml.Node], ...]:
    below = fields.below(name)
    return () if below is None else below.items()


def _sizes(fields: Fields, data: Mapping[str, str]) -> Mapping[Size, tuple[Table, ...]]:
    sizes = Fields(fields.required("sizes"), fields.path, "sizes", get_args(Size))
    found = {}
    if not sizes.items():
        raise fields.wrong(fields.required("sizes"), "the study has no size", fix="add tables below 'sizes: small:'")
    for size, node in sizes.items():
        tables = Fields(node, fields.path, f"the size {size}")
        if not tables.items():
            raise fields.wrong(node, f"the size {size} has no tables")
        found[size] = tuple(_table(_checked(tables, name), below, fields, data) for name, below in tables.items())
    return found  # type: ignore[return-value]  # its keys were checked


def _checked(fields: Fields, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise fields.wrong(
            fields.required(name), f"{name!r} cannot be part of a folder's name", fix="use a-z, 0-9, '.' and '-'"
        )
    return name


def _table(name: str, node: yaml.Node, study: Fields, data: Mapping[str, str]) -> Table:
    fields = Fields(node, study.path, f"the table {name}", _TABLE)
    images = fields.value("data", str)
    if images is not None and images not in data:
        raise fields.wrong(fields.required("data"), f"the table {name} wants images {images!r}, which data lacks")
    base = Overrides(study.path, fields.node("base"))
    base.on(RunConfig())
    below = fields.below("factors")
    factors = () if below is None else tuple(_factor(_checked(below, key), at, below) for key, at in below.items())
    seeds = fields.value("seeds", tuple[int, ...], required=True)
    if not seeds or len(set(seeds)) < len(seeds):
        raise fields.wrong(fields.required("seeds"), f"the table {name} needs seeds, each another")
    table = Table(name, fields.text("words"), images, base, factors, (), seeds)
    arms = tuple(_arms(fields, table)) or ({factor.name: factor.names for factor in factors},)
    return Table(**{**vars(table), "arms": arms})


def _factor(name: str, node: yaml.Node, table: Fields) -> Factor:
    fields = Fields(node, table.path, f"the factor {name}", ("words", "levels", "usual"))
    below = Fields(fields.required("levels"), table.path, f"the factor {name}")
    levels = tuple(_level(_checked(below, key), at, fields) for key, at in below.items())
    if not levels:
        raise fields.wrong(node, f"the factor {name} has no levels")
    usual = fields.value("usual", str, levels[0].name)
    if usual not in [level.name for level in levels]:
        raise fields.wrong(fields.required("usual"), f"the factor {name} has no level {usual}")
    return Factor(name, fields.text("words"), levels, usual)


def _level(name: str, node: yaml.Node, factor: Fields) -> Level:
    """A level's settings, with ``processes`` taken out of them, which is no setting of a run."""
    fields = Fields(node, factor.path, f"the level {name}")
    processes = fields.value("processes", int)
    if processes is not None and processes < 1:
        raise fields.wrong(fields.required("processes"), f"the level {name} has {processes} processes; give 1 or more")
    kept = [(key, value) for key, value in node.value if str(key.value) != "processes"]
    settings = Overrides(factor.path, yaml.MappingNode(node.tag, kept, node.start_mark, node.end_mark))
    settings.on(RunConfig())
    return Level(name, settings, processes)


def _arms(fields: Fields, table: Table) -> list[Choice]:
    node = fields.node("arms")
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode):
        raise fields.wrong(node, f"the table {table.name}: arms must be a list")
    return [_choice(item, fields, (table,)) for item in node.value]


def _choice(node: yaml.Node, fields: Fields, tables: tuple[Table, ...]) -> Choice:
    """Factor -> levels, each of which all of ``tables`` have."""
    below = Fields(node, fields.path, fields.what)
    found: dict[str, tuple[str, ...]] = {}
    for name, at in below.items():
        levels = below.texts_of(at, name)
        found[name] = (levels,) if isinstance(levels, str) else tuple(levels)
        if not found[name]:
            raise below.wrong(at, f"{below.what} names no level of {name}")
        for table in tables:
            _check_factor(below, at, table, name)
            wrong = [level for level in found[name] if level not in table.factor(name).names]
            if wrong:
                there = ", ".join(table.factor(name).names)
                raise below.wrong(at, f"the factor {name} has no level {wrong[0]}", fix=f"give one of {there}")
    return found


def _check_factor(fields: Fields, node: yaml.Node, table: Table, name: str) -> None:
    names = [factor.name for factor in table.factors]
    if name not in names:
        raise fields.wrong(node, f"the table {table.name} has no factor {name}", fix=f"give one of {', '.join(names)}")


def _outcomes(fields: Fields, kind: Kind) -> list[Outcome]:
    known = known_outcomes(kind)
    below = Fields(fields.required("outcomes"), fields.path, "outcomes", tuple(known))
    return [Outcome(name, below.text(name), known[name]) for name, _ in below.items()]


def _tables(fields: Fields, node: yaml.Node, study: Study, name: str) -> tuple[Table, ...]:
    """The table called ``name``, as it is at every size."""
    tables = tuple(table for tables in study.tables.values() for table in tables if table.name == name)
    if len(tables) < len(study.tables):
        raise fields.wrong(node, f"there is no table {name} at every size")
    return tables


def _at(fields: Fields, tables: tuple[Table, ...]) -> Choice:
    """The cells that are meant; none named: all."""
    node = fields.node("at")
    return {} if node is None else _choice(node, fields, tables)


def _an_outcome(fields: Fields, key: str, study: Study) -> str:
    name = fields.text(key)
    _check_outcome(fields, fields.required(key), name, study)
    return name


def _check_outcome(fields: Fields, node: yaml.Node, name: str, study: Study) -> None:
    names = [outcome.name for outcome in study.outcomes]
    if name not in names:
        raise fields.wrong(node, f"there is no outcome {name}", fix=f"give one of {', '.join(names)}")


def _plot(name: str, node: yaml.Node, study_fields: Fields, study: Study) -> Plot:
    fields = Fields(node, study_fields.path, f"the plot {name}", _PLOT)
    names, outcomes = fields.lines("tables"), fields.lines("outcomes")
    tables = tuple(table for each in names for table in _tables(fields, fields.required("tables"), study, each))
    for outcome in outcomes:
        _check_outcome(fields, fields.required("outcomes"), outcome, study)
    for key in ("over", "lines"):
        for table in tables if fields.node(key) is not None else ():
            _check_factor(fields, fields.required(key), table, fields.text(key))
    if not names or not outcomes:
        raise fields.wrong(node, f"the plot {name} needs tables and outcomes")
    if len({study.outcome(outcome).unit for outcome in outcomes}) > 1:
        raise fields.wrong(
            fields.required("outcomes"), f"the outcomes of the plot {name} have different units", fix="make two plots"
        )
    return Plot(
        name=name,
        title=fields.text("title"),
        tables=names,
        outcomes=outcomes,
        over=fields.value("over", str),
        lines=fields.value("lines", str),
        at=_at(fields, tables),
    )


def _statement(name: str, node: yaml.Node, study_fields: Fields, study: Study) -> Statement:
    fields = Fields(node, study_fields.path, f"the statement {name}", _STATEMENT)
    if sum(fields.node(measure) is not None for measure in _MEASURES) > 1:
        raise fields.wrong(node, f"the statement {name} takes one of {', '.join(_MEASURES)}, or none of them")
    above, below = (fields.value(end, float | None) for end in ("above", "below"))
    if above is None and below is None:
        raise fields.wrong(node, f"the statement {name} does not say when it is right", fix="add 'above: 0'")
    electricity: Any = fields.value("electricity", Literal["places", "months"])
    tables: tuple[Table, ...] = ()
    outcome = ""
    if electricity is None:
        tables = _tables(fields, fields.required("table"), study, fields.text("table"))
        outcome = _an_outcome(fields, "outcome", study)
    return Statement(
        name=name,
        words=fields.text("words"),
        source=fields.text("source"),
        asks=fields.text("asks"),
        table=tables[0].name if tables else "",
        outcome=outcome,
        measure=_measure(fields, study, tables) if electricity is None else Electricity(electricity),
        at=_at(fields, tables),
        above=above,
        below=below,
    )


def _measure(fields: Fields, study: Study, tables: tuple[Table, ...]) -> Measure:
    contrast = fields.below("contrast", known=("of", "against", "scale"))
    if contrast is not None:
        sides: list[Any] = [_choice(contrast.required(side), contrast, tables) for side in ("of", "against")]
        if any(len(levels) != 1 for side in sides for levels in side.values()):
            raise contrast.wrong(contrast.required("of"), f"{contrast.what} takes one level of each factor")
        of, against = ({factor: levels[0] for factor, levels in side.items()} for side in sides)
        return Contrast(of, against, contrast.value("scale", Scale, "difference"))
    rank = fields.below("rank_with", known=("other", "less"))
    if rank is not None:
        less = None if rank.node("less") is None else _an_outcome(rank, "less", study)
        return RankWith(_an_outcome(rank, "other", study), less)
    if fields.node("against_table") is not None:
        return AgainstTable(
            _tables(fields, fields.required("against_table"), study, fields.text("against_table"))[0].name
        )
    if fields.node("trend") is None:
        return Mean()
    factor = fields.text("trend")
    for table in tables:
        _check_factor(fields, fields.required("trend"), table, factor)
        if not all(re.fullmatch(r"\d+(\.\d+)?", level) and float(level) > 0 for level in table.factor(factor).names):
            raise fields.wrong(fields.required("trend"), f"the levels of {factor} are no numbers, so there is no trend")
    return TrendOver(factor)
