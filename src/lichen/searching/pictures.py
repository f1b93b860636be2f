"""The figures of a search: quality against cost, cut beside trained until done, and how each candidate learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Literal

from lichen.carbon import Range
from lichen.plurals import plural
from lichen.report.formats import GRAMS, JOULES, WATT_HOURS, Span, Unit, quantity, unit_for
from lichen.report.levels import Series, levels_chart
from lichen.report.paths import Path, paths_chart
from lichen.report.scatter import Kind, Mark, Row, scatter_chart
from lichen.report.standalone import Picture, charts_file
from lichen.searching.gathered import Results
from lichen.searching.wording import (
    QUALITIES,
    capitalised,
    cost_words,
    quality_words,
    short_labels,
    varied_words,
    where_words,
)
from lichen.selection.facts import middle
from lichen.selection.front import Configuration
from lichen.selection.types import Candidate
from lichen.statistics import Interval

ENERGIES = (JOULES[0], *WATT_HOURS)
_SHORT = 6
STRIP: dict[str, str] = {"refused": "refused", "stopped": "stopped", "failed": "failed"}
"""States that have a cost and no quality, in the order of their rows."""


def pictures(results: Results) -> tuple[Picture, ...]:
    """All there is something to draw for."""
    found = (_against_cost(results), _cut(results), _learning(results))
    return tuple(picture for picture in found if picture is not None)


class _Costs:
    """Joules on the axis of cost: grams at the place, or joules where it is unknown."""

    def __init__(self, results: Results) -> None:
        factor = results.grams(Range(1.0, 1.0, 1.0)).estimate
        self.factor = 1.0 if factor is None else factor
        self.axis = "energy" if factor is None else "CO₂e"
        self.units: tuple[Unit, ...] = ENERGIES if factor is None else GRAMS

    def span(self, cost: Range | Interval) -> Span:
        low, estimate, high = (
            None if end is None else end * self.factor for end in (cost.low, cost.estimate, cost.high)
        )
        return Span(None if low is None else max(low, 0.0), estimate, high)

    def unit(self, values: Sequence[float]) -> Unit:
        ordered = sorted(values) or [1.0]
        return unit_for(ordered[len(ordered) // 2], self.units)


def _against_cost(results: Results) -> Picture | None:
    costs = _Costs(results)
    labels = dict(zip(map(id, results.configurations), short_labels(results.configurations), strict=True))
    marks = []
    for each in results.configurations:
        if each.quality.estimate is None or each.cost_j is None:
            continue
        over_seeds = each.cost_over_seeds_j
        x = costs.span(over_seeds if over_seeds.low is not None else Range(*[middle(each.cost_j)] * 3))
        y = Span(each.quality.low, each.quality.estimate, each.quality.high)
        words = f"{each.label}: {quality_words(each, results)} for {cost_words(each.cost_j, results)}"
        words += f"; {each.broken}" if each.broken else ""
        kind = _kind(each, results)
        label = labels[id(each)]
        has_room = kind in {"taken", "front"} or len(label) <= _SHORT  # long names of what is beaten hide the front
        marks.append(Mark(label if has_room else "", words, x, y, kind))
    rows = [Row(words, tuple(_aside(state, costs, results))) for state, words in STRIP.items()]
    if not marks and not any(row.spans for row in rows):
        return None
    ends = [span.estimate or 0.0 for span in (*(mark.x for mark in marks), *(s for row in rows for _, s in row.spans))]
    name = QUALITIES[results.search.quality]
    title = f"{capitalised(name)} against {costs.axis}"
    chart = scatter_chart(
        marks,
        rows,
        name="front",
        title=title,
        description="; ".join(mark.words for mark in marks),
        x_axis=f"{costs.axis} of training" + (" and synthesis" if results.search.planned_images else ""),
        y_axis=f"{name}, {results.direction} is better",
        unit=costs.unit(ends),
        best_at="top" if results.direction == "higher" else "bottom",
    )
    footer = (
        f"Numbers: {varied_words(results)}. Whiskers: 95 % over {plural(len(results.search.seeds), 'seed')}, or of the "
        f"test images where there is one. {_origin(results)}"
    )
    return Picture("quality-against-cost", title, chart, charts_file([(title, chart)], footer))


def _kind(each: Configuration, results: Results) -> Kind:
    if each.broken:
        return "broken"
    if results.choice is not None and each is results.choice.take:
        return "taken"
    return "front" if any(each is other for other in results.front) else "beaten"


def _aside(state: str, costs: _Costs, results: Results) -> Iterator[tuple[str, Span]]:
    """Candidates that ended so, at what training them would have cost."""
    for each in results.configurations:
        for candidate in each.candidates:
            if candidate.state == state and candidate.cost_j is not None:
                span = costs.span(candidate.cost_j)
                reason = f": {candidate.reason}" if candidate.reason else ""
                words = f"{each.label}, seed {candidate.seed}, {cost_words(candidate.cost_j, results)} by forecast"
                yield f"{words}, {state}{reason}", span


def _cut(results: Results) -> Picture | None:
    """Quality when the budget was spent, beside that of the same configuration trained until it was done."""
    if not results.cut or results.limits.candidate_j is None:
        return None
    costs, limit_j = _Costs(results), results.limits.candidate_j
    budget = quantity(limit_j * costs.factor, costs.units)
    shown = [each for each in results.configurations if each.trained or any(c.cut for c in each.candidates)]
    labels = dict(zip(map(id, shown), short_labels(shown), strict=True))
    by_settings = {id(other): each for each in shown for other in results.cut if other.settings == each.settings}
    name = QUALITIES[results.search.quality]
    done = [(labels[id(each)], _quality_span(each)) for each in shown if each.trained]
    cut = [(labels[id(by_settings[id(other)])], _quality_span(other)) for other in results.cut]
    title = "Cut at the budget, and trained until done"
    chart = levels_chart(
        [Series("trained until done", tuple(done)), Series(f"cut at {budget}", tuple(cut))],
        list(labels.values()),
        name="cut",
        title=title,
        description="; ".join(f"{each.label}, cut: {quality_words(each, results)}" for each in results.cut),
        x_axis=varied_words(results),
        y_axis=f"{name}, {results.direction} is better",
        unit=Unit("", 1.0),
    )
    footer = f"Without a second mark: not cut. Whiskers: 95 % interval. {_origin(results)}"
    return Picture("cut-at-budget", title, chart, charts_file([(title, chart)], footer))


def _quality_span(each: Configuration) -> Span:
    return Span(each.quality.low, each.quality.estimate, each.quality.high)


def _learning(results: Results) -> Picture | None:
    """How quality came with what was spent: the first seed of each configuration, and all that were stopped."""
    costs = _Costs(results)
    told_apart = _told_apart(results)
    paths = []
    for each in results.configurations:
        with_curve = [candidate for candidate in each.candidates if candidate.curve]
        shown = with_curve[:1] + [candidate for candidate in with_curve[1:] if candidate.state == "stopped"]
        for candidate in shown:
            points = tuple((point.spent_j * costs.factor, point.quality) for point in candidate.curve)
            label = each.label if any(each is other for other in told_apart) else ""
            words = f"{each.label}, seed {candidate.seed}: {candidate.state}"
            paths.append(Path(label, words, points, _end(candidate)))
    if not paths:
        return None
    name = QUALITIES[results.search.quality]
    # where they were cut, by estimate; the budget itself is kept by the upper end of what meters say
    cuts_j = [each.cut.spent_j for each in results.candidates if each.cut is not None]
    title = f"{capitalised(name)} while training, against {costs.axis}"
    chart = paths_chart(
        paths,
        name="learning",
        title=title,
        description="; ".join(path.words for path in paths),
        x_axis=f"{costs.axis} spent on training",
        y_axis=f"{name} on the images that choose",
        unit=costs.unit([path.points[-1][0] for path in paths]),
        level=(fmean(cuts_j) * costs.factor, "cut") if cuts_j else None,
    )
    drawn = "Cross: stopped there. Grey: other configurations. One seed of each, and all that were stopped."
    footer = f"{drawn} {_origin(results)}"
    return Picture("learning", title, chart, charts_file([(title, chart)], footer))


def _told_apart(results: Results) -> list[Configuration]:
    """Those that a reader asks for first: what to take, the ends of the front, and the rest of it."""
    first = [] if results.choice is None else [results.choice.take]
    ordered = [*first, *results.front[:1], *results.front[-1:], *results.front]
    return list({id(each): each for each in ordered}.values())[:5]


def _end(candidate: Candidate) -> Literal["done", "stopped", "open"]:
    if candidate.state == "finished":
        return "done"
    return "stopped" if candidate.state in {"stopped", "failed"} else "open"


def _origin(results: Results) -> str:
    return f"{capitalised(where_words(results))}. {results.place.attribution}"
