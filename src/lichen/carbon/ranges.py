"""A figure with what is not known about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high`` with ``estimate`` between, or ``None`` where any single figure would be a guess."""

    low: float
    estimate: float | None
    high: float

    def __post_init__(self) -> None:
        middle = self.low if self.estimate is None else self.estimate
        if not self.low <= middle <= self.high:
            raise ValueError(f"a range needs low <= estimate <= high, not {self.low}, {self.estimate}, {self.high}")

    def over(self, parts: float) -> Range:
        """The share of one of ``parts`` equal parts, e.g. per released image."""
        estimate = None if self.estimate is None else self.estimate / parts
        return Range(self.low / parts, estimate, self.high / parts)

    def times(self, factor: float) -> Range:
        """So many times this figure."""
        estimate = None if self.estimate is None else self.estimate * factor
        return Range(self.low * factor, estimate, self.high * factor)

    def __add__(self, other: Range) -> Range:
        """The sum of two figures whose errors go the same way; without an estimate if either has none."""
        if self.estimate is None or other.estimate is None:
            return Range(self.low + other.low, None, self.high + other.high)
        return Range(self.low + other.low, self.estimate + other.estimate, self.high + other.high)

    def __mul__(self, other: Range) -> Range:
        """The product of two figures, none of them negative; without an estimate if either has none."""
        if self.estimate is None or other.estimate is None:
            return Range(self.low * other.low, None, self.high * other.high)
        return Range(self.low * other.low, self.estimate * other.estimate, self.high * other.high)
