"""Settings of grams: the place, the season and the building."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from lichen.bounds import between, positive


@dataclass(frozen=True)
class CarbonConfig:
    """Where and when the energy is used; a view, applied after measuring."""

    grid: Annotated[str | None, arg(aliases=("--grid",))] = None
    """Country (ISO 3166: FR or FRA) or US state (US-CA) whose electricity is used; unknown: a range, never a guess."""
    month: Annotated[int | None, arg(aliases=("--month",))] = None
    """Month 1 to 12 whose intensity applies; default: the yearly mean."""
    pue: Annotated[float | None, arg(aliases=("--pue",))] = None
    """Power usage effectiveness of the building; default: a range from 1.0 to 1.58 (world average)."""
    intensity: Annotated[float | None, arg(aliases=("--intensity",))] = None
    """Grams of CO2e per kWh as your supplier states them, upstream included; default: from a table."""
    intensity_file: Annotated[Path | None, arg(aliases=("--intensity-file",))] = None
    """CSV of newer intensities: rows of zone,year,month,gco2e_per_kwh; default: the packaged table (Ember)."""
    embodied_g_per_h: Annotated[float | None, arg(aliases=("--embodied-g-per-h",))] = None
    """Grams of CO2e per hour of use from making the hardware: its footprint / hours of its life; default: left out."""
    embodied_source: Annotated[str | None, arg(aliases=("--embodied-source",))] = None
    """Where the embodied figure is from; it must be told with it."""

    def __post_init__(self) -> None:
        if self.month is not None:
            between("carbon.month", self.month, 1, 12)
        if self.pue is not None:
            between("carbon.pue", self.pue, 1.0, 10.0)
        if self.intensity is not None:
            positive("carbon.intensity", self.intensity)
        if self.embodied_g_per_h is not None:
            positive("carbon.embodied-g-per-h", self.embodied_g_per_h)
