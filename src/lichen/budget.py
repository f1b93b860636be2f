"""Budgets of grams, kilowatt-hours and hours: refused before the start, warned of, kept while running.

What has to fit is the upper edge of what is accounted for, meters' error and unknown PUE included: a budget that is
kept only by the best estimate is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lichen.carbon import J_PER_KWH, Intensity, grams, number
from lichen.config import BudgetConfig
from lichen.energy import Energy, Forecast
from lichen.errors import BudgetError, ConfigError

_LEVERS = {
    "autoencoder": "--autoencoder.images-seen",
    "diffusion": "--training.images-seen",
    "gan": "--training.images-seen",
    "segmenter": "--training.images-seen",
    "denoise": "--sampling.count",
    "synthesise": "--sampling.count",
}
"""Phase -> the setting by which it becomes shorter."""


@dataclass(frozen=True)
class Use:
    """So much of one budget."""

    option: str
    unit: str
    limit: float
    low: float
    estimate: float
    high: float

    @property
    def words(self) -> str:
        """``12 to 40 g CO2e``, and ``40 hours`` where that is known."""
        ends = dict.fromkeys((number(self.low, 2), number(self.high, 2)))
        return f"{' to '.join(ends)} {self.unit}"


def check_grams(option: str, carbon_g: float | None, place: Intensity) -> None:
    """Raise ConfigError for a limit of grams at an unknown place; ``option`` is what it was given as."""
    if carbon_g is not None and place.g_per_kwh.estimate is None:
        raise ConfigError(
            f"{option}.carbon-g is {number(carbon_g)}, and without a place nobody knows the grams",
            fix=f"name the place with --carbon.grid, e.g. FR, or set --{option}.energy-kwh",
        )


@dataclass(frozen=True)
class Budget:
    """The limits of a run, and where its energy is used; ConfigError for a limit of grams at an unknown place."""

    limits: BudgetConfig
    place: Intensity
    pue: float | None

    def __post_init__(self) -> None:
        check_grams("budget", self.limits.carbon_g, self.place)

    def __bool__(self) -> bool:
        return bool(self.limits)

    def check_plan(self, spent: Energy, spent_s: float, ahead: Forecast) -> str | None:
        """A warning if the plan may break the budget, ``None`` if it hardly can.

        Raises:
            BudgetError: even the lower edge of what is spent and forecast breaks it, or nothing can be measured here.
        """
        expected = spent + ahead.energy
        duration = ahead.duration_s
        hours = tuple((spent_s + seconds) / 3600 for seconds in (duration.low, duration.estimate, duration.high))
        planned = {phase.phase for phase in ahead.phases}
        levers = " or ".join(option for phase, option in _LEVERS.items() if phase in planned)
        warning = None
        for use in self.uses(expected, (hours[0], hours[1], hours[2])):
            if use.low > use.limit:
                raise BudgetError(
                    f"this needs {use.words} by its forecast, and {use.option} is {number(use.limit)}",
                    fix=f"raise it, or plan about {max(0.01, use.limit / use.high):.0%} of the work: fewer {levers}",
                )
            if use.high > use.limit:
                warning = (
                    f"the forecast is {use.words}, and {use.option} is {number(use.limit)}: "
                    "it may stop before the end, with a checkpoint"
                )
        return warning

    def broken(self, energy: Energy, hours: float) -> Use | None:
        """The first budget that the upper edge of this use breaks."""
        return next((use for use in self.uses(energy, (hours,) * 3) if use.high > use.limit), None)

    def uses(self, energy: Energy, hours: tuple[float, float, float]) -> Iterator[Use]:
        """What of each budget that is set this use takes; raises BudgetError where nothing can be measured."""
        limits, bounds_j = self.limits, energy.bounds_j()
        if limits.hours is not None:
            yield Use("--budget.hours", "hours", limits.hours, *hours)
        if limits.energy_kwh is None and limits.carbon_g is None:
            return
        if bounds_j is None:
            raise BudgetError(
                "nothing here can be measured, so no budget of energy or carbon can be kept",
                fix="lichen doctor says why; --budget.hours needs no meter",
            )
        if limits.energy_kwh is not None:
            yield Use("--budget.energy-kwh", "kWh", limits.energy_kwh, *(joules / J_PER_KWH for joules in bounds_j))
        if limits.carbon_g is not None:
            cost = grams(bounds_j, self.place, self.pue)
            middle = cost.high if cost.estimate is None else cost.estimate
            yield Use("--budget.carbon-g", "g CO2e", limits.carbon_g, cost.low, middle, cost.high)
