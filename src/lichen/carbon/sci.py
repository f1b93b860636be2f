"""Software Carbon Intensity (ISO/IEC 21031:2024): SCI = ((E x I) + M) / R.

E is energy, I the carbon intensity of electricity, M the share of the hardware's making, R the number of functional
units. A unit is one released synthetic image: one that the audit has not called a copy.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from lichen.carbon.embodied import check_embodied
from lichen.carbon.intensity import Intensity
from lichen.carbon.ranges import Range
from lichen.carbon.words import one_line
from lichen.errors import CarbonError

STANDARD = "ISO/IEC 21031:2024"
FUNCTIONAL_UNIT = "one released synthetic image"


@dataclass(frozen=True)
class Sci:
    """A score with all that went into it."""

    energy_kwh: Range
    """E, the overhead of the building included."""
    intensity: Intensity
    """I, with its place and whom to credit."""
    embodied_g: float | None
    """M; ``None`` where nobody gave it, which is not 0."""
    embodied_source: str | None
    released: int
    """R."""
    g_per_image: Range
    """The score."""

    def as_json(self) -> dict[str, Any]:
        """Score and terms for other programs, units in the names."""
        place = self.intensity
        return {
            "standard": STANDARD,
            "formula": "((E x I) + M) / R",
            "functional_unit": FUNCTIONAL_UNIT,
            "score_g_per_image": asdict(self.g_per_image),
            "E_kwh": asdict(self.energy_kwh),
            "I_g_per_kwh": asdict(place.g_per_kwh),
            "M_g": self.embodied_g,
            "M_source": None if self.embodied_source is None else one_line(self.embodied_source),
            "R": self.released,
            "zone": place.zone,
            "zone_name": place.zone_name,
            "month": place.month,
            "year": place.year,
            "note": place.note,
            "attribution": place.attribution,
        }


def sci(
    energy_kwh: Range,
    intensity: Intensity,
    released: int,
    *,
    embodied_g: float | None = None,
    embodied_source: str | None = None,
) -> Sci:
    """The score of ``released`` images that together took ``energy_kwh``, the overhead of the building included.

    Low ends go with low ends and high with high; there is no estimate where the energy or the place has none.

    Raises ``CarbonError`` if no image was released, or for embodied grams that are impossible or without source.
    """
    if released < 1:
        raise CarbonError(
            f"SCI is emissions per released synthetic image, and {released} images were released",
            fix="draw more images, and audit them; or give the total in grams, which needs none",
        )
    total_g = energy_kwh * intensity.g_per_kwh
    if embodied_g is not None:
        check_embodied(embodied_g, embodied_source)
        total_g += Range(embodied_g, embodied_g, embodied_g)
    source = None if embodied_g is None else embodied_source
    return Sci(energy_kwh, intensity, embodied_g, source, released, total_g.over(released))
