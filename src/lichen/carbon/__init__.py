"""From joules to grams of CO2e: intensity by place and month, PUE, everyday equivalents.

Pure functions on plain numbers; nothing is measured here and nothing is fetched. Three steps:

    place = intensity("FR", month=7)
    cost = grams((low_j, estimate_j, high_j), place, pue=1.2)
    for equivalent in equivalents(cost): ...

Figures must be shown with ``place.attribution``. For other people's forms there are ``sci`` (ISO/IEC 21031),
``emissions_csv`` and ``read_emissions`` (codecarbon), ``model_card`` (Hugging Face) and ``methods`` (a paper).
"""

from lichen.carbon.cards import Account, Part, methods, model_card
from lichen.carbon.codecarbon import EmissionsRow, emissions_csv, read_emissions
from lichen.carbon.embodied import Embodied
from lichen.carbon.emissions import J_PER_KWH, PUE_RANGE, building_kwh, grams
from lichen.carbon.equivalents import Equivalent, equivalents
from lichen.carbon.intensity import Intensity, contract, find_zone, intensity
from lichen.carbon.ranges import Range
from lichen.carbon.sci import Sci, sci
from lichen.carbon.table import load_table
from lichen.carbon.whatif import (
    Footprint,
    Outcome,
    Plan,
    all_year,
    everywhere,
    overtakes_at,
    ratio_text,
    synthesis_j,
    what_if,
)
from lichen.carbon.words import (
    energy_range_text,
    energy_text,
    figures,
    grams_range_text,
    grams_text,
    mass,
    number,
    place_text,
    progress_text,
)
from lichen.carbon.zones import Table, Zone

__all__ = [
    "J_PER_KWH",
    "PUE_RANGE",
    "Account",
    "Embodied",
    "EmissionsRow",
    "Equivalent",
    "Footprint",
    "Intensity",
    "Outcome",
    "Part",
    "Plan",
    "Range",
    "Sci",
    "Table",
    "Zone",
    "all_year",
    "building_kwh",
    "contract",
    "emissions_csv",
    "energy_range_text",
    "energy_text",
    "equivalents",
    "everywhere",
    "figures",
    "find_zone",
    "grams",
    "grams_range_text",
    "grams_text",
    "intensity",
    "load_table",
    "mass",
    "methods",
    "model_card",
    "number",
    "overtakes_at",
    "place_text",
    "progress_text",
    "ratio_text",
    "read_emissions",
    "sci",
    "synthesis_j",
    "what_if",
]
