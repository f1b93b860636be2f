"""How a search's figures are written, the same on its page, in its table to paste and in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from lichen.carbon import (
    PUE_RANGE,
    Range,
    energy_range_text,
    energy_text,
    grams_range_text,
    grams_text,
    number,
    place_text,
)
from lichen.plurals import plural
from lichen.report.formats import figure
from lichen.searching.definition import QualityName
from lichen.searching.gathered import Results
from lichen.selection.facts import middle
from lichen.selection.front import Configuration, value_words
from lichen.statistics import Interval

QUALITIES: dict[QualityName, str] = {"dice": "Dice", "kernel_distance": "kernel distance"}
STATES = ("finished", "stopped", "refused", "failed", "running", "waiting")


def interval_words(found: Interval, digits: int = 3) -> str:
    """``0.756 (0.751 to 0.761)``; without an interval the figure alone."""
    if found.estimate is None:
        return "–"
    words = figure(found.estimate, digits)
    return words if not (ends := ends_words(found, digits)) else f"{words} ({ends})"


def ends_words(found: Interval, digits: int = 3) -> str:
    """``0.751 to 0.761``; empty without an interval."""
    if found.low is None or found.high is None:
        return ""
    return f"{figure(found.low, digits)} to {figure(found.high, digits)}"


def is_shown(between: Interval) -> bool:
    """Whether a difference is more than chance: its interval does not hold 0."""
    return between.low is not None and between.high is not None and not between.low <= 0 <= between.high


def quality_words(configuration: Configuration, results: Results) -> str:
    """``Dice 0.756 (0.751 to 0.761; 5 seeds)``."""
    found = configuration.quality
    inner = "; ".join(filter(None, (ends_words(found), plural(found.n, "seed"))))
    return f"{QUALITIES[results.search.quality]} {figure(found.estimate or 0.0)} ({inner})"


def cost_words(energy_j: Range | None, results: Results) -> str:
    """``12.3 g CO2e``; where the place is unknown ``45 Wh, 0.4 to 13 g CO2e``."""
    if energy_j is None:
        return "not measured"
    carbon_g = results.grams(energy_j)
    if carbon_g.estimate is not None:
        return f"{grams_text(carbon_g)} CO2e"
    return f"{energy_text(middle(energy_j))}, {grams_range_text(carbon_g)} CO2e"


def more_words(energy_j: float, results: Results) -> str:
    """What is to be spent more: ``12.3 g CO2e``, of an energy that is known."""
    return cost_words(Range(energy_j, energy_j, energy_j), results)


def joules_words(energy_j: Range) -> tuple[str, str]:
    """(the figure, its interval) of an energy."""
    ends = energy_range_text(energy_j.low, energy_j.estimate, energy_j.high)
    return (ends, "") if energy_j.estimate is None else (energy_text(energy_j.estimate), ends)


def grams_words(carbon_g: Range) -> tuple[str, str]:
    """(the figure, its interval) of an emission."""
    ends = grams_range_text(carbon_g)
    return (ends, "") if carbon_g.estimate is None else (grams_text(carbon_g), ends)


def percent(share: float) -> str:
    """A share as it is said: ``1.1 %``, ``1,520 %``."""
    return f"{number(100 * share, 2 if abs(share) < 1 else 3)} %"


def capitalised(words: str) -> str:
    """``words`` as a sentence begins; the rest of them as they are."""
    return words[:1].upper() + words[1:]


def times(factor: float) -> str:
    """``16 times``, and ``1.04 times``: two digits would make that ``1 times``."""
    return f"{number(factor, 2 if 2 <= factor < 100 else 3)} times"


def where_words(results: Results) -> str:
    """Place, month, year and PUE that grams are of."""
    place = results.place
    known = "place unknown" if place.zone is None else place_text(place.zone_name, place.month, place.year)
    if place.zone is None and place.g_per_kwh.estimate is not None:
        known = place.zone_name
    pue = f"PUE {PUE_RANGE[0]:g} to {PUE_RANGE[1]:g}" if results.pue is None else f"PUE {results.pue:g}"
    return f"{known}, {pue}"


def states_words(results: Results) -> str:
    """``28 finished, 3 stopped, 4 refused``."""
    states = [each.state for each in results.candidates]
    return ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)


def short_labels(among: Sequence[Configuration]) -> list[str]:
    """As little of each configuration's settings as tells it apart: the value alone where one setting differs."""
    differing = [
        name
        for name in dict.fromkeys(name for each in among for name in each.settings)
        if len({each.settings.get(name) for each in among}) > 1
    ]
    return [
        ", ".join(value_words(each.settings[name]) for name in differing if name in each.settings) or each.label
        for each in among
    ]


def varied_words(results: Results) -> str:
    """What the short labels are values of: ``width``."""
    names = dict.fromkeys(name for each in results.configurations for name in each.settings)
    return ", ".join(name.rpartition(".")[2].replace("_", " ") for name in names)
