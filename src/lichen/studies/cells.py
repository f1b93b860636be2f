"""The cells of a study's tables: each one run, with all its settings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

from lichen.audit import find_score
from lichen.config import RunConfig
from lichen.errors import ConfigError, LichenError
from lichen.kinds import check_kind
from lichen.plans import plan_of
from lichen.studies.definition import Levels, Size, Study, Table

MOST_CELLS = 10_000
"""Runs of a study; the largest of ours has a hundredth of that."""
LONGEST_NAME = 200
"""Of a cell, so that its files can be named for it: most file systems take 255 bytes."""


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    table: str
    levels: Levels
    seed: int
    config: RunConfig
    processes: int
    """How many work on it together."""

    @property
    def name(self) -> str:
        """Also that of its folder: table, levels in the order of the factors, seed."""
        return "-".join((self.table, *self.levels.values(), f"seed{self.seed}"))

    @property
    def plan(self) -> RunConfig:
        """Its settings without those that change nothing in how long it takes: runs of one plan cost the same."""
        config = plan_of(self.config)
        return replace(config, images=replace(config.images, patients=None))


def cells_of(study: Study, size: Size, data: Mapping[str, Path], start: RunConfig) -> tuple[Cell, ...]:
    """All cells whose images are given, seed by seed, so that every arm has its first run before one has its second.

    ``data``: name -> folder of images; ``start``: what the tables' settings are put in place of.

    Raises:
        ConfigError: the study has no such size, no images are given, or some of another name; or settings of a cell
            do not go together.
    """
    if size not in study.tables:
        raise ConfigError(f"{study.path} has no size {size}", fix=f"give --size {next(iter(study.tables))}")
    unknown = [name for name in data if name not in study.data]
    if unknown:
        wanted = ", ".join(study.data) or "none: it is about phantoms"
        raise ConfigError(f"the study wants no images called {unknown[0]!r}", fix=f"those that it wants: {wanted}")
    tables = [table for table in study.tables[size] if table.data is None or table.data in data]
    if not tables:
        name, words = next(iter(study.data.items()))
        raise ConfigError(f"the study needs images: {words}", fix=f"add --data {name}=FOLDER")
    _refuse_too_many(study, tables)
    by_table = [list(_cells(table, data, start)) for table in tables]
    cells = tuple(sorted((cell for cells in by_table for cell in cells), key=_round))
    _refuse_names(study, cells)
    return cells


def check_settings(study: Study, cells: Sequence[Cell]) -> None:
    """Raise ConfigError for the first cell whose settings do not go together, by its name, before any is probed."""
    for cell in cells:
        try:
            check_kind(cell.config)
            for score in cell.config.audit.scores:
                find_score(score)
        except LichenError as error:
            raise ConfigError(
                f"{study.path}: cell {cell.name}: {error.problem}",
                fix="change base, arm or level of that cell; what only one kind of model knows belongs in the levels "
                "of that kind, and not in the base",
            ) from error


def _refuse_too_many(study: Study, tables: Sequence[Table]) -> None:
    """Before they are made: a file of a few lines may ask for millions."""
    count = sum(
        len(table.seeds) * math.prod(len(choice.get(factor.name, "1")) for factor in table.factors)
        for table in tables
        for choice in table.arms
    )
    if count > MOST_CELLS:
        raise ConfigError(
            f"{study.path} asks for {count} runs; a study has {MOST_CELLS} at most",
            fix="name the combinations that matter as arms, or give fewer levels or seeds",
        )


def _refuse_names(study: Study, cells: Sequence[Cell]) -> None:
    """Names that a folder cannot have, or that two cells share: one would be taken for the other."""
    seen: set[str] = set()
    for cell in cells:
        if len(cell.name) > LONGEST_NAME or cell.name in seen:
            raise ConfigError(
                f"{study.path}: "
                + (f"two cells are called {cell.name}" if cell.name in seen else f"the name {cell.name} is too long"),
                fix="rename tables or levels",
            )
        seen.add(cell.name)


def _round(cell: Cell) -> int:
    return cell.seed


def arms_of(table: Table) -> tuple[Levels, ...]:
    """The combinations of levels that are run, each once."""
    found: dict[tuple[str, ...], Levels] = {}
    for choice in table.arms:
        chosen = [choice.get(factor.name, (factor.usual,)) for factor in table.factors]
        for names in product(*chosen):
            found.setdefault(names, dict(zip((factor.name for factor in table.factors), names, strict=True)))
    return tuple(found.values())


def _cells(table: Table, data: Mapping[str, Path], start: RunConfig) -> Iterator[Cell]:
    base = table.base.on(start)
    if table.data is not None:
        base = replace(base, images=replace(base.images, path=data[table.data].absolute()))
    for levels in arms_of(table):
        config, processes = base, 1
        for factor in table.factors:
            level = factor[levels[factor.name]]
            config, processes = level.settings.on(config), level.processes or processes
        for seed in table.seeds:
            yield Cell(table.name, levels, seed, _seeded(config, seed), processes)


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    """With weights, batches, samples and patients by ``seed``: arms of one seed have the same patients."""
    return replace(
        config,
        images=replace(config.images, split_seed=seed),
        training=replace(config.training, seed=seed),
        sampling=replace(config.sampling, seed=seed),
    )
