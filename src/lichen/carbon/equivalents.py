"""What an amount of CO2e is as much as: car kilometres, flights, a share of a personal budget.

The factors are facts with a year and a source, in ``equivalents.json``; the text of each equivalent names all three.
"Green Algorithms" is Lannelongue et al., Advanced Science 2021, and its reference values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from lichen.carbon.ranges import Range
from lichen.carbon.words import figures, mass


@dataclass(frozen=True)
class Equivalent:
    """As much CO2e as ``amount`` of something everyday."""

    what: str
    amount: Range
    g_per_unit: float
    year: int
    """When the factor was published or is valid for."""
    source: str
    text: str
    """All of it for people, e.g. ``0.07 km by car in use, EU (175 g/km, Green Algorithms 2021)``."""


def equivalents(grams: Range) -> tuple[Equivalent, ...]:
    """What ``grams`` of CO2e are as much as, always in the same order, car kilometres first."""
    return tuple(_equivalent(grams, fact) for fact in _facts())


@cache
def _facts() -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(Path(__file__).with_name("equivalents.json").read_text(encoding="utf-8")))


def _equivalent(grams: Range, fact: dict[str, Any]) -> Equivalent:
    g, g_low, g_high = float(fact["g"]), float(fact.get("g_low", fact["g"])), float(fact.get("g_high", fact["g"]))
    amount = Range(grams.low / g_high, None if grams.estimate is None else grams.estimate / g, grams.high / g_low)
    factor = f"{mass(g, digits=4)}/{fact['per']}, {fact['source']} {fact['year']}"
    text = f"{figures(amount)} {fact['what']} ({factor})"
    return Equivalent(fact["what"], amount, g, int(fact["year"]), fact["source"], text)
