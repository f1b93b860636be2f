"""The terms of a search, beside its file: how candidates are found, where energy is used, and how much of it may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from lichen.budget import check_grams
from lichen.carbon import J_PER_KWH, Intensity, grams
from lichen.config import CarbonConfig, EnergyBudgetConfig
from lichen.errors import ConfigError
from lichen.place import place_of
from lichen.searching.definition import Method, Search
from lichen.selection.types import Limits

MOST_TRIALS = 10_000


@dataclass(frozen=True)
class Terms:
    """How a search is done."""

    method: Method = "grid"
    trials: int | None = None
    """Points that are proposed, each trained with every seed; a grid has all of its own."""
    seed: int = 0
    """Of proposals; not of candidates."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    budget: EnergyBudgetConfig = field(default_factory=EnergyBudgetConfig)
    """For each candidate."""
    search_budget: EnergyBudgetConfig = field(default_factory=EnergyBudgetConfig)
    """For all trainings together."""
    converge: bool = False
    """Whether candidates go on when their budget is spent, so that both can be compared."""
    exhaustive: bool = False
    """Whether every candidate is trained to its end, limits aside."""
    at_once: int = 1

    def __post_init__(self) -> None:
        if self.method == "grid" and self.trials is not None:
            raise ConfigError("a grid has no number of trials", fix="leave --trials out, or give --method random")
        if self.method != "grid" and not 1 <= (self.trials or 0) <= MOST_TRIALS:
            raise ConfigError(
                f"--method {self.method} needs a number of trials from 1 to {MOST_TRIALS}", fix="add e.g. --trials 20"
            )
        if self.at_once < 1:
            raise ConfigError(f"processes is {self.at_once}; it must be at least 1", fix="give --processes 1 or more")
        if self.converge and not self.budget:
            raise ConfigError("there is no budget to converge beyond", fix="add e.g. --budget.carbon-g 100")
        for option, budget in (("budget", self.budget), ("search-budget", self.search_budget)):
            budget.check(option)
            check_grams(option, budget.carbon_g, self.place)

    @property
    def trains_all(self) -> bool:
        """Whether nothing but limits keeps a candidate from being trained: to be seen cut and done, it must be."""
        return self.exhaustive or self.converge

    @property
    def place(self) -> Intensity:
        """Where the energy is used."""
        return place_of(self.carbon)

    @property
    def cut_j(self) -> float | None:
        """What the budget of each candidate comes to; None where there is none."""
        return self.joules(self.budget)

    def joules(self, budget: EnergyBudgetConfig) -> float | None:
        """The energy that keeps a budget, at the upper edge of place and PUE; None where there is none."""
        limits = [] if budget.energy_kwh is None else [budget.energy_kwh * J_PER_KWH]
        if budget.carbon_g is not None:
            g_per_kwh = grams((J_PER_KWH, J_PER_KWH, J_PER_KWH), self.place, self.carbon.pue).high
            limits.append(budget.carbon_g / g_per_kwh * J_PER_KWH)
        return min(limits, default=None)

    def limits(self, search: Search) -> Limits:
        """What candidates are held to; none for each where they go on beyond their budget."""
        return Limits(
            candidate_j=None if self.converge else self.cut_j,
            search_j=self.joules(self.search_budget),
            peak_memory_bytes=None if search.peak_memory_gb is None else int(search.peak_memory_gb * 1e9),
            copy_rate=search.copy_rate,
        )
