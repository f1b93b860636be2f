"""What the run cost, phase by phase: joules with the source of each reading, and grams as a view of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lichen.carbon.words import MONTHS
from lichen.report.charts import Bar, Kind, Part, bar_chart, swatch
from lichen.report.evidence import Facts
from lichen.report.formats import (
    GRAMS,
    GRAMS_PER_KWH,
    JOULES,
    NOT_MEASURED,
    NOT_RECORDED,
    WATT_HOURS,
    Span,
    duration,
    energy_span,
    plain_span,
    quantity,
    span_parts,
    span_words,
    unit_for,
)

_KINDS: dict[str, Kind] = {"counter": "counter", "polled": "polled", "estimated": "estimated"}
_MEANINGS: dict[str, str] = {
    "counter": "read from a hardware energy counter",
    "polled": "measured: power polled and summed",
    "estimated": "from a model of the hardware or the grid, not measured",
    "range": "no single figure is known",
    "whisker": "lowest to highest",
}
_WORST_LAST = ("counter", "polled", "estimated", "absent")


@dataclass(frozen=True)
class PhaseRow:
    """A row of the cost table; ``sources`` are (component, source, words)."""

    phase: str
    time: str
    energy: str
    kwh: str
    grams: str
    sources: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class CostSection:
    """Everything that the page says of energy and carbon; ``energy`` and ``grams`` are (figure, ends)."""

    energy: tuple[str, str]
    energy_j: str
    energy_basis: str
    grams: tuple[str, str]
    grams_basis: str
    rows: tuple[PhaseRow, ...]
    total: PhaseRow
    energy_chart: Markup | None
    grams_chart: Markup | None
    legend: tuple[tuple[Markup, str, str], ...]
    method: str | None
    equivalents: tuple[str, ...]
    per_image: str
    time_s: float | None
    meters: tuple[str, ...]
    attribution: str | None


def cost_section(energy: Facts, carbon: Facts) -> CostSection:
    """The ``energy`` and ``carbon`` parts of a summary; either may be absent or incomplete."""
    phases = energy.each("phases")
    grams_of = {phase.text("phase"): plain_span(phase) for phase in carbon.each("phases")}
    total, total_g = energy_span(energy.at("total")), plain_span(carbon.at("total_g"))
    times = [seconds for phase in phases if (seconds := phase.number("duration_s")) is not None]
    energy_bars = [_energy_bar(phase) for phase in phases]
    grams_bars = [_grams_bar(phase, grams_of.get(phase.text("phase"), _UNKNOWN)) for phase in phases]
    return CostSection(
        energy=span_parts(total, WATT_HOURS),
        energy_j=quantity(total.estimate, JOULES),
        energy_basis=_basis(phases, energy.texts("absent")),
        grams=span_parts(total_g, GRAMS),
        grams_basis=_place(carbon),
        rows=tuple(_row(phase, grams_of.get(phase.text("phase"), _UNKNOWN)) for phase in phases),
        total=PhaseRow(
            "Total",
            duration(sum(times) if times else None),
            span_words(total, JOULES),
            span_words(total, WATT_HOURS),
            span_words(total_g, GRAMS),
            (),
        ),
        energy_chart=_chart(energy_bars, "energy", "Energy by phase"),
        grams_chart=_chart(grams_bars, "grams", "CO₂e by phase"),
        legend=_legend(energy_bars + grams_bars),
        method=_method(carbon),
        equivalents=tuple(words for entry in carbon.each("equivalents") if (words := entry.text("text"))),
        per_image=span_words(plain_span(carbon.at("per_released_image_g")), GRAMS),
        time_s=sum(times) if times else None,
        meters=energy.texts("meters"),
        attribution=carbon.text("attribution"),
    )


_UNKNOWN = Span(None, None, None)


def _sources(phase: Facts) -> list[tuple[str, str, Span]]:
    """(component, source, energy in J) of each reading, measured ones first; an unknown source counts as absent."""
    readings = []
    for entry in phase.each("components"):
        source = entry.text("source")
        known = source if source in _KINDS else "absent"
        readings.append((entry.text("component") or "unnamed", known, energy_span(entry)))
    return sorted(readings, key=lambda reading: _WORST_LAST.index(reading[1]))


def _energy_bar(phase: Facts) -> Bar:
    span, readings = energy_span(phase), _sources(phase)
    # pieces are drawn only if together they are the whole: a stack that lacks a component would look complete
    whole = span.estimate is not None and all(energy.estimate is not None for _, s, energy in readings if s != "absent")
    parts = [
        Part(component, _KINDS[source], energy.estimate)
        for component, source, energy in readings
        if whole and source in _KINDS and energy.estimate is not None
    ]
    if span.estimate is not None and not parts:
        parts = [Part("all components", "estimated", span.estimate)]
    return Bar(phase.text("phase") or "unnamed", _note(phase), span_words(span, JOULES), span, tuple(parts))


def _grams_bar(phase: Facts, grams: Span) -> Bar:
    # grams are energy times an intensity that nobody measured at this plug: never drawn as a measurement
    parts = () if grams.estimate is None else (Part("CO₂e", "estimated", grams.estimate),)
    return Bar(phase.text("phase") or "unnamed", "", span_words(grams, GRAMS), grams, parts)


def _note(phase: Facts) -> str:
    readings = _sources(phase)
    if len(readings) == 1:
        component, source, _ = readings[0]
        return f"{component} {source}"
    return " + ".join(sorted({source for _, source, _ in readings}, key=_WORST_LAST.index)) or "no reading"


def _basis(phases: Sequence[Facts], absent: Sequence[str]) -> str:
    """How the joules are known; ``absent`` names the components that gave no reading."""
    readings = [reading for phase in phases for reading in _sources(phase)]
    sources = {source for _, source, _ in readings} - {"absent"}
    silent = sorted({*absent, *(component for component, source, _ in readings if source == "absent")})
    if not sources:
        return "No meter gave a reading."
    missing = f" No reading from {', '.join(silent)}: that share is missing." if silent else ""
    if "estimated" in sources:
        return (
            "Estimated, not measured." if sources == {"estimated"} else "Partly measured, partly estimated."
        ) + missing
    return ("Measured by hardware counters." if sources == {"counter"} else "Measured.") + missing


def _place(carbon: Facts) -> str:
    intensity = span_words(plain_span(carbon.at("g_per_kwh")), GRAMS_PER_KWH)
    if not carbon:
        return "Grams need energy readings and a place."
    zone = carbon.text("zone_name") or carbon.text("zone")
    if carbon.number("g_per_kwh", "estimate") is None:
        return f"Place unknown, so a range over the world ({intensity}). Name the place, and it narrows."
    year = carbon.number("year")
    when = None if year is None else f"{year:.0f}"
    month = carbon.number("month")
    named = f" in {MONTHS[int(month) - 1]}" if month is not None and 1 <= month <= 12 else ""
    level = f"mean season at the level of {when}" if named else f"figures of {when}"
    return f"{zone}{named}{f', {level}' if when is not None else ''}: {intensity}."


def _method(carbon: Facts) -> str | None:
    """How joules became grams."""
    if not carbon:
        return None
    pue, ends = carbon.number("pue"), carbon.numbers("pue_range")
    overhead = f"{pue:g}" if pue is not None else "–".join(f"{end:g}" for end in ends) or NOT_RECORDED
    note = carbon.text("note")
    return (
        f"CO₂e = energy × overhead of the building (PUE {overhead}{'' if pue is not None else ', not given'}) × "
        f"{span_words(plain_span(carbon.at('g_per_kwh')), GRAMS_PER_KWH)}{f'; {note}' if note else ''}."
        f"{_embodied(carbon.at('embodied'))}"
    )


def _embodied(embodied: Facts) -> str:
    """What making the hardware comes to, which is in none of the other figures."""
    g, source = embodied.number("g"), embodied.text("source")
    if g is None or source is None:
        return " Making the hardware is not in it."
    return f" Making the hardware comes to {quantity(g, GRAMS)} beside that ({source})."


def _row(phase: Facts, grams: Span) -> PhaseRow:
    span = energy_span(phase)
    return PhaseRow(
        phase.text("phase") or "unnamed",
        duration(phase.number("duration_s")),
        span_words(span, JOULES),
        span_words(span, WATT_HOURS),
        span_words(grams, GRAMS),
        tuple(
            (component, source, NOT_MEASURED if source == "absent" else span_words(energy, JOULES))
            for component, source, energy in _sources(phase)
        ),
    )


def _chart(bars: list[Bar], name: str, title: str) -> Markup | None:
    top = max((bar.span.top for bar in bars if bar.span.top is not None), default=None)
    if top is None or top <= 0:
        return None
    units, axis = (JOULES, "energy") if name == "energy" else (GRAMS, "CO₂e")
    description = "; ".join(f"{bar.label}: {bar.words}{f' ({bar.note})' if bar.note else ''}" for bar in bars)
    return bar_chart(bars, name=name, title=title, description=description, unit=unit_for(top, units), axis=axis)


def _legend(bars: list[Bar]) -> tuple[tuple[Markup, str, str], ...]:
    used = {part.kind for bar in bars for part in bar.parts}
    kinds: list[Kind] = [kind for kind in ("counter", "polled", "estimated") if kind in used]
    if any(not bar.parts and bar.span.is_range for bar in bars):
        kinds.append("range")
    entries = [(swatch(kind, f"legend-{kind}"), str(kind), _MEANINGS[kind]) for kind in kinds]
    if any(bar.parts and bar.span.low != bar.span.high for bar in bars):
        entries.append((swatch("whisker", "legend"), "line", _MEANINGS["whisker"]))
    return tuple(entries)
