"""From the settings of a place to its carbon intensity."""

from __future__ import annotations

from lichen.carbon import Intensity, contract, intensity, load_table
from lichen.config import CarbonConfig


def place_of(carbon: CarbonConfig) -> Intensity:
    """The intensity that the settings name: a contract's, or a table's for place and month.

    Raises:
        CarbonError: the place is in no table, or the table's file cannot be used.
    """
    table = None if carbon.intensity_file is None else load_table(carbon.intensity_file)
    if carbon.intensity is not None:
        return contract(carbon.intensity, carbon.grid, table=table)
    return intensity(carbon.grid, carbon.month, table=table)
