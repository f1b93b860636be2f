"""What a study is: tables of settings, what is measured of each run, and what papers say about it.

Study
├── Table      base settings, factors with levels, arms, seeds; one run folder for each of its cells
├── Outcome    a figure of each run
├── Plot       an outcome over the levels of a factor
└── Statement  a paper's words, what is measured to judge them, and when they are right
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from lichen.config import RunConfig
from lichen.settings import fill

Kind = Literal["runs", "forecast"]
"""'runs': each cell is trained, sampled and audited; 'forecast': each is probed, and nothing is trained."""
Size = Literal["small", "full"]
"""'small': for two CPU cores, a few hours at most; 'full': for a GPU."""
Scale = Literal["difference", "ratio"]
Levels = Mapping[str, str]
"""Factor -> level."""
Choice = Mapping[str, tuple[str, ...]]
"""Factor -> levels that are meant; a factor that is not there: all of them."""


@dataclass(frozen=True)
class Overrides:
    """Settings in a study's file, still as text, to put in place of others."""

    path: Path
    node: yaml.Node | None

    def on(self, config: RunConfig) -> RunConfig:
        """``config`` with these settings; raises ConfigError, with file and line, for one that is none."""
        return config if self.node is None else fill(config, self.node, self.path)


@dataclass(frozen=True)
class Level:
    """One value of a factor: the settings that make it."""

    name: str
    settings: Overrides
    processes: int | None = None
    """How many processes work on the run; None: as the other levels of the cell say, or one."""


@dataclass(frozen=True)
class Factor:
    """Something that is varied."""

    name: str
    words: str
    levels: tuple[Level, ...]
    """In the order in which they are shown."""
    usual: str
    """The level of an arm that does not name this factor; the first, if the file names none."""

    def __getitem__(self, name: str) -> Level:
        """The level called ``name``; KeyError if there is none."""
        return next((level for level in self.levels if level.name == name), None) or _nothing(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its levels, in order."""
        return tuple(level.name for level in self.levels)


def _nothing(name: str) -> Level:
    raise KeyError(name)


@dataclass(frozen=True)
class Table:
    """Cells that differ in the levels of factors and in the seed, and in nothing else."""

    name: str
    words: str
    data: str | None
    """Which of the study's images it learns from; None: phantoms."""
    base: Overrides
    factors: tuple[Factor, ...]
    arms: tuple[Choice, ...]
    """Which combinations: all those of each choice, with the usual level of a factor that it does not name."""
    seeds: tuple[int, ...]

    def usual(self, but: Collection[str]) -> Choice:
        """The usual level of each factor, ``but`` for these."""
        return {factor.name: (factor.usual,) for factor in self.factors if factor.name not in but}

    def factor(self, name: str) -> Factor:
        """The factor called ``name``; KeyError if there is none."""
        return {factor.name: factor for factor in self.factors}[name]


@dataclass(frozen=True)
class Outcome:
    """A figure of each run."""

    name: str
    words: str
    unit: str


@dataclass(frozen=True)
class Plot:
    """Outcomes over the levels of a factor, the mean of the seeds with its interval.

    There is a line for each table, outcome and level of ``lines``; factors named nowhere have their usual level.
    """

    name: str
    title: str
    tables: tuple[str, ...]
    outcomes: tuple[str, ...]
    over: str | None
    """None: over the tables."""
    lines: str | None
    at: Choice
    """Only cells with these levels."""


@dataclass(frozen=True)
class Mean:
    """The outcome itself, at the usual levels of what is not named."""


@dataclass(frozen=True)
class Contrast:
    """Cells with the levels ``of`` beside those with the levels ``against``, all else being equal."""

    of: Levels
    against: Levels
    scale: Scale


@dataclass(frozen=True)
class AgainstTable:
    """This table's usual cells beside those of another, as a ratio."""

    table: str


@dataclass(frozen=True)
class TrendOver:
    """The change of an outcome for each doubling of the level of a factor."""

    factor: str


@dataclass(frozen=True)
class RankWith:
    """How well another outcome ranks the configurations as this one does (Spearman)."""

    other: str
    less: str | None
    """Less how well this one does; None: as it is."""


@dataclass(frozen=True)
class Electricity:
    """What place and season change, by the packaged figures of electricity alone: the same for any run.

    'places': grams in the dirtiest country / those in the cleanest; 'months': the largest share that the best month
    saves of the worst, in any country.
    """

    what: Literal["places", "months"]


Measure = Mean | Contrast | AgainstTable | TrendOver | RankWith | Electricity


@dataclass(frozen=True)
class Statement:
    """What a paper says, and how it is judged."""

    name: str
    words: str
    """The paper's, or its claim in short."""
    source: str
    asks: str
    """What is measured here to judge it."""
    table: str
    outcome: str
    """Both empty for one about electricity."""
    measure: Measure
    at: Choice
    above: float | None
    """It is right where what is measured lies above this value, and below that."""
    below: float | None


@dataclass(frozen=True)
class Study:
    """A question, the tables that answer it, and what papers say."""

    name: str
    title: str
    kind: Kind
    papers: tuple[str, ...]
    not_tested: tuple[str, ...]
    data: Mapping[str, str]
    """Name -> what images are wanted, in words."""
    tables: Mapping[Size, tuple[Table, ...]]
    outcomes: tuple[Outcome, ...]
    plots: tuple[Plot, ...]
    statements: tuple[Statement, ...]
    path: Path

    def outcome(self, name: str) -> Outcome:
        """The outcome called ``name``; KeyError if there is none."""
        return {outcome.name: outcome for outcome in self.outcomes}[name]
