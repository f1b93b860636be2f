"""What a finished run would have cost elsewhere, at another time, with other numbers; nothing is run again.

Energy is scaled by what it grows with, in closed form:

    energy = training + compiling + images x (denoising x calls / calls measured + decoding) + rest

where both per-image energies are measured ones. Then grams = kWh x PUE x intensity, as in ``emissions``. A reader gets
the assumptions with the figures: they are listed in ``Outcome.assumptions``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from lichen.carbon.emissions import J_PER_KWH, grams
from lichen.carbon.intensity import Intensity, intensity
from lichen.carbon.ranges import Range
from lichen.carbon.table import load_table
from lichen.carbon.words import number
from lichen.carbon.zones import MONTHS, Table
from lichen.errors import CarbonError

NOTHING = Range(0.0, 0.0, 0.0)
SEASON = "a month's intensity is the yearly level x the mean seasonal index of the place"
MOST = 10**15
"""Of more images or steps nobody can tell what they would take."""


@dataclass(frozen=True)
class Footprint:
    """The energy of a run in joules, apart by what it grows with."""

    training_j: Range
    """Spent once, however many images are drawn."""
    denoise_j: Range = NOTHING
    """Grows with images x network calls."""
    decode_j: Range = NOTHING
    """Grows with images."""
    rest_j: Range = NOTHING
    """Reading, audit, quality: left as it was measured."""
    compile_j: Range = NOTHING
    """Of the network before images are drawn: once, however many they are."""
    images: int = 0
    """Synthetic images that were drawn."""
    calls: int = 0
    """Network calls for each of them."""
    batch: int = 1
    """Images drawn together: only whole batches are drawn."""


@dataclass(frozen=True)
class Plan:
    """Which numbers are to be others than those of the run; ``None``: as they were."""

    images: int | None = None
    """Synthetic images to draw."""
    calls: int | None = None
    """Network calls for each of them."""
    shared_over: int | None = None
    """Images that the training is shared over; default: those that are drawn."""


AS_IT_WAS = Plan()


@dataclass(frozen=True)
class Outcome:
    """What it would cost."""

    energy_kwh: Range
    carbon_g: Range
    per_image_g: Range | None
    """One image's own synthesis and its share of the training; ``None`` where no image is drawn."""
    zone: str | None
    zone_name: str
    month: int | None
    year: int | None
    pue: float | None
    assumptions: tuple[str, ...]
    attribution: str

    def as_json(self) -> dict[str, Any]:
        """The same for other programs."""
        return asdict(self)


def energy_j(footprint: Footprint, plan: Plan = AS_IT_WAS) -> Range:
    """The energy of all of ``plan``, in joules. Raises ``CarbonError`` for a plan that the run says nothing about."""
    return footprint.training_j + synthesis_j(footprint, plan) + footprint.rest_j


def synthesis_j(footprint: Footprint, plan: Plan = AS_IT_WAS) -> Range:
    """The energy of drawing the images of ``plan``, in joules; raises ``CarbonError`` as ``energy_j`` does."""
    images = footprint.images if plan.images is None else plan.images
    calls = footprint.calls if plan.calls is None else plan.calls
    for name, value in (("samples", plan.images), ("network calls", plan.calls), ("shared over", plan.shared_over)):
        if value is not None and value < 1:
            raise CarbonError(f"{name} is {value}; it must be at least 1", fix="give a whole number of 1 or more")
        if value is not None and value > MOST:
            raise CarbonError(f"{name} is larger than {MOST:,}", fix=f"give a whole number of at most {MOST}")
    if not footprint.images or not footprint.calls:
        if plan.images is not None or plan.calls is not None:
            raise CarbonError(
                "nothing was drawn in this run, so nobody knows what a sample costs",
                fix="draw some first, e.g. lichen sample RUN --sampling.count 64",
            )
        return footprint.compile_j + footprint.denoise_j + footprint.decode_j
    drawn, before = (_whole_batches(count, footprint.batch) for count in (images, footprint.images))
    denoise = footprint.denoise_j.times(drawn / before * calls / footprint.calls)
    return footprint.compile_j + denoise + footprint.decode_j.times(drawn / before)


def what_if(footprint: Footprint, place: Intensity, pue: float | None = None, plan: Plan = AS_IT_WAS) -> Outcome:
    """Energy and grams of ``plan`` at ``place``; raises ``CarbonError`` for an impossible plan or PUE."""
    images = footprint.images if plan.images is None else plan.images
    whole = energy_j(footprint, plan)
    share = None
    if images:
        one = synthesis_j(footprint, plan).over(images)
        share = _grams(one + footprint.training_j.over(plan.shared_over or images), place, pue)
    return Outcome(
        energy_kwh=whole.over(J_PER_KWH),
        carbon_g=_grams(whole, place, pue),
        per_image_g=share,
        zone=place.zone,
        zone_name=place.zone_name,
        month=place.month,
        year=place.year,
        pue=pue,
        assumptions=_assumptions(footprint, place, pue, plan),
        attribution=place.attribution,
    )


def everywhere(
    footprint: Footprint,
    month: int | None = None,
    pue: float | None = None,
    plan: Plan = AS_IT_WAS,
    *,
    table: Table | None = None,
) -> tuple[Outcome, ...]:
    """``plan`` in each country of the table, the cleanest first."""
    table = table or load_table()
    places = (intensity(zone.code, month, table=table) for zone in table.countries())
    return tuple(sorted((what_if(footprint, place, pue, plan) for place in places), key=_estimate))


def all_year(
    footprint: Footprint,
    grid: str,
    pue: float | None = None,
    plan: Plan = AS_IT_WAS,
    *,
    table: Table | None = None,
) -> tuple[Outcome, ...]:
    """``plan`` in each month at ``grid``, January first; empty where the table knows no seasons of it."""
    places = [intensity(grid, month, table=table) for month in MONTHS]
    if any(place.note for place in places):  # the yearly level in each month would look like a place without seasons
        return ()
    return tuple(what_if(footprint, place, pue, plan) for place in places)


def overtakes_at(footprint: Footprint, plan: Plan = AS_IT_WAS) -> int | None:
    """The number of images from which on synthesis costs more energy than training did; ``None`` if that is unknown."""
    training, once = footprint.training_j.estimate, footprint.compile_j.estimate
    one = replace(plan, images=footprint.batch)
    batch = synthesis_j(replace(footprint, compile_j=NOTHING), one).estimate if footprint.images else None
    if not training or not batch or once is None:
        return None
    return (math.floor(max(0.0, training - once) / batch) + 1) * footprint.batch


def ratio_text(one: Outcome, other: Outcome) -> str:
    """How many times one outcome is the other, with both places or months, years and the data set."""
    most, least = sorted((one, other), key=_estimate, reverse=True)
    if not _estimate(least):
        return "no ratio: nothing was used"
    times = number(_estimate(most) / _estimate(least))
    data = one.attribution.partition(":")[2].partition(", CC")[0].strip() or one.attribution
    return f"{times} times from {_where(least)} to {_where(most)} ({data})"


def _where(outcome: Outcome) -> str:
    month = f"month {outcome.month} at the level of " if SEASON in outcome.assumptions else ""
    return f"{outcome.zone_name}, {month}{outcome.year}" if outcome.year else outcome.zone_name


def _grams(energy: Range, place: Intensity, pue: float | None) -> Range:
    return grams((energy.low, energy.estimate, energy.high), place, pue)


def _estimate(outcome: Outcome) -> float:
    return outcome.carbon_g.high if outcome.carbon_g.estimate is None else outcome.carbon_g.estimate


def _whole_batches(images: int, batch: int) -> int:
    return math.ceil(images / batch) * batch


def _assumptions(footprint: Footprint, place: Intensity, pue: float | None, plan: Plan) -> tuple[str, ...]:
    return tuple(_assumed(footprint, place, pue, plan))


def _assumed(footprint: Footprint, place: Intensity, pue: float | None, plan: Plan) -> Iterable[str]:
    yield "the same computers, at the same speed, wherever and whenever it runs"
    if plan.images is not None or plan.calls is not None:
        if footprint.denoise_j.high > 0:
            yield "the energy of denoising grows with images x network calls, that of decoding with images"
        else:
            yield "the energy of synthesis grows with images"
    if plan.images is not None and footprint.rest_j.high > 0:
        yield "reading, audit and quality stay as they were measured"
    if place.month is not None and not place.note:  # the note says why the month changes nothing, or only the range
        yield SEASON
    if pue is None:
        yield "no PUE was given: the estimate is of the computer alone, the high end takes 1.58"
    if place.note:
        yield place.note
