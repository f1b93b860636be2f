"""What to take, and what more quality would cost: a search's answers, a sentence each."""

from __future__ import annotations

from lichen.plurals import plural
from lichen.report.formats import figure
from lichen.searching.gathered import Results
from lichen.searching.wording import (
    QUALITIES,
    capitalised,
    cost_words,
    ends_words,
    is_shown,
    more_words,
    percent,
    quality_words,
    times,
)
from lichen.selection.answers import Choice
from lichen.selection.front import difference_between
from lichen.selection.objectives import least_objective


def answer(results: Results) -> tuple[str, str, str]:
    """(what to take, why, how sure)."""
    choice = results.choice
    if choice is None:
        why = sorted({each.why_not for each in results.configurations if each.why_not})
        return (
            "Nothing to choose from",
            f"No configuration can be chosen: {'; '.join(why) or 'there is none'}.",
            "unsure",
        )
    take = f"{quality_words(choice.take, results)} for {cost_words(choice.take.cost_j, results)}. "
    sure = "good" if choice.is_judged else "unsure"
    return f"Take {choice.take.label}", capitalised(take) + _why(choice, results) + _failed(results), sure


def _why(choice: Choice, results: Results) -> str:
    """Why this one, in a sentence or two."""
    if not any(not each.why_not for each in results.configurations if each is not choice.take):
        return "It is the only one that can be chosen."
    if not choice.is_judged:
        return (
            "It has the best figure. No interval says how much of the differences is chance: train each configuration "
            "with several seeds to know."
        )
    if choice.take is choice.best:
        cheaper = [each for each in results.configurations if not each.why_not and each.point[0] < choice.take.point[0]]
        if not cheaper:
            words = "none of those trained is cheaper"
        elif all(is_shown(difference_between(each, choice.take)) for each in cheaper):
            words = "every cheaper one of those trained is shown to be worse"
        else:
            words = "no cheaper one of those trained is shown to be as good"
        return f"It has the best figure, and {words}."
    ratio = times(choice.best.point[0] / choice.take.point[0]) if choice.take.point[0] > 0 else "more than"
    others = len(choice.alike) - 2
    more = f" Nor to {plural(others, 'other')}." if others else ""
    ends = f" ({words})" if (words := ends_words(choice.difference, 2)) else ""
    return (
        f"No difference is shown to the best figure, {figure(choice.best.point[1])} of {choice.best.label}, which "
        f"costs {ratio} as much: {_signed(choice.difference.estimate)}{ends}.{more}"
    )


def _failed(results: Results) -> str:
    """Those of which nothing is known because they failed; empty where none did."""
    failed = sum(each.state == "failed" for each in results.candidates)
    return f" {plural(failed, 'candidate')} failed, of which nothing is known." if failed else ""


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{'+' if value > 0 else ''}{figure(value, 2)}"


def answers(results: Results) -> list[tuple[str, str]]:
    """(name, sentence) for each question that a front answers."""
    name, found = QUALITIES[results.search.quality], []
    if results.limits.candidate_j is not None:
        found.append(("budget", _budget(results, results.limits.candidate_j)))
    if results.front:
        best = results.front[-1]
        for least, take in results.nearly:
            lost = abs(least - best.point[1]) / abs(best.point[1]) if best.point[1] else 0.0
            cost = f" for {percent(take.point[0] / best.point[0])} of its cost" if best.point[0] > 0 else ""
            if take is not best:
                words = f"Within {percent(lost)} of the best {name} ({figure(least)}): {take.label}{cost}."
                found.append(("quality", words))
    if results.steps:
        step = results.steps[0]
        if step.next_percent_j is None:
            words = f"No 1 % more quality than that of {step.of.label} is on this front."
        else:
            share = f" ({percent(step.next_percent_j / step.of.point[0])} more)" if step.of.point[0] > 0 else ""
            words = (
                f"From {step.of.label}, the cheapest of the front, the next 1 % of quality costs "
                f"{more_words(step.next_percent_j, results)}{share}."
            )
        found.append(("next 1 %", words))
    if (ends := _ends(results)) is not None:
        found.append(("ends", ends))
    if (objective := _least(results)) is not None:
        found.append(("objective", objective))
    return found


def _budget(results: Results, budget_j: float) -> str:
    budget = more_words(budget_j, results)
    choice = results.in_budget
    if choice is None:
        return f"With {budget} for each candidate: none of those trained fits."
    take, best = (f"{each.label}{', cut at the budget' if each.is_cut else ''}" for each in (choice.take, choice.best))
    alike = "" if choice.take is choice.best else f"; no difference is shown to {best}"
    return f"With {budget} for each candidate: {take}, {quality_words(choice.take, results)}{alike}."


def _ends(results: Results) -> str | None:
    ends = results.ends
    if ends is None or (factor := ends.cost_ratio.estimate) is None:
        return None
    spread = f" ({ends_words(ends.cost_ratio, 2)})" if ends.cost_ratio.low is not None else ""
    gained = "" if ends.gain is None else f" for {percent(ends.gain)} more quality"
    doubt = "" if is_shown(ends.difference) else ", a difference that is not shown to be more than chance"
    paper = " Selvan (2021) found about 1,500 % for 1 %." if results.search.task == "segmentation" else ""
    return (
        f"From {ends.cheapest.label}, the cheapest of the front, to {ends.best.label}, the best: "
        f"{times(factor)} the cost{spread}, {percent(factor - 1)} more,{gained}{doubt}.{paper}"
    )


def _least(results: Results) -> str | None:
    """Which has the least scalar objective among those that may be chosen."""
    open_ones = [
        None if each.why_not else objective
        for each, (objective, _) in zip(results.configurations, results.objectives, strict=True)
    ]
    least = [results.configurations[at].label for at in least_objective(open_ones)]
    if not least:
        return None
    words = least[0] if len(least) == 1 else f"{', '.join(least[:-1])} or {least[-1]}, depending on the place"
    return f"Least loss + {results.search.beta:g} × kg CO2e (Selvan): {words}."
