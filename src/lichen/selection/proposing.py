"""Which settings a search tries: every combination, or draws; pure functions of plain values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lichen.errors import ConfigError
from lichen.seeds import mix_seed
from lichen.selection.types import Setting


@dataclass(frozen=True)
class Between:
    """A setting that may take any value between two, both included."""

    low: float
    high: float
    logarithmic: bool = False
    """Each factor is as likely as another, rather than each difference; needs ``low`` above 0."""
    whole: bool = False
    """Whole numbers only."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ConfigError(f"no value lies between {self.low:g} and {self.high:g}", fix="put the smaller one first")
        if self.logarithmic and self.low <= 0:
            raise ConfigError(f"{self.low:g} has no logarithm", fix="let the span begin above 0, or draw it linearly")
        if self.whole and math.ceil(self.low) > math.floor(self.high):
            raise ConfigError(f"no whole number lies between {self.low:g} and {self.high:g}", fix="widen the span")


Space = Mapping[str, Sequence[Setting] | Between]
"""Of each varied setting its values, or the two that it lies between."""


def grid(space: Space) -> list[dict[str, Setting]]:
    """Every combination of values, the last setting varying fastest.

    Raises ConfigError for an empty space, and for a span, which has no end of values.
    """
    _check(space)
    listed: list[Sequence[Setting]] = []
    for name, values in space.items():
        if isinstance(values, Between):
            raise ConfigError(f"a grid cannot have all values of {name}", fix="list some of them, or search at random")
        listed.append(values)
    return [dict(zip(space, combination, strict=True)) for combination in itertools.product(*listed)]


def at_random(space: Space, seed: int, number: int) -> dict[str, Setting]:
    """Proposal ``number`` of a random search (Bergstra and Bengio, JMLR 2012): a function of (seed, number) alone.

    Each setting is drawn by itself, so one more setting changes nothing of the others. Raises ConfigError for an empty
    space.
    """
    _check(space)
    return {name: _drawn(values, mix_seed(seed, "proposal", name, number)) for name, values in space.items()}


def _drawn(values: Sequence[Setting] | Between, seed: int) -> Setting:
    rng = np.random.default_rng(seed)
    if not isinstance(values, Between):
        return values[int(rng.integers(len(values)))]
    share = float(rng.random())
    low, high = values.low, values.high
    if values.whole:  # each whole number has the room of half a step on both sides
        low, high = math.ceil(low) - 0.5, math.floor(high) + 0.5
    if values.logarithmic:
        found = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        found = low + share * (high - low)
    if values.whole:
        return float(min(max(round(found), math.ceil(values.low)), math.floor(values.high)))
    return min(max(found, values.low), values.high)


def _check(space: Space) -> None:
    empty = [name for name, values in space.items() if not isinstance(values, Between) and not values]
    if not space or empty:
        what = f"{empty[0]} has no values" if empty else "the space has no settings"
        raise ConfigError(f"{what}, so there is nothing to choose among", fix="list at least one value of one setting")
