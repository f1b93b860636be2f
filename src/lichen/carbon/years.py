"""From intensities by month and year to what a table holds of a place: a level, and the shape of its year.

- The level comes from yearly figures where there are some, because monthly and yearly ones may disagree (Ember, Sweden
  2024: the mean of the months is 0.65 of the year); only without them is it the mean of twelve months.
- The spread is what the years themselves did.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from lichen.carbon.ranges import Range

LEVEL_YEARS = 5
FEWEST_SHAPES = 3

Yearly = dict[int, float]
"""Year -> g CO2e per kWh."""
Monthly = dict[tuple[int, int], float]
"""(year, month) -> g CO2e per kWh."""


def level(yearly: Yearly) -> tuple[int, Range]:
    """The latest year and its level, within the lowest and highest level of the five years up to it."""
    latest = max(yearly)
    recent = [g_per_kwh for year, g_per_kwh in yearly.items() if latest - LEVEL_YEARS < year]
    return latest, Range(min(recent), yearly[latest], max(recent))


def seasonal_index(monthly: Monthly, years: Iterable[int]) -> tuple[Range, ...] | None:
    """Mean, lowest and highest month / mean of its year over the complete ones of ``years``, January first.

    ``None`` with fewer than three complete years: one odd winter is no season.
    """
    shapes = [shape for year in years if (shape := shape_of_year(monthly, year)) is not None]
    if len(shapes) < FEWEST_SHAPES:
        return None
    # three equal numbers may have a mean beside them, in the last digit
    return tuple(
        Range(min(month), min(max(fmean(month), min(month)), max(month)), max(month))
        for month in zip(*shapes, strict=True)
    )


def yearly_means(monthly: Monthly) -> Yearly:
    """The plain mean of the twelve months of each complete year."""
    complete = {year for year, _ in monthly if all((year, month) in monthly for month in range(1, 13))}
    return {year: fmean(monthly[year, month] for month in range(1, 13)) for year in complete}


def shape_of_year(monthly: Monthly, year: int) -> tuple[float, ...] | None:
    """Each month / the mean of the year's twelve months; ``None`` where a month is missing."""
    months = [monthly.get((year, month)) for month in range(1, 13)]
    known = [value for value in months if value is not None]
    return tuple(value / fmean(known) for value in known) if len(known) == 12 else None
