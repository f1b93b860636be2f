"""A machine that draws 10 W by a clock that tests move."""

from __future__ import annotations

from lichen.energy.readings import Reading, measured


class Clock:
    """A clock that work moves, and the meter of a machine that draws 10 W by it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def describe(self) -> str:
        return "10 W"

    def read(self) -> tuple[Reading, ...]:
        return (measured("cpu", "counter", 10 * self.now_s, error=0.0),)
