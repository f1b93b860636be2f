"""Figures in words: units, ranges, durations. An absent figure is "not measured", never 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lichen.report.evidence import Facts

NOT_MEASURED = "not measured"
NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Unit:
    """A unit and how many base units (joule, gram) it has."""

    symbol: str
    size: float


JOULES = (Unit("J", 1.0), Unit("kJ", 1e3), Unit("MJ", 1e6), Unit("GJ", 1e9))
WATT_HOURS = (Unit("Wh", 3.6e3), Unit("kWh", 3.6e6), Unit("MWh", 3.6e9))
GRAMS = (Unit("µg", 1e-6), Unit("mg", 1e-3), Unit("g", 1.0), Unit("kg", 1e3), Unit("t", 1e6))
GRAMS_PER_KWH = (Unit("g/kWh", 1.0),)


@dataclass(frozen=True)
class Span:
    """A figure and the interval it lies in; no estimate: only the interval is known."""

    low: float | None
    estimate: float | None
    high: float | None

    @property
    def top(self) -> float | None:
        """The largest figure known."""
        return max((value for value in (self.low, self.estimate, self.high) if value is not None), default=None)

    @property
    def is_range(self) -> bool:
        """Whether an interval is known and no figure within it."""
        return self.estimate is None and self.low is not None and self.high is not None


def energy_span(facts: Facts) -> Span:
    """The ``low_j``, ``energy_j`` and ``high_j`` of an energy record."""
    return Span(facts.number("low_j"), facts.number("energy_j"), facts.number("high_j"))


def plain_span(facts: Facts) -> Span:
    """The ``low``, ``estimate`` and ``high`` of a record in grams or grams per kilowatt hour."""
    return Span(facts.number("low"), facts.number("estimate"), facts.number("high"))


def unit_for(value: float, units: tuple[Unit, ...]) -> Unit:
    """The largest of ``units`` (ascending) that ``value`` fills at least once, or the smallest of them."""
    return max((unit for unit in units if abs(value) >= unit.size), key=lambda unit: unit.size, default=units[0])


def figure(value: float, significant: int = 3) -> str:
    """``value`` with that many significant digits, without exponent: 0.0123, 1.50, 1,234."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{significant - 1}e}")
    decimals = significant - 1 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{min(max(decimals, 0), 12)}f}"


def quantity(value: float | None, units: tuple[Unit, ...]) -> str:
    """A figure with its unit: ``1.50 kJ``."""
    if value is None:
        return NOT_MEASURED
    unit = unit_for(value, units)
    return f"{figure(value / unit.size)} {unit.symbol}"


def span_parts(span: Span, units: tuple[Unit, ...]) -> tuple[str, str]:
    """The figure and its ends, ``("1.50 kJ", "0.90–3.1")``; ends have two digits, because they are no better known.

    Without an estimate the ends are the figure: ``("0.90–3.1 kJ", "")``; without anything: ``("not measured", "")``.
    """
    if span.top is None:
        return NOT_MEASURED, ""
    unit = unit_for(span.estimate if span.estimate is not None else span.top, units)
    low, high = (None if end is None else figure(end / unit.size, 2) for end in (span.low, span.high))
    if span.estimate is None:
        ends = f"{low}–{high}" if low and high else f"at least {low}" if low else f"at most {high}"
        return f"{ends} {unit.symbol}", ""
    exact = span.low == span.high == span.estimate
    return f"{figure(span.estimate / unit.size)} {unit.symbol}", f"{low}–{high}" if low and high and not exact else ""


def span_words(span: Span, units: tuple[Unit, ...]) -> str:
    """``span_parts`` in one text: ``1.50 kJ (0.90–3.1)``."""
    best, ends = span_parts(span, units)
    return f"{best} ({ends})" if ends else best


def duration(seconds: float | None) -> str:
    """``45 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return NOT_MEASURED
    if seconds < 10:
        return f"{figure(seconds, 2)} s"
    whole = round(seconds)
    for name, size, smaller, smaller_size in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def whole(value: float | None) -> str:
    """A count with separators: ``1,234``; absent: ``not recorded``."""
    return NOT_RECORDED if value is None else f"{value:,.0f}"


def shape(sizes: tuple[float, ...]) -> str:
    """``64 × 64``."""
    return " × ".join(f"{size:g}" for size in sizes) or NOT_RECORDED


_UNIT_SUFFIXES = {"_j": "J", "_g": "g", "_s": "s", "_mm": "mm", "_kwh": "kWh", "_w": "W"}


def label(key: str) -> str:
    """A JSON key as a row's name: ``duration_s`` -> ``Duration (s)``."""
    unit = ""
    for suffix, symbol in _UNIT_SUFFIXES.items():
        if key.endswith(suffix):
            key, unit = key.removesuffix(suffix), f" ({symbol})"
    words = key.replace("_", " ").strip()
    return words[:1].upper() + words[1:] + unit


def rows_of(facts: Facts, *, depth: int = 3) -> tuple[tuple[str, str], ...]:
    """(label, value) for every text, number, flag and list of them in ``facts``; nested objects prefix their labels."""
    rows: list[tuple[str, str]] = []
    for key in facts.keys():  # noqa: SIM118 (not a dict)
        below = facts.at(key)
        if below.keys() and depth > 1:
            for name, value in rows_of(below, depth=depth - 1):
                rows.append((f"{label(key)}: {name[:1].lower()}{name[1:]}", value))
        elif (value_words := _scalar_words(below)) is not None:
            rows.append((label(key), value_words))
    return tuple(rows)


def _scalar_words(facts: Facts) -> str | None:
    if (number := facts.number()) is not None:
        return f"{number:,.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.4g}"
    if (flag := facts.flag()) is not None:
        return "yes" if flag else "no"
    if (text := facts.text()) is not None:
        return text
    words = [word for entry in facts.each() if (word := _scalar_words(entry)) is not None]
    return ", ".join(words) or None
