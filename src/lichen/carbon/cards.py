"""What a run used, in other people's forms: the metadata of a model card and the methods paragraph of a paper.

Pure functions on plain figures. An estimate is never called a measurement, and what is unknown is left out or said to
be unknown, never filled in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import yaml

from lichen.carbon.emissions import PUE_RANGE
from lichen.carbon.intensity import Intensity
from lichen.carbon.ranges import Range
from lichen.carbon.sci import STANDARD, Sci
from lichen.carbon.words import (
    MONTHS,
    energy_range_text,
    energy_text,
    figures,
    grams_range_text,
    mass,
    number,
    one_line,
)

GREEN_ALGORITHMS = (
    "Lannelongue, L., Grealey, J., Inouye, M. (2021). Green Algorithms: Quantifying the Carbon Footprint of "
    "Computation. Advanced Science 8, 2100707. https://doi.org/10.1002/advs.202100707"
)
SCI_STANDARD = f"{STANDARD}. Information technology - Software Carbon Intensity (SCI) specification."
LATENT_POLLUTION = (
    "Seyfarth, M., Dar, S. U. H., Engelhardt, S. (2024). Latent Pollution Model: The Hidden Carbon Footprint in 3D "
    "Image Synthesis. arXiv:2407.14892"
)
_HOW = {
    "counter": "read from hardware energy counters",
    "polled": "measured by polling power and summing it",
    "estimated": "estimated, not measured, as use x watts typical of such hardware",
}
_IN_SHORT = {"counter": "from hardware counters", "polled": "from polled power", "estimated": "estimated, not measured"}
WORK_OF_RUN = "reading, training, synthesis and audit"
"""What a run does that makes images."""


@dataclass(frozen=True)
class Part:
    """Some phases of a run and what they used."""

    energy_j: Range
    carbon_g: Range


@dataclass(frozen=True)
class Account:
    """What a run used; what is not known is ``None`` or empty."""

    tool: str
    """Name and version, e.g. ``lichen 0.1.0``."""
    total: Part | None
    """All phases; ``None``: nothing was measured."""
    synthesis: Part | None = None
    """The phases that drew the images."""
    place: Intensity | None = None
    pue: float | None = None
    sources: tuple[tuple[str, str], ...] = ()
    """Component and source of each reading, e.g. ``("gpu0", "counter")``."""
    absent: tuple[str, ...] = ()
    """Components that gave no reading in all or part of the time."""
    meters: tuple[str, ...] = ()
    """What each meter says of itself."""
    drawn: int = 0
    """Synthetic images drawn."""
    work: str = WORK_OF_RUN
    """What was done and is in the sums."""
    hardware: str | None = None
    """What the networks ran on."""

    def in_plain_lines(self) -> Account:
        """The same with every text on one line and without control characters: some of them come from outside."""
        return replace(
            self,
            tool=one_line(self.tool),
            sources=tuple((one_line(component), source) for component, source in self.sources),
            absent=tuple(map(one_line, self.absent)),
            meters=tuple(map(one_line, self.meters)),
            hardware=None if self.hardware is None else one_line(self.hardware),
        )


def model_card(account: Account) -> str:
    """The YAML block of a Hugging Face model card; ``emissions`` are in GRAMS there.

    They are of the whole run. Without an estimate the field is left out, and ``source`` has the range or the reason.
    """
    account = account.in_plain_lines()
    total, place = account.total, account.place
    block: dict[str, float | str] = {}
    if total is not None and total.carbon_g.estimate is not None:
        block["emissions"] = float(f"{total.carbon_g.estimate:.6g}")
    block["source"] = "; ".join(_source(account))
    block["training_type"] = "pre-training"
    if place is not None and place.zone is not None:
        block["geographical_location"] = f"{one_line(place.zone_name)} ({place.zone})"
    if account.hardware:
        block["hardware_used"] = account.hardware
    text = yaml.safe_dump({"co2_eq_emissions": block}, sort_keys=False, allow_unicode=True, width=float("inf"))
    return f"---\n{text}---\n"


def _source(account: Account) -> Iterable[str]:
    yield account.tool
    total, place = account.total, account.place
    if total is None or place is None:
        yield "nothing was measured, so there is no figure"
        return
    yield f"whole run ({account.work}) used {_energy(total.energy_j)}"
    yield f"energy of {', of '.join(f'{_joined(parts)} {_IN_SHORT[source]}' for source, parts in _by_source(account))}"
    if account.absent:
        yield f"a lower bound, without {_joined(account.absent)}"
    span = f"{grams_range_text(total.carbon_g)} of CO2e"
    if total.carbon_g.estimate is None:
        yield f"place unknown, so no single figure: {span} over the countries of the world"
    else:
        yield f"interval {span}"
    yield f"PUE {_pue_in_short(account.pue)}"
    yield one_line(place.attribution).rstrip(".")


def methods(account: Account, score: Sci | None = None) -> str:
    """A paragraph for a paper's methods, an empty line, and the references it names, one a line."""
    account = account.in_plain_lines()
    if account.total is None or account.place is None:
        return (
            f"Energy was to be recorded by {account.tool}, but no meter of this machine gave a reading: "
            "neither energy nor emissions of CO2e are known.\n"
        )
    sentences = [
        *_recorded(account),
        *_used(account, account.total),
        *_emitted(account, account.total, account.place),
        *(_scored(score) if score is not None else ()),
        "Intervals are bounds, not standard deviations.",
        one_line(account.place.attribution),
    ]
    return " ".join(sentences) + "\n\n" + "\n".join(_references(account, score)) + "\n"


def _recorded(account: Account) -> Iterable[str]:
    ways = [f"{_joined(parts)} {_were(parts)} {_HOW[source]}" for source, parts in _by_source(account)]
    yield f"Energy was recorded by {account.tool} over the whole run ({account.work}): {'; '.join(ways)}."
    if "estimated" in dict(_by_source(account)):
        yield "Typical watts are based on Lannelongue et al. (2021)."
    if account.meters:
        yield f"Meters: {'; '.join(account.meters)}."
    if account.absent:
        yield f"{_joined(account.absent)} gave no reading in all or part of the time: all figures are lower bounds."


def _used(account: Account, total: Part) -> Iterable[str]:
    sources = {source for source, _ in _by_source(account)}
    if sources == {"estimated"}:
        used = "The run is estimated to have used"
    else:
        used = "The run used, partly measured and partly estimated," if "estimated" in sources else "The run used"
    yield f"{used} {_energy(total.energy_j)} of electricity."
    synthesis = account.synthesis
    if synthesis is not None:
        whole, part = total.energy_j.estimate, synthesis.energy_j.estimate
        share = f", {number(100 * part / whole, 2)} % of it" if whole and part is not None else ""
        yield (
            f"Synthesis of {account.drawn} images, which is reported apart from training as in Seyfarth et al. (2024), "
            f"took {_energy(synthesis.energy_j)}{share}."
        )


def _emitted(account: Account, total: Part, place: Intensity) -> Iterable[str]:
    per_kwh, g = place.g_per_kwh, total.carbon_g
    if account.pue is None:
        low, high = PUE_RANGE
        alone = "; the estimate is of the computer alone" if g.estimate is not None else ""
        yield (
            f"The power usage effectiveness (PUE) is not known: the interval spans {low:.1f} to {high:g}, "
            f"the world average{alone}."
        )
    overhead = "" if account.pue is None else f"a power usage effectiveness (PUE) of {account.pue:g} and "
    if g.estimate is None:
        yield (
            f"The place of use is not known: with {overhead}{figures(per_kwh)} g CO2e/kWh, the range over the "
            f"countries of the world, emissions lie between {grams_range_text(g).replace(' to ', ' and ')} of CO2e, "
            "and no single figure is given."
        )
        return
    month = f" in {MONTHS[place.month - 1]}" if place.month else ""
    note = f" ({one_line(place.note)})" if place.note else ""
    year = f"; level of {place.year}" if place.year else ""
    spread = f" ({number(per_kwh.low)} to {number(per_kwh.high)}{year})" if per_kwh.low < per_kwh.high else ""
    yield (
        f"With {overhead}the carbon intensity of electricity from {one_line(place.zone_name)}{month}, "
        f"{figures(per_kwh)} g CO2e/kWh{spread}{note}, "
        f"emissions are estimated at {mass(g.estimate)} of CO2e ({grams_range_text(g)})."
    )
    if account.synthesis is not None:
        yield f"Synthesis is {_grams(account.synthesis.carbon_g)} of that."


def _scored(score: Sci) -> Iterable[str]:
    if score.embodied_g is None:
        made = "the making of the hardware is not included"
    else:
        source = one_line(score.embodied_source or "")
        made = f"{mass(score.embodied_g)} for the making of the hardware are included, from: {source}"
    yield (
        f"The software carbon intensity ({STANDARD}) is {_grams(score.g_per_image)} of CO2e "
        f"per released synthetic image (R = {score.released}); {made}."
    )


def _references(account: Account, score: Sci | None) -> Iterable[str]:
    yield f"{account.tool} [computer software]."
    if "estimated" in dict(_by_source(account)):
        yield GREEN_ALGORITHMS
    if score is not None:
        yield SCI_STANDARD
    if account.synthesis is not None:
        yield LATENT_POLLUTION


def _by_source(account: Account) -> list[tuple[str, list[str]]]:
    """The components of each source that gave readings, the most certain source first."""
    found = {way: sorted({part for part, source in account.sources if source == way}) for way in _HOW}
    return [(source, parts) for source, parts in found.items() if parts]


def _energy(energy_j: Range) -> str:
    return f"{energy_text(energy_j.estimate)} ({energy_range_text(energy_j.low, energy_j.estimate, energy_j.high)})"


def _grams(g: Range) -> str:
    return grams_range_text(g) if g.estimate is None else f"{mass(g.estimate)} ({grams_range_text(g)})"


def _pue_in_short(pue: float | None) -> str:
    return f"{pue:g}" if pue is not None else f"unknown, {PUE_RANGE[0]:.1f} to {PUE_RANGE[1]:g}"


def _were(parts: list[str]) -> str:
    return "was" if len(parts) == 1 else "were"


def _joined(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
