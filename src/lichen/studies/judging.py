"""From the outcomes of all cells to what a study found: points of plots, effects, and verdicts on statements."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from lichen import statistics
from lichen.statistics import Interval
from lichen.studies import effects
from lichen.studies.definition import (
    AgainstTable,
    Choice,
    Contrast,
    Levels,
    Mean,
    Plot,
    RankWith,
    Scale,
    Statement,
    Study,
    Table,
    TrendOver,
)
from lichen.studies.effects import Verdict
from lichen.studies.electricity import months_apart, places_apart
from lichen.studies.outcomes import Values, unit_of

Number = float | None


@dataclass(frozen=True)
class Found:
    """What came out of a cell."""

    table: str
    levels: Levels
    seed: int
    values: Values

    def fits(self, at: Choice) -> bool:
        """Whether its levels are among those of ``at``."""
        return all(self.levels[factor] in levels for factor, levels in at.items())


@dataclass(frozen=True)
class Finding:
    """What was measured for a statement."""

    statement: Statement
    interval: Interval
    verdict: Verdict
    note: str
    """What is beside it, e.g. the rank correlation of a trend; often empty."""


@dataclass(frozen=True)
class Point:
    """A point of a plot."""

    line: str
    at: str
    interval: Interval


def judge(statement: Statement, cells: Sequence[Found], tables: Mapping[str, Table]) -> Finding:
    """The effect that ``statement`` is about, and whether it is as the statement says."""
    chosen = [cell for cell in cells if cell.table == statement.table and cell.fits(statement.at)]
    measure, note = statement.measure, ""
    if isinstance(measure, Contrast):
        interval = _contrast(chosen, statement.outcome, measure)
        if measure.scale == "difference":
            least, most = _possible(unit_of(statement.outcome))
            interval = interval.within(least - most, most - least)
    elif isinstance(measure, Mean):
        usual = tables[statement.table].usual(statement.at)
        figures = [_mean(of_seed, statement.outcome, usual) for of_seed in _by_seed(chosen)]
        interval = statistics.mean(figures).within(*_possible(unit_of(statement.outcome)))
    elif isinstance(measure, AgainstTable):
        interval = _tables_apart(statement, measure.table, cells, tables)
    elif isinstance(measure, TrendOver):
        usual = tables[statement.table].usual({measure.factor, *statement.at})
        interval, note = _trend([cell for cell in chosen if cell.fits(usual)], statement.outcome, measure.factor)
    elif isinstance(measure, RankWith):
        interval = _rank(chosen, statement.outcome, measure)
    else:
        interval, note = places_apart() if measure.what == "places" else months_apart()
    claim = effects.Claim(above=statement.above, below=statement.below)
    return Finding(statement, interval, effects.verdict(interval, claim), note)


def _tables_apart(statement: Statement, other: str, cells: Sequence[Found], tables: Mapping[str, Table]) -> Interval:
    if other not in tables:
        return Interval(None, None, None, 0)
    sides = [
        [
            _mean([cell for cell in of_seed if cell.table == name], statement.outcome, tables[name].usual(()))
            for of_seed in _by_seed(cells)
        ]
        for name in (statement.table, other)
    ]
    return statistics.ratio(*sides)


def points(plot: Plot, cells: Sequence[Found], study: Study, tables: Mapping[str, Table]) -> tuple[Point, ...]:
    """The mean of the seeds at each level, line by line; what has no figure is left out."""
    found = []
    for table in (tables[name] for name in plot.tables if name in tables):
        named = {name for name in (plot.over, plot.lines) if name is not None}
        usual = table.usual({*named, *plot.at})
        chosen = [cell for cell in cells if cell.table == table.name and cell.fits(plot.at) and cell.fits(usual)]
        for outcome in plot.outcomes:
            for line in _levels(table, plot.lines):
                for at in _levels(table, plot.over):
                    cells_there = {**dict(at), **dict(line)}
                    figures = [_mean(of_seed, outcome, cells_there) for of_seed in _by_seed(chosen)]
                    interval = center(figures, study.outcome(outcome).unit)
                    if interval.estimate is not None:
                        words = study.outcome(outcome).words if len(plot.outcomes) > 1 else ""
                        name = table.words if len(plot.tables) > 1 and plot.over is not None else ""
                        names = (name, words, *(level for levels in line.values() for level in levels))
                        where = next(iter(at.values()), (table.words,))[0]
                        found.append(Point(", ".join(filter(None, names)), where, interval))
    return tuple(found)


def center(figures: Sequence[Number], unit: str) -> Interval:
    """The mean of the seeds; of joules and seconds, which differ by factors, the geometric one."""
    if unit in {"J", "s"} and all(figure is None or figure > 0 for figure in figures):
        return statistics.ratio(figures, [1.0] * len(figures))
    return statistics.mean(figures).within(*_possible(unit))


def _possible(unit: str) -> tuple[float, float]:
    """Where figures of this unit lie; Student's interval of three seeds may reach beyond."""
    return {"share": (0.0, 1.0), "correlation": (-1.0, 1.0)}.get(unit, (-math.inf, math.inf))


def _levels(table: Table, factor: str | None) -> list[Choice]:
    return [{}] if factor is None else [{factor: (level,)} for level in table.factor(factor).names]


def _trend(cells: Sequence[Found], outcome: str, factor: str) -> tuple[Interval, str]:
    levels = sorted({cell.levels[factor] for cell in cells}, key=float)
    figures = [[_mean(of_seed, outcome, {factor: (level,)}) for level in levels] for of_seed in _by_seed(cells)]
    trend = effects.trend([float(level) for level in levels], figures)
    if trend.rank_correlation is None or trend.p_value is None:
        return trend.per_doubling, ""
    return trend.per_doubling, f"rank correlation {trend.rank_correlation:.2f}, p {trend.p_value:.2g}"


def _contrast(cells: Sequence[Found], outcome: str, contrast: Contrast) -> Interval:
    """Pairs of cells that differ in the levels of the contrast only; their mean, seed by seed."""
    sides: tuple[list[Number], list[Number]] = ([], [])
    average = _averages(contrast.scale)
    for of_seed in _by_seed(cells):
        by_rest = [
            {
                _rest(cell, contrast): cell.values.get(outcome)
                for cell in of_seed
                if levels.items() <= cell.levels.items()
            }
            for levels in (contrast.of, contrast.against)
        ]
        pairs = [
            (one, other)
            for rest, one in by_rest[0].items()
            if one is not None and (other := by_rest[1].get(rest)) is not None
        ]
        for side, values in zip(sides, zip(*pairs, strict=True) if pairs else ((), ()), strict=True):
            side.append(average(values) if values else None)
    return (statistics.difference if contrast.scale == "difference" else statistics.ratio)(*sides)


def _averages(scale: Scale) -> Callable[[Sequence[float]], Number]:
    def geometric(values: Sequence[float]) -> Number:
        return math.exp(fmean(map(math.log, values))) if min(values) > 0 else None

    return fmean if scale == "difference" else geometric


def _rest(cell: Found, contrast: Contrast) -> tuple[str, ...]:
    return tuple(level for factor, level in cell.levels.items() if factor not in contrast.of)


def _rank(cells: Sequence[Found], outcome: str, measure: RankWith) -> Interval:
    """Over configurations, each the mean of its seeds."""
    by_levels: dict[tuple[str, ...], list[Found]] = {}
    for cell in cells:
        by_levels.setdefault(tuple(cell.levels.values()), []).append(cell)

    def figures(name: str) -> list[Number]:
        return [_mean(of_levels, name, {}) for of_levels in by_levels.values()]

    if measure.less is None:
        return statistics.rank_correlation(figures(outcome), figures(measure.other))
    return statistics.rank_difference(figures(outcome), figures(measure.other), figures(measure.less))


def _by_seed(cells: Sequence[Found]) -> list[list[Found]]:
    return [[cell for cell in cells if cell.seed == seed] for seed in sorted({cell.seed for cell in cells})]


def _mean(cells: Sequence[Found], outcome: str, at: Choice) -> Number:
    values = [value for cell in cells if cell.fits(at) and (value := cell.values.get(outcome)) is not None]
    return fmean(values) if values else None
