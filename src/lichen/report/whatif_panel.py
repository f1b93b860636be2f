"""The figures that the "What if?" panel calculates with in the reader's browser, and the script that does it.

The script, ``whatif.js``, is our own constant file and holds no data. The figures stand beside it in a data block that
no browser runs. So the page's Content-Security-Policy can name the hash of the one script that may run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from markupsafe import Markup

from lichen.carbon import PUE_RANGE, Range, Table, Zone, intensity, load_table
from lichen.carbon.intensity import typical_season
from lichen.carbon.words import MONTHS
from lichen.errors import CarbonError
from lichen.report.evidence import Facts
from lichen.report.formats import GRAMS_PER_KWH, Span, span_words
from lichen.report.scripts import inert, inline

MOST_IMAGES = 1_000_000_000
MOST_STEPS = 100_000
"""Of more, the figures would be unreadable, and nobody asks."""

_ENERGIES = ("training_j", "denoise_j", "decode_j", "rest_j", "compile_j")
_COUNTS = ("images", "calls", "batch")
_RULE = ("calls_at_no_step", "calls_per_step")


@dataclass(frozen=True)
class Panel:
    """What the template is given; ``script`` and ``figures`` go into the page as they are."""

    script: Markup
    script_hash: str
    """As a Content-Security-Policy names it, e.g. ``sha256-...``."""
    figures: Markup
    months: tuple[str, ...]
    month: int | None
    """The run's own."""
    pue: str
    """Empty: not given; then the high end takes ``most_pue``."""
    most_pue: float
    images: int
    """0: nothing was drawn, so nobody knows what an image or a step costs."""
    steps: int | None
    """None: its images are drawn without any."""
    most_images: int
    most_steps: int
    attributions: tuple[str, ...]


def whatif_panel(summary: Facts, table: Table | None = None) -> Panel | None:
    """The panel of a run; ``None`` where the summary does not say what was used, and what grows with what."""
    table = table or load_table()
    run = _run(summary, table)
    if run is None:
        return None
    figures = {"run": run, **_of_table(table)}
    script = inline("whatif.js")
    return Panel(
        script=script.text,
        script_hash=script.sha256,
        figures=inert(figures),
        months=MONTHS,
        month=run["month"],
        pue="" if run["pue"] is None else f"{run['pue']:g}",
        most_pue=PUE_RANGE[1],
        images=run["images"],
        steps=run["steps"],
        most_images=max(MOST_IMAGES, run["images"]),
        most_steps=max(MOST_STEPS, run["steps"] or 0),
        attributions=tuple(dict.fromkeys((table.attribution, run["attribution"]))),
    )


def _run(summary: Facts, table: Table) -> dict[str, Any] | None:
    """The run as it was; ``None`` if a figure is missing or impossible."""
    footprint, carbon = summary.at("footprint"), summary.at("carbon")
    energies = {name: found for name in _ENERGIES if (found := _range(footprint.at(name))) is not None}
    counts = {name: count for name in _COUNTS if (count := _count(footprint, name)) is not None}
    rule = {name: term for name in _RULE if (term := footprint.number(name)) is not None}
    g_per_kwh, pue = _range(carbon.at("g_per_kwh")), carbon.number("pue")
    if g_per_kwh is None or len(energies) + len(counts) + len(rule) < len(_ENERGIES + _COUNTS + _RULE):
        return None
    if not counts["batch"] or (counts["images"] and not counts["calls"]) or (pue is not None and pue < 1):
        return None
    steps = _count(footprint, "steps")
    if steps is None and rule["calls_per_step"]:
        return None
    zone, month, attribution = carbon.text("zone"), _count(carbon, "month"), carbon.text("attribution") or ""
    name = carbon.text("zone_name") or zone or "a place without a name"
    is_of_table = _is_of_table(zone, month, g_per_kwh, table)
    is_own_figure = g_per_kwh.estimate is not None and not is_of_table
    own = f", {span_words(Span(**asdict(g_per_kwh)), GRAMS_PER_KWH)}" if is_own_figure else ""
    return {
        **{key: _ends(energy) for key, energy in energies.items()},
        **counts,
        **rule,
        "steps": steps,
        "label": name + own,
        "name": name,
        "zone": zone if is_of_table else None,
        "month": month if month is not None and 1 <= month <= 12 else None,
        "year": _count(carbon, "year"),
        "g_per_kwh": _ends(g_per_kwh),
        "note": carbon.text("note") or "",
        "pue": pue,
        "attribution": attribution,
        "data": data_set(attribution),
    }


def _is_of_table(zone: str | None, month: int | None, g_per_kwh: Range, table: Table) -> bool:
    """Whether the table says the same of the place: then its other months are those of the run, too.

    A contract's figure, one of the user's own table and one of an older table are not; they stand for themselves.
    """
    if zone is None:
        return False
    try:
        return intensity(zone, month, table=table).g_per_kwh == g_per_kwh
    except CarbonError:
        return False


def _of_table(table: Table) -> dict[str, Any]:
    return {
        "countries": _zones(table.countries()),
        "states": _zones(zone for zone in table.zones.values() if not zone.iso3),
        "typical_season": typical_season(table),
        "pue_range": PUE_RANGE,
        "data": data_set(table.attribution),
    }


def _zones(zones: Iterable[Zone]) -> dict[str, list[Any]]:
    """By code: name, year, level, and twelve seasonal indices or null."""
    return {
        zone.code: [zone.name, zone.year, _ends(zone.level), zone.seasonal_index and [*map(_ends, zone.seasonal_index)]]
        for zone in zones
    }


def data_set(attribution: str) -> str:
    """The name of the data in an attribution line, e.g. ``Ember, Monthly and Yearly Electricity Data``."""
    return attribution.partition(":")[2].partition(", CC")[0].strip(" .") or attribution


def _ends(figure: Range) -> list[float | None]:
    return [figure.low, figure.estimate, figure.high]


def _range(facts: Facts) -> Range | None:
    low, high = facts.number("low"), facts.number("high")
    if low is None or high is None or low < 0:
        return None
    try:
        return Range(low, facts.number("estimate"), high)
    except ValueError:
        return None


def _count(facts: Facts, name: str) -> int | None:
    number = facts.number(name)
    return int(number) if number is not None and number >= 0 and number.is_integer() else None
