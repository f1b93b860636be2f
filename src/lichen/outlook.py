"""What a run will have used when it is over, seen from the midst of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lichen.energy import NO_READING, Energy, Forecast

LEAST_SHARE = 0.01
"""A piece of work is judged by its own pace once so much of it was done, and until then by the forecast."""


class Outlook:
    """Joins a forecast with what the work at hand really takes.

    ``done`` says how much of a phase an earlier process did, in the forecast's units.
    """

    def __init__(self, forecast: Forecast, done: Mapping[str, float]) -> None:
        self._ahead = forecast.remaining(done)
        self._doing: tuple[str, ...] = ()
        self._spent_before = NO_READING

    @property
    def save_s(self) -> float:
        """How long a checkpoint takes."""
        return self._ahead.save_s

    def begin(self, phases: Sequence[str], spent: Energy) -> None:
        """Work on ``phases`` begins when so much was ``spent`` in all."""
        self._doing, self._spent_before = tuple(phases), spent

    def end(self) -> None:
        """The work at hand is over."""
        self._ahead = self._ahead.without(self._doing)
        self._doing = ()

    def expected(self, spent: Energy, share: float) -> Energy:
        """The energy of everything at the end, when so much is ``spent`` and a ``share`` of the work at hand done."""
        return spent + self._rest(spent, share) + self._ahead.without(self._doing).energy

    def _rest(self, spent: Energy, share: float) -> Energy:
        """What the work at hand still takes."""
        now, before = spent.bounds_j(), self._spent_before.bounds_j()
        if share < LEAST_SHARE or now is None:
            return self._ahead.part(self._doing).energy.scaled(1 - share)
        low, middle, high = (max(0.0, new - old) for new, old in zip(now, before or (0.0, 0.0, 0.0), strict=True))
        return Energy(low, middle, high).scaled((1 - share) / share)
