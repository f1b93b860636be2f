"""What a run will have used when it is over, seen from the midst of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lichen.energy import NO_READING, Energy, Forecast
from lichen.energy.forecast import DRIFT, Z_90

LEAST_SHARE = 0.01
"""A piece of work is judged by its own pace once so much of it was done, and until then by the forecast."""

PASS_SHARE = 1 / 3
"""Of the work of a training step: a look at an image needs no gradient, which takes twice as much as the pass."""


@dataclass(frozen=True)
class Seen:
    """How much of a training is done: images trained on, and images looked at in validations."""

    trained: float
    validated: float

    @property
    def work(self) -> float:
        """In images trained on."""
        return self.trained + PASS_SHARE * self.validated


def expected_of_training(spent: Energy, done: Seen, whole: Seen) -> Energy:
    """The energy of a ``whole`` training of which the part that is ``done``, the first, took what is ``spent``.

    Pure extrapolation, with validations counted by their arithmetic: one epoch predicts the rest (Anthony et al., arXiv
    2007.03051). The bounds are the meters' and a 90 % interval for how far the machine drifts on the rest.

    Raises:
        ValueError: nothing is done, or more than the whole.
    """
    share = done.work / whole.work if whole.work > 0 else 0.0
    if not 0 < share <= 1:
        raise ValueError(f"{done} is no part of {whole}")
    bounds_j, rest = spent.bounds_j(), 1 / share - 1
    if bounds_j is None:
        return NO_READING
    margin, (low, middle, high) = math.exp(Z_90 * DRIFT), bounds_j
    return Energy(low * (1 + rest / margin), middle * (1 + rest), high * (1 + rest * margin))


class Outlook:
    """Joins a forecast with what the work at hand really takes.

    ``done`` says how much of a phase an earlier process did, in the forecast's units.
    """

    def __init__(self, forecast: Forecast, done: Mapping[str, float]) -> None:
        self._ahead = forecast.remaining(done)
        self._doing: tuple[str, ...] = ()
        self._spent_before = NO_READING
        self._own_pace_from = LEAST_SHARE

    @property
    def save_s(self) -> float:
        """How long a checkpoint takes."""
        return self._ahead.save_s

    def begin(self, phases: Sequence[str], spent: Energy, own_pace_from: float = LEAST_SHARE) -> None:
        """Work on ``phases`` begins when so much was ``spent`` in all, and is judged by the forecast up to a share."""
        self._doing, self._spent_before, self._own_pace_from = tuple(phases), spent, own_pace_from

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
        if share < self._own_pace_from or now is None:
            return self._ahead.part(self._doing).energy.scaled(1 - share)
        low, middle, high = (max(0.0, new - old) for new, old in zip(now, before or (0.0, 0.0, 0.0), strict=True))
        return Energy(low, middle, high).scaled((1 - share) / share)
