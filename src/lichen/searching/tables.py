"""The tables of a search: along the front, every configuration, what stands for joules, and what was not trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lichen.carbon import Range, energy_range_text, energy_text
from lichen.report.formats import figure
from lichen.searching.gathered import Results
from lichen.searching.wording import (
    QUALITIES,
    cost_words,
    ends_words,
    grams_words,
    interval_words,
    is_shown,
    joules_words,
    more_words,
    percent,
    states_words,
    times,
)
from lichen.selection.answers import Step
from lichen.selection.facts import middle
from lichen.selection.front import Configuration, difference_between


@dataclass(frozen=True)
class Cell:
    """A figure, and what is to be read beside it."""

    words: str
    beside: str = ""

    def __str__(self) -> str:
        return f"{self.words} ({self.beside})" if self.beside else self.words


@dataclass(frozen=True)
class Table:
    """Rows under a heading."""

    name: str
    title: str
    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def tables(results: Results) -> tuple[Table, ...]:
    """Those that have rows, the most asked for first."""
    found = (_front(results), _cut(results), _configurations(results), _proxies(results), _not_trained(results))
    return tuple(table for table in found if table.rows)


def _front(results: Results) -> Table:
    name = QUALITIES[results.search.quality]
    steps: list[Step | None] = [*results.steps, None]
    rows = tuple(_front_row(each, step, results) for each, step in zip(results.front, steps, strict=False))
    return Table(
        "front",
        "For a budget, or for a quality",
        "The Pareto front, the cheapest first. Find the last row that your budget allows, or the first whose quality "
        "is enough.",
        ("Take", "from a budget of", f"{name} reached", "to the next row", "the next 1 % of quality"),
        rows,
    )


def _front_row(each: Configuration, step: Step | None, results: Results) -> tuple[Cell, ...]:
    energy = "" if each.cost_j is None else joules_words(each.cost_j)[0]
    first = (
        Cell(each.label),
        Cell(cost_words(each.cost_j, results), energy if results.grams(Range(1, 1, 1)).estimate is not None else ""),
        Cell(figure(each.quality.estimate or 0.0), ends_words(each.quality)),
    )
    if step is None:
        return (*first, Cell("–", "the best"), Cell("–"))
    gained = "better" if step.gain is None else f"{percent(step.gain)} better"
    share = "" if step.extra_share is None else f"{percent(step.extra_share)} dearer"
    doubt = "" if is_shown(step.difference) else "no difference shown"
    onward = Cell(gained, "; ".join(filter(None, (share, doubt))))
    if step.next_percent_j is None:
        return (*first, onward, Cell("not on this front"))
    of = step.of.point[0]
    return (
        *first,
        onward,
        Cell(more_words(step.next_percent_j, results), f"{percent(step.next_percent_j / of)} more" if of > 0 else ""),
    )


def _cut(results: Results) -> Table:
    """What each could do when its budget was spent, beside what it came to; none where none was cut."""
    name, limit_j = QUALITIES[results.search.quality], results.limits.candidate_j
    ordered = sorted(results.configurations, key=_order) if results.cut and limit_j is not None else []
    return Table(
        "cut",
        "Cut at the budget, and trained until done",
        "Each configuration with the budget for each candidate, and without it. Not cut: it kept within the budget, "
        "had nothing to test when that was spent, or was trained before.",
        ("Configuration", f"{name} at the budget", "trained until done", "for", "gained"),
        tuple(_cut_row(each, results) for each in ordered),
    )


def _cut_row(each: Configuration, results: Results) -> tuple[Cell, ...]:
    cut = next((other for other in results.cut if other.settings == each.settings), None)
    done, then, gained = Cell("–"), Cell("–"), Cell("–")
    if cut is not None:
        then = Cell(figure(cut.quality.estimate or 0.0), ends_words(cut.quality))
    elif each.trained:
        then = Cell("not cut")
    if each.trained:
        done = Cell(figure(each.quality.estimate or 0.0), ends_words(each.quality))
    if cut is not None and each.trained:
        between = difference_between(each, cut)
        doubt = "" if is_shown(between) else "no difference shown"
        gained = Cell(interval_words(between, 2), doubt)
    return Cell(each.label), then, done, Cell(cost_words(each.cost_j, results) if each.trained else "–"), gained


def _configurations(results: Results) -> Table:
    """Every configuration, the cheapest first; columns that nothing is known for are left out."""
    ordered = sorted(range(len(results.configurations)), key=lambda at: _order(results.configurations[at]))
    cheapest = min((each.point[0] for each in results.configurations if not each.why_not), default=0.0)
    head = ("Configuration", "seeds trained", QUALITIES[results.search.quality], "CO2e", "energy", "times the cheapest")
    more = ("loss + beta C", "PePR", "parameters", "memory", "copies, at most")
    rows = [_configuration(at, cheapest, results) for at in ordered]
    kept = [column for column in range(len(head) + len(more)) if any(row[column].words for row in rows)]
    names = (*head, *more)
    return Table(
        "configurations",
        "Every configuration",
        "Mean of the seeds with its 95 % interval; of CO2e, what meter, building and place leave open.",
        tuple(names[column] for column in kept),
        tuple(tuple(row[column] for column in kept) for row in rows),
    )


def _order(each: Configuration) -> float:
    known = each.cost_j or each.expected_j
    return float("inf") if known is None else middle(known)


def _configuration(at: int, cheapest: float, results: Results) -> tuple[Cell, ...]:
    each, (objective, score) = results.configurations[at], results.objectives[at]
    known = each.trained or each.candidates
    parameters = [c.parameters for c in known if c.parameters is not None]
    memory = [c.peak_memory_bytes for c in known if c.peak_memory_bytes is not None]
    copies = [c.copy_rate for c in known if c.copy_rate is not None]
    has_place = not each.why_not and cheapest > 0
    objective_range = None if objective is None else (objective.low, objective.high)
    return (
        Cell(each.label, _remark(each, results)),
        Cell(f"{len(each.trained)} of {len(each.candidates)}"),
        Cell("–") if each.quality.estimate is None else Cell(figure(each.quality.estimate), ends_words(each.quality)),
        *_cost_cells(each, results),
        Cell(times(each.point[0] / cheapest).removesuffix(" times") if has_place else ""),
        Cell("")
        if objective is None or objective_range is None
        else Cell(figure(objective.estimate))
        if objective.estimate is not None
        else Cell(f"{figure(objective_range[0])} to {figure(objective_range[1])}"),
        Cell("" if score is None else figure(score)),
        Cell(_count_words(parameters[0]) if parameters else ""),
        Cell(f"{max(memory) / 1e9:.3g} GB" if memory else ""),
        Cell(percent(max(copies)) if copies else ""),
    )


def _count_words(count: int) -> str:
    """``1.23 M``; of a small network ``5,220``."""
    return f"{count / 1e6:.3g} M" if count >= 1e5 else f"{count:,}"


def _cost_cells(each: Configuration, results: Results) -> tuple[Cell, Cell]:
    cost_j = each.cost_j or each.expected_j
    if cost_j is None:
        return Cell("not measured"), Cell("not measured")
    carbon, energy = Cell(*grams_words(results.grams(cost_j))), joules_words(cost_j)
    if each.cost_j is None:
        return carbon, Cell(energy[0], f"{energy[1]}; forecast" if energy[1] else "forecast")
    over_seeds = each.cost_over_seeds_j
    if over_seeds.low is None or over_seeds.high is None:
        return carbon, Cell(energy[0])
    return carbon, Cell(energy[0], energy_range_text(max(over_seeds.low, 0.0), over_seeds.estimate, over_seeds.high))


def _remark(each: Configuration, results: Results) -> str:
    choice = results.choice
    if each.why_not:
        states = list(dict.fromkeys(candidate.state for candidate in each.candidates))
        return each.broken if each.trained and each.broken else each.why_not if each.trained else ", ".join(states)
    marks = []
    if choice is not None and each is choice.take:
        marks.append("to take")
    if any(each is other for other in results.front):
        marks.append("front")
    if choice is not None and each is choice.best:
        marks.append("best figure")
    elif choice is not None and any(each is other for other in choice.alike):
        marks.append("no difference shown to the best")
    return ", ".join(marks)


def _proxies(results: Results) -> Table:
    known = {name: found for name, found in results.proxies.items() if found.estimate is not None}
    return Table(
        "proxies",
        "What stands for joules",
        "Spearman's rank correlation with the joules of training, over configurations; 1: the same order.",
        ("Quoted in place of joules", "rank correlation", "configurations"),
        tuple(
            (
                Cell({"time": "time of training", "operations": "operations (FLOP)"}.get(name, name)),
                Cell(interval_words(found, 2)),
                Cell(str(found.n)),
            )
            for name, found in known.items()
        ),
    )


def _not_trained(results: Results) -> Table:
    others = [each for each in results.candidates if each.state != "finished"]
    spoilt = [each for each in results.candidates if each.state == "finished" and each.found is None]
    rows = tuple(
        (
            Cell(each.name),
            Cell(each.state),
            Cell("not known" if each.cost_j is None else cost_words(each.cost_j, results)),
            Cell(energy_text(each.spent_j) if each.spent_j else "nothing"),
            Cell(each.reason or "–"),
        )
        for each in (*others, *spoilt)
    )
    return Table(
        "left-out",
        "Not trained until done",
        f"Of all: {states_words(results)}. Cost: forecast of the whole.",
        ("Candidate", "state", "would cost", "spent on it", "why"),
        rows,
    )


def as_texts(rows: Sequence[Sequence[Cell]]) -> list[tuple[str, ...]]:
    """``rows`` for Markdown."""
    return [tuple(map(str, row)) for row in rows]
