"""A meter that says what it is told: recorded or made-up readings, for tests and rehearsals."""

from __future__ import annotations

from collections.abc import Sequence

from lichen.energy.readings import Reading


class ReplayMeter:
    """Each ``read()`` gives the next of ``recorded``; the last one again when there are no more."""

    def __init__(
        self, recorded: Sequence[tuple[Reading, ...]], description: str = "replay of recorded readings"
    ) -> None:
        if not recorded:
            raise ValueError("a replay needs at least one recorded reading")
        self._recorded, self._description = tuple(recorded), description
        self._next = 0

    def describe(self) -> str:
        """The description given."""
        return self._description

    def read(self) -> tuple[Reading, ...]:
        """The next recorded readings."""
        readings = self._recorded[min(self._next, len(self._recorded) - 1)]
        self._next += 1
        return readings
