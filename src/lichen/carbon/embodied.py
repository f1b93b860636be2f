"""The making of the hardware: grams of CO2e per hour of its use, from somebody's footprint of it."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.errors import CarbonError


@dataclass(frozen=True)
class Embodied:
    """What an hour of use costs of the hardware's making: its footprint / the hours of its life.

    lichen has no such figures of its own. Raises ``CarbonError`` for one below 0 or not finite, or without a source.
    """

    g_per_h: float
    source: str
    """Whose figure it is, e.g. a manufacturer's data sheet, and which life was assumed."""

    def __post_init__(self) -> None:
        check_embodied(self.g_per_h, self.source)

    def grams(self, duration_s: float) -> float:
        """Grams of CO2e of ``duration_s`` seconds of use."""
        if not 0 <= duration_s < float("inf"):
            raise CarbonError(f"a duration of {duration_s} s is impossible", fix="give seconds, 0 or more")
        return self.g_per_h * duration_s / 3600


def check_embodied(g: float, source: str | None) -> None:
    """Raise ``CarbonError`` unless ``g`` is a possible figure and ``source`` says whose."""
    if not 0 <= g < float("inf"):
        raise CarbonError(f"embodied emissions of {g} g are impossible", fix="give grams, 0 or more, or leave them out")
    if source is None or not source.strip():
        raise CarbonError(
            f"embodied emissions of {g:g} g have no source",
            fix="say whose figure it is, e.g. the data sheet and the years of life assumed, or leave it out",
        )
