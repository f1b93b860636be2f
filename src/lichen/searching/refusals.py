"""Budgets that no candidate of a search can keep: refused with what the cheapest takes."""

from __future__ import annotations

from collections.abc import Sequence

from lichen.carbon import energy_range_text, grams, grams_range_text
from lichen.config import EnergyBudgetConfig
from lichen.errors import BudgetError
from lichen.searching.terms import Terms
from lichen.selection.types import Candidate


def refuse_small_budget(candidates: Sequence[Candidate], terms: Terms) -> None:
    """Raise BudgetError where a budget lies below what the cheapest candidate costs, so that none was trained."""
    costs = [(one, one.cost_j) for one in candidates if one.state == "refused"]
    known = [(one, cost) for one, cost in costs if cost is not None]
    if len(known) < len(candidates) or not known:
        return
    one, cost = min(known, key=lambda pair: pair[1].low)
    for option, budget in (("--budget", terms.budget), ("--search-budget", terms.search_budget)):
        found = _binding(budget, terms)
        if found is None or cost.low <= found[2] or (budget is terms.budget and terms.converge):
            continue
        unit, given, limit_j = found
        least = grams((cost.low, cost.estimate, cost.high), terms.place, terms.carbon.pue)
        raise BudgetError(
            f"the cheapest candidate, {one.name}, costs {energy_range_text(cost.low, cost.estimate, cost.high)}, "
            f"{grams_range_text(least)} CO2e, by its forecast, and {option}.{unit} is {given:g}",
            fix=f"give {option}.{unit} {given * cost.high / limit_j:.2g} or more, or add cheaper values to the space",
        )


def refuse_what_nothing_kept(candidates: Sequence[Candidate], terms: Terms) -> None:
    """Raise BudgetError where every candidate's budget was spent before anything could be tested."""
    found = _binding(terms.budget, terms)
    untested = [(one, one.cost_j) for one in candidates if one.cut_untested]
    costs = [(one, cost) for one, cost in untested if cost is not None]
    if found is None or not costs or any(one.found or one.cut for one in candidates):
        return
    unit, given, _ = found
    one, cost = min(costs, key=lambda pair: pair[1].low)
    raise BudgetError(
        f"--budget.{unit} {given:g} was spent on reading and timing, which count, before any candidate could be tested",
        fix=f"raise it: the training of {one.name} alone, the cheapest, takes "
        f"{energy_range_text(cost.low, cost.estimate, cost.high)} more",
    )


def _binding(budget: EnergyBudgetConfig, terms: Terms) -> tuple[str, float, float] | None:
    """(unit, amount, joules) of the part of a budget that is reached first; None where none is given."""
    parts = [
        (unit, given, joules)
        for unit, given, alone in (
            ("carbon-g", budget.carbon_g, EnergyBudgetConfig(carbon_g=budget.carbon_g)),
            ("energy-kwh", budget.energy_kwh, EnergyBudgetConfig(energy_kwh=budget.energy_kwh)),
        )
        if given is not None and (joules := terms.joules(alone)) is not None
    ]
    return min(parts, key=lambda part: part[2], default=None)
