"""From data to positions on paper: linear and logarithmic scales with round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """Maps ``low``..``high`` in data to ``start``..``end`` on paper; values beyond are held at the ends."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False
    ticks: tuple[float, ...] = ()

    def __call__(self, value: float) -> float:
        """The position of ``value`` on paper."""
        value = min(max(value, self.low), self.high)
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


LEAST_SIZE = 1e-99
"""Smaller values count as zero: the margins and steps of a scale would underflow."""


def bar_scale(top: float, start: float, end: float) -> Scale:
    """A linear scale from zero to a round figure at or above ``top``; a bar's length is then its value."""
    step = _round_step((top or 1.0) / 4)
    count = max(1, math.ceil((top or 1.0) / step - 1e-9))
    return Scale(0.0, count * step, start, end, ticks=tuple(i * step for i in range(count + 1)))


def line_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A scale that holds ``values``: logarithmic where they are positive and span more than a decade, else linear."""
    sized = [value if abs(value) > LEAST_SIZE else 0.0 for value in values]
    low, high = min(sized), max(sized)
    if low > 0 and high / low > 10:
        margin = (high / low) ** 0.04
        low, high = low / margin, high * margin
        return Scale(low, high, start, end, is_log=True, ticks=_log_ticks(low, high))
    return interval_scale(sized, start, end)


def interval_scale(values: Sequence[float], start: float, end: float) -> Scale:
    """A linear scale between round figures that holds ``values``, with or without zero."""
    sized = [value if abs(value) > LEAST_SIZE else 0.0 for value in values]
    low, high = min(sized), max(sized)
    step = _round_step(((high - low) or abs(high) or 1.0) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return Scale(first * step, last * step, start, end, ticks=tuple(i * step for i in range(first, last + 1)))


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= least * (1 - 1e-9)), 10 * power)


def _log_ticks(low: float, high: float) -> tuple[float, ...]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / 6))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    candidates = (factor * 10.0**power for power in range(first, last + 1, every) for factor in factors)
    return tuple(tick for tick in candidates if low <= tick <= high)


def tick_label(value: float) -> str:
    """A short tick: 0, 0.02, 10⁻⁵, 200k, 1.5M."""
    if value == 0:
        return "0"
    size = abs(value)
    if size < 1e-3 or size >= 1e12:
        mantissa, exponent = f"{value:.2e}".split("e")
        power = "10" + str(int(exponent)).translate(_SUPERSCRIPTS)
        return power if float(mantissa) == 1 else f"{float(mantissa):g}·{power}"
    for symbol, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= unit:
            return f"{value / unit:.4g}{symbol}"
    return f"{value:.4g}"
