"""How grams and joules are written for people; the one place that decides on units and digits.

A single figure has three significant digits, the ends of a range two, because that is what is known of them.
"""

from __future__ import annotations

import math

from lichen.carbon.ranges import Range

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_MASSES = ((1e6, "t"), (1e3, "kg"), (1.0, "g"), (1e-3, "mg"), (1e-6, "µg"))
_ENERGIES = ((3.6e9, "MWh"), (3.6e6, "kWh"), (3.6e3, "Wh"), (1.0, "J"))


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without exponent or needless zeros: 1234.5 -> 1,230; 0.07 -> 0.07.

    Below a millionth it is ``<0.000001``: nobody reads more zeros.
    """
    if value == 0:
        return "0"
    if abs(value) < 1e-6:
        return "<0.000001"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    text = f"{round(value, places):,.{max(places, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def figures(amount: Range) -> str:
    """The estimate, or the range where there is none: ``12.3`` or ``0.4 to 13``."""
    if amount.estimate is not None:
        return number(amount.estimate)
    return _ends(amount.low, amount.high)


def mass(g: float, digits: int = 3) -> str:
    """Grams in the unit that reads best: ``12.3 g``, ``1.2 kg``."""
    unit_g, unit = _unit(g, _MASSES)
    return f"{number(g / unit_g, digits)} {unit}"


def grams_text(g: Range, unknown: str = "place unknown") -> str:
    """``12.3 g``; where there is no estimate ``0.4 to 13 g (place unknown)``."""
    return mass(g.estimate) if g.estimate is not None else f"{grams_range_text(g)} ({unknown})"


def grams_range_text(g: Range) -> str:
    """The whole interval: ``0.4 to 13 g``, in the unit of the estimate, which it stands beside."""
    return _range(g.low, g.estimate, g.high, _MASSES)


def progress_text(spent: Range, expected: Range | None) -> str:
    """``5.67 of 8.44 mg`` for a progress bar; ``up to 47 of 270 mg`` where only a range is known."""
    last = spent if expected is None else expected
    up_to = "up to " if last.estimate is None else ""
    so_far, in_all = (figure.high if figure.estimate is None else figure.estimate for figure in (spent, last))
    size, unit = _unit(in_all, _MASSES)
    if expected is None:
        return f"{up_to}{number(so_far / size)} {unit}"
    return f"{up_to}{number(so_far / size)} of {number(in_all / size)} {unit}"


def place_text(zone_name: str, month: int | None, year: int | None) -> str:
    """``in France``, ``in France in July``, each with the year of its level; a contract has none."""
    when = f" in {MONTHS[month - 1]}" if month else ""
    return f"in {zone_name}{when}{f' (level of {year})' if year else ''}"


def energy_text(energy_j: float | None) -> str:
    """Joules in the unit that reads best: ``1.23 kWh``, ``45 Wh``; ``no reading`` for ``None``."""
    if energy_j is None:
        return "no reading"
    unit_j, unit = _unit(energy_j, _ENERGIES)
    return f"{number(energy_j / unit_j)} {unit}"


def energy_range_text(low_j: float | None, energy_j: float | None, high_j: float | None) -> str:
    """The interval of an energy: ``20 to 80 Wh``, in the unit of the estimate; ``no reading`` without an end."""
    return "no reading" if low_j is None or high_j is None else _range(low_j, energy_j, high_j, _ENERGIES)


def one_line(text: str) -> str:
    """Somebody's text without line ends and without what does not print, so that it stays where it is put."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """``text`` without what would end a line, move a terminal's cursor or change its colours."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _range(low: float, estimate: float | None, high: float, units: tuple[tuple[float, str], ...]) -> str:
    size, unit = _unit(estimate or high, units)
    return f"{_ends(low / size, high / size)} {unit}"


def _ends(low: float, high: float) -> str:
    first, last = number(low, 2), number(high, 2)
    return first if first == last else f"{first} to {last}"


def _unit(value: float, units: tuple[tuple[float, str], ...]) -> tuple[float, str]:
    """The largest unit of which there is at least one, after rounding; the smallest for less; the plain one for 0."""
    if value == 0:
        return next(pair for pair in units if pair[0] == 1.0)
    return next((pair for pair in units if abs(value) * 1.0005 >= pair[0]), units[-1])
