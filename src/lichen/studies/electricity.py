"""What place and season change, by the packaged figures of electricity alone; the same for any run."""

from __future__ import annotations

from lichen.carbon import Range, Zone, load_table
from lichen.statistics import Interval


def places_apart() -> tuple[Interval, str]:
    """How many times the cleanest country's grams the dirtiest's are, each in its latest year; and who they are.

    The interval is the spread of both levels over five years.
    """
    countries = load_table().countries()
    cleanest, dirtiest = min(countries, key=_level), max(countries, key=_level)
    low, high = dirtiest.level.low / cleanest.level.high, dirtiest.level.high / cleanest.level.low
    interval = Interval(_level(dirtiest) / _level(cleanest), low, high, len(countries))
    return interval, f"{cleanest.name} ({cleanest.year}) to {dirtiest.name} ({dirtiest.year})"


def months_apart() -> tuple[Interval, str]:
    """The largest share that a country's best month saves of its worst; and who that is.

    The interval is the spread of both months over five years.
    """
    seasons = {zone.name: zone.seasonal_index for zone in load_table().countries() if zone.seasonal_index}
    name = max(seasons, key=lambda country: _saved(seasons[country]))
    best, worst = min(seasons[name], key=_index), max(seasons[name], key=_index)
    low, high = 1 - best.high / worst.low, 1 - best.low / worst.high
    shares = sorted(map(_saved, seasons.values()))
    note = f"{name}; the median country saves {shares[len(shares) // 2]:.0%}"
    return Interval(_saved(seasons[name]), low, high, len(seasons)), note


def _level(zone: Zone) -> float:
    return zone.level.estimate or zone.level.high


def _index(index: Range) -> float:
    return index.estimate or index.high


def _saved(season: tuple[Range, ...]) -> float:
    return 1 - min(map(_index, season)) / max(map(_index, season))
