"""From the settings to the carbon intensity of a place, and to the footprint of making the hardware."""

from __future__ import annotations

from lichen.carbon import Embodied, Intensity, contract, intensity, load_table
from lichen.config import CarbonConfig
from lichen.errors import ConfigError


def place_of(carbon: CarbonConfig) -> Intensity:
    """The intensity that the settings name: a contract's, or a table's for place and month.

    Raises:
        CarbonError: the place is in no table, or the table's file cannot be used.
    """
    table = None if carbon.intensity_file is None else load_table(carbon.intensity_file)
    if carbon.intensity is not None:
        return contract(carbon.intensity, carbon.grid, table=table)
    return intensity(carbon.grid, carbon.month, table=table)


def embodied_of(carbon: CarbonConfig) -> Embodied | None:
    """What an hour costs of the hardware's making, if the settings say so.

    Raises:
        ConfigError: there is a figure without its source, or the other way round.
    """
    figure, source = carbon.embodied_g_per_h, carbon.embodied_source
    if (figure is None) != (source is None):
        lacking = "source" if source is None else "figure"
        raise ConfigError(
            f"the embodied emissions have no {lacking}",
            fix="give both --embodied-g-per-h and --embodied-source, or neither",
        )
    return None if figure is None or source is None else Embodied(figure, source)
