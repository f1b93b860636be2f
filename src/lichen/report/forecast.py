"""The forecast that was made before the run, beside what came."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.report.evidence import Facts
from lichen.report.formats import JOULES, NOT_MEASURED, Span, duration, energy_span, plain_span, quantity, span_parts


@dataclass(frozen=True)
class ForecastRow:
    """A row of the table; what was forecast is (figure, ends of its 90 % interval)."""

    phase: str
    time: tuple[str, str]
    came_time: str
    energy: tuple[str, str]
    came_energy: str


@dataclass(frozen=True)
class ForecastSection:
    """Everything that the page says of the forecast."""

    rows: tuple[ForecastRow, ...]
    total: ForecastRow
    verdict: str
    """Whether time and energy came within the interval."""
    probe: str
    """How long the probe took."""


def forecast_section(forecast: Facts) -> ForecastSection | None:
    """The ``forecast`` part of a summary; ``None`` where no phase was forecast."""
    phases, total = forecast.each("phases"), forecast.at("total")
    if not phases:
        return None
    came_s, came_j = total.number("came_s"), total.number("came_j")
    time = _verdict(plain_span(total.at("duration_s")), came_s, "took", "time", duration(came_s))
    energy = _verdict(energy_span(total.at("energy")), came_j, "used", "energy", quantity(came_j, JOULES))
    return ForecastSection(
        rows=tuple(_row(phase, phase.text("phase") or "unnamed") for phase in phases),
        total=_row(total, "Total"),
        verdict=f"These phases {time}; they {energy}.",
        probe=duration(forecast.number("probe_s")),
    )


def _row(entry: Facts, name: str) -> ForecastRow:
    time = plain_span(entry.at("duration_s"))
    ends = "" if time.low is None or time.high is None else f"{duration(time.low)} to {duration(time.high)}"
    return ForecastRow(
        name,
        (duration(time.estimate), ends),
        duration(entry.number("came_s")),
        span_parts(energy_span(entry.at("energy")), JOULES),
        quantity(entry.number("came_j"), JOULES),
    )


def _verdict(forecast: Span, came: float | None, verb: str, what: str, words: str) -> str:
    if came is None:
        return f"{verb} {what} that was {NOT_MEASURED}"
    if forecast.low is None or forecast.high is None:
        return f"{verb} {words}, and the {what} had no forecast"
    if came < forecast.low:
        return f"{verb} {words}, below the 90 % interval of the forecast"
    if came > forecast.high:
        return f"{verb} {words}, above the 90 % interval of the forecast"
    return f"{verb} {words}, within the 90 % interval of the forecast"
