"""A study's results in words and charts, the same for its page and its Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lichen.carbon import energy_range_text, energy_text, grams_range_text, grams_text, place_text
from lichen.plurals import plural
from lichen.report.formats import JOULES, WATT_HOURS, Span, Unit, duration, figure, unit_for
from lichen.report.levels import Series, levels_chart
from lichen.report.standalone import Picture, charts_file
from lichen.statistics import Interval
from lichen.studies.definition import AgainstTable, Contrast, Electricity, Mean, Outcome, Plot, TrendOver
from lichen.studies.judging import Finding, Found, center
from lichen.studies.places import elsewhere
from lichen.studies.results import Results

SECONDS = (Unit("s", 1.0), Unit("min", 60.0), Unit("h", 3600.0), Unit("d", 86_400.0))
BYTES = (Unit("MB", 1e6), Unit("GB", 1e9))
FLOP = (Unit("GFLOP", 1e9), Unit("TFLOP", 1e12), Unit("PFLOP", 1e15), Unit("EFLOP", 1e18))
UNITS = {"J": (JOULES[0], *WATT_HOURS), "s": SECONDS, "B": BYTES, "FLOP": FLOP}
"""By base unit, ascending; a figure of another unit is shown as it is."""
TONES = {"supports": "good", "contradicts": "bad", "undecided": "unsure"}


@dataclass(frozen=True)
class Judged:
    """A statement with its verdict, in words."""

    words: str
    source: str
    asks: str
    effect: str
    ends: str
    verdict: str
    tone: str


@dataclass(frozen=True)
class Arms:
    """The outcomes of one table: a row for each combination of levels."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class View:
    """All that a page shows."""

    title: str
    subtitle: str
    summary: str
    pictures: tuple[Picture, ...]
    judged: tuple[Judged, ...]
    arms: tuple[Arms, ...]
    papers: tuple[str, ...]
    notes: tuple[str, ...]
    not_tested: tuple[str, ...]
    failed: tuple[str, ...]
    attribution: str


def view_of(results: Results) -> View:
    """What a reader is shown of ``results``."""
    study = results.study
    seeds = sorted({row.cell.seed for row in results.rows})
    verdicts = [str(finding.verdict) for finding in results.findings]
    counts = ", ".join(f"{verdicts.count(word)} {words}" for word, words in _COUNTED)
    done = f"{results.finished} of {plural(len(results.rows), 'cell')} finished"
    repeats = (
        plural(len(seeds), "seed") if study.kind == "runs" else f"{plural(len(seeds), 'repetition')} of each probe"
    )
    pictures = [_picture(plot, results) for plot in study.plots]
    places = elsewhere(results) if study.kind == "forecast" else ()
    return View(
        title=study.title,
        subtitle=f"Size {results.size}: {done}, {repeats}",
        summary=f"Of {plural(len(verdicts), 'statement')} of papers: {counts}." if verdicts else "",
        pictures=(*(picture for picture in pictures if picture is not None), *(Picture(*each) for each in places)),
        judged=tuple(_judged(finding, results) for finding in results.findings),
        arms=tuple(_arms(table.name, table.words, results) for table in results.tables),
        papers=study.papers,
        notes=tuple(_notes(results)),
        not_tested=(*study.not_tested, *results.left_out),
        failed=tuple(row.cell.name for row in results.rows if row.state != "finished"),
        attribution=results.place.attribution,
    )


_COUNTED = (("supports", "supported"), ("contradicts", "contradicted"), ("undecided", "undecided"))


def _notes(results: Results) -> list[str]:
    """What the figures rest on."""
    place = results.place
    where = ", place unknown" if place.zone is None else f" {place_text(place.zone_name, place.month, place.year)}"
    notes = []
    spent, expected = results.spent, results.expected
    if spent.bounds_j() is not None:
        grams = results.grams(spent)
        assert grams is not None
        cost = grams_range_text(grams) if grams.estimate is None else grams_text(grams)
        span = energy_range_text(spent.low_j, spent.energy_j, spent.high_j)
        notes.append(f"All runs together used {energy_text(spent.energy_j)} ({span}): {cost} CO2e{where}.")
    if expected is not None:
        energy = f", {energy_text(expected.energy.energy_j)}" if expected.energy.energy_j else ""
        time_s = expected.duration_s
        ends = f"{duration(time_s.low)} to {duration(time_s.high)}"
        notes.append(
            f"Expected before the start: {duration(time_s.estimate)} ({ends}){energy}, without reading, audit and "
            "quality."
        )
    if results.study.kind == "runs":
        notes.append(
            "Intervals are Student's 95 % over seeds, paired where levels are compared: they tell the spread between "
            "trainings on these patients, and nothing of other hospitals."
        )
    else:
        notes.append(
            "Nothing was trained: joules and seconds are forecast from probes of the real steps on this machine. "
            "Intervals are 95 % over repetitions of the probe; rank correlations are over configurations."
        )
        notes.append(
            "Where the meter is a model of processor time, as on a machine without energy counters, joules follow "
            "seconds by construction: compare them with parameters and operations, not with time."
        )
    if without := _without_figures(results):
        words = f"No finished run has a figure of: {', '.join(without)}. They are – in the tables and in no plot."
        if results.study.kind == "runs":
            words += " Too few images can be why, or settings of the audit, such as a self_test of 0."
        notes.append(words)
    if results.at_once > 1:
        notes.append(
            f"{results.at_once} runs worked at once. Where a hardware counter was read, it counted the neighbours, too."
        )
    elif results.study.kind == "runs":
        notes.append("Where a second command worked on the study, hardware counters counted its runs, too.")
    return notes


def _without_figures(results: Results) -> list[str]:
    """The outcomes, in words, that some run finished without and none with a figure."""
    found = [row.found.values for row in results.rows if row.state == "finished"]
    return [
        outcome.words
        for outcome in results.study.outcomes
        if found and all(values.get(outcome.name) is None for values in found)
    ]


def _picture(plot: Plot, results: Results) -> Picture | None:
    found = results.plots[plot.name]
    if not found:
        return None
    outcome = results.study.outcome(plot.outcomes[0])
    tables = [table for table in results.tables if table.name in plot.tables]
    levels: dict[str, None] = {}
    for table in tables:
        levels.update(dict.fromkeys([table.words] if plot.over is None else table.factor(plot.over).names))
    lines = dict.fromkeys(point.line for point in found)
    series = [
        Series(line, tuple((point.at, _span(point.interval)) for point in found if point.line == line))
        for line in lines
    ]
    x_axis = "" if plot.over is None else tables[0].factor(plot.over).words
    unit = _unit([point.interval.estimate or 0.0 for point in found], outcome.unit)
    y_axis = outcome.words if len(plot.outcomes) == 1 else {"J": "energy", "s": "time"}.get(outcome.unit, "")
    chart = levels_chart(
        series,
        [level for level in levels if any(point.at == level for point in found)],
        name=plot.name,
        title=plot.title,
        description="; ".join(f"{p.line} {p.at}: {_words(p.interval, outcome)}".strip() for p in found),
        x_axis=x_axis,
        y_axis=y_axis,
        unit=unit,
    )
    footer = f"lichen study {results.study.name}, size {results.size}. Points: mean; whiskers: 95 % interval."
    return Picture(plot.name, plot.title, chart, charts_file([(plot.title, chart)], footer))


def _span(interval: Interval) -> Span:
    return Span(interval.low, interval.estimate, interval.high)


def _unit(values: Sequence[float], base: str) -> Unit:
    """That in which the middle one of ``values`` reads best."""
    if base not in UNITS:
        return Unit("", 1.0)
    return unit_for(sorted(values)[len(values) // 2], UNITS[base])


def _judged(finding: Finding, results: Results) -> Judged:
    statement, interval = finding.statement, finding.interval
    words, ends = _effect(finding, results)
    beside = f"n = {interval.n}" + (f"; {finding.note}" if finding.note else "")
    return Judged(
        words=statement.words,
        source=statement.source,
        asks=f"{statement.asks}; right if {_right(finding)}",
        effect=words,
        ends=f"{ends}; {beside}" if ends else f"no interval; {beside}",
        verdict={"supports": "supported", "contradicts": "contradicted"}.get(finding.verdict, "undecided"),
        tone=TONES[finding.verdict],
    )


def _right(finding: Finding) -> str:
    above, below = finding.statement.above, finding.statement.below
    ends = [f"above {above:g}" if above is not None else "", f"below {below:g}" if below is not None else ""]
    return " and ".join(filter(None, ends))


def _effect(finding: Finding, results: Results) -> tuple[str, str]:
    """(the effect, its interval), in words."""
    measure, interval = finding.statement.measure, finding.interval
    if interval.estimate is None:
        return "cannot be told", ""
    is_ratio = isinstance(measure, AgainstTable) or (isinstance(measure, Contrast) and measure.scale == "ratio")
    is_ratio |= measure == Electricity("places")
    unit = Unit("times" if is_ratio else "", 1.0)
    if isinstance(measure, Mean | Contrast | TrendOver) and not is_ratio:
        outcome = results.study.outcome(finding.statement.outcome)
        unit = _unit([abs(interval.estimate)], outcome.unit)
    tail = f" {unit.symbol}" if unit.symbol else ""
    tail += " per doubling" if isinstance(measure, TrendOver) else ""
    sign = "+" if interval.estimate > 0 and isinstance(measure, Contrast | TrendOver) and not is_ratio else ""
    words = f"{sign}{figure(interval.estimate / unit.size)}{tail}"
    if interval.low is None or interval.high is None:
        return words, ""
    return words, f"{figure(interval.low / unit.size, 2)} to {figure(interval.high / unit.size, 2)}"


def _words(interval: Interval, outcome: Outcome) -> str:
    """``0.12 (0.05 to 0.19)`` in the outcome's unit."""
    if interval.estimate is None:
        return "–"
    unit = _unit([interval.estimate], outcome.unit)
    tail = f" {unit.symbol}" if unit.symbol else ""
    words = f"{figure(interval.estimate / unit.size)}{tail}"
    if interval.low is None or interval.high is None:
        return words
    return f"{words} ({figure(interval.low / unit.size, 2)} to {figure(interval.high / unit.size, 2)})"


def _arms(name: str, title: str, results: Results) -> Arms:
    found: dict[tuple[str, ...], list[Found]] = {}
    factors: tuple[str, ...] = ()
    for row in results.rows:
        if row.cell.table == name:
            factors = tuple(row.cell.levels)
            found.setdefault(tuple(row.cell.levels.values()), []).append(row.found)
    outcomes = results.study.outcomes
    rows = [
        (
            *levels,
            *(_words(center([cell.values.get(each.name) for cell in cells], each.unit), each) for each in outcomes),
        )
        for levels, cells in found.items()
    ]
    return Arms(title, (*factors, *(outcome.words for outcome in outcomes)), tuple(rows))


def in_words(results: Results, home: Path) -> str:
    """What was found, for a terminal: a line for each statement, and where the rest is."""
    view = view_of(results)
    lines = [f"study    {view.title}", f"         {view.subtitle}"]
    for number, each in enumerate(view.judged):
        lines.append(f"{'' if number else 'verdicts':<8} {each.verdict:<12} {each.asks}: {each.effect} ({each.ends})")
    lines += [f"failed   {name}; see {home / 'logs' / name}.txt" for name in view.failed]
    return "\n".join([*lines, f"report   {home / 'report.html'}"])
