"""Shares with their intervals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """A share between 0 and 1 with its interval; no estimate: only the interval is known."""

    estimate: float | None
    low: float
    high: float
