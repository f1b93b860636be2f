"""A run's cost in other people's forms: model card, emissions.csv, SCI score and methods paragraph from its summary."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lichen.carbon import (
    Account,
    Embodied,
    EmissionsRow,
    Intensity,
    Part,
    Range,
    Sci,
    building_kwh,
    emissions_csv,
    find_zone,
    methods,
    model_card,
    sci,
)
from lichen.carbon.cards import WORK_OF_RUN
from lichen.carbon.sci import FUNCTIONAL_UNIT, STANDARD
from lichen.errors import CarbonError, RunError
from lichen.files import write_json, write_text
from lichen.footprint import SYNTHESIS
from lichen.summary import is_segmentation

_SEGMENTATION = "reading, training, validation and test"


@dataclass(frozen=True)
class Cards:
    """The four texts."""

    model_card: str
    """YAML metadata for the README of a model on Hugging Face."""
    emissions_csv: str
    """A row as codecarbon writes it."""
    sci: dict[str, Any]
    """Software Carbon Intensity and its terms."""
    methods: str
    """A paragraph for a paper, and its references."""

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write each into its own file in ``folder``; the paths."""
        texts = {"model-card.md": self.model_card, "emissions.csv": self.emissions_csv, "methods.txt": self.methods}
        for name, text in texts.items():
            write_text(folder / name, text)
        write_json(folder / "sci.json", self.sci)
        return tuple(folder / name for name in (*texts, "sci.json"))

    def as_json(self) -> dict[str, Any]:
        """The same for other programs."""
        return asdict(self)


def make_cards(summary: dict[str, Any], embodied: Embodied | None = None, project: str | None = None) -> Cards:
    """The texts for a run with this summary; ``project`` names it, otherwise the label of its images does.

    Raises ``RunError`` if the summary lacks what every run's has.
    """
    try:
        account = _account(summary)
        score, score_json = _score(summary, account, embodied)
        table = emissions_csv([_row(summary, account, project)])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(
            f"the summary of the run is damaged ({type(error).__name__}: {error})",
            fix="repeat the command of the run; its summary is written anew",
        ) from error
    return Cards(model_card(account), table, score_json, methods(account, score))


def _account(summary: dict[str, Any]) -> Account:
    energy, carbon = summary["energy"], summary["carbon"]
    parts = [part for phase in energy["phases"] for part in phase["components"]]
    measured = carbon is not None and energy["total"]["low_j"] is not None
    return Account(
        tool=f"lichen {summary['lichen']}",
        total=Part(_joules(energy["total"]), Range(**carbon["total_g"])) if measured else None,
        synthesis=_synthesis(energy, carbon) if measured else None,
        place=_place(carbon) if measured else None,
        pue=carbon["pue"] if measured else None,
        sources=tuple((part["component"], part["source"]) for part in parts if part["source"] != "absent"),
        absent=tuple(energy["absent"]),
        meters=tuple(energy["meters"]),
        drawn=0 if is_segmentation(summary) else summary["sampling"]["count"],
        work=_SEGMENTATION if is_segmentation(summary) else WORK_OF_RUN,
        hardware=_hardware(summary["provenance"], energy["meters"]),
    )


def _synthesis(energy: dict[str, Any], carbon: dict[str, Any]) -> Part | None:
    phases = [phase for phase in energy["phases"] if phase["phase"] in SYNTHESIS and phase["low_j"] is not None]
    if not phases:
        return None
    grams = {phase["phase"]: Range(phase["low"], phase["estimate"], phase["high"]) for phase in carbon["phases"]}
    return Part(_sum(map(_joules, phases)), _sum(grams[phase["phase"]] for phase in phases))


def _place(carbon: dict[str, Any]) -> Intensity:
    return Intensity(
        g_per_kwh=Range(**carbon["g_per_kwh"]),
        zone=carbon["zone"],
        zone_name=carbon["zone_name"],
        month=carbon["month"],
        year=carbon["year"],
        attribution=carbon["attribution"],
        note=carbon["note"],
    )


def _score(summary: dict[str, Any], account: Account, embodied: Embodied | None) -> tuple[Sci | None, dict[str, Any]]:
    """The score, and what stands in its file: where there is none, why."""
    boundary = "one run: reading, training, synthesis, audit and quality; not the computers of those who use the images"
    if account.total is None or account.place is None:
        return None, _no_score("no energy was measured")
    if is_segmentation(summary):
        return None, _no_score("a segmentation releases no synthetic images")
    audit = summary["audit"]
    try:
        score = sci(
            building_kwh(_bounds(account.total.energy_j), account.pue),
            account.place,
            audit["tested"] - audit["copies"],
            embodied_g=None if embodied is None else embodied.grams(_duration_s(summary)),
            embodied_source=None if embodied is None else embodied.source,
        )
    except CarbonError as error:
        return None, _no_score(error.problem)
    ways = sorted({source for _, source in account.sources})
    sources = {way: sorted({part for part, source in account.sources if source == way}) for way in ways}
    return score, {**score.as_json(), "boundary": boundary, "E_by_source": sources, "E_absent": list(account.absent)}


def _no_score(why: str) -> dict[str, Any]:
    return {"standard": STANDARD, "functional_unit": FUNCTIONAL_UNIT, "score_g_per_image": None, "why": why}


def _row(summary: dict[str, Any], account: Account, project: str | None) -> EmissionsRow:
    total, place, provenance = account.total, account.place, summary["provenance"]
    iso3, country, region = _country(None if place is None else place.zone)
    g = None if total is None else total.carbon_g.estimate
    made = summary["provenance"]["command"] if is_segmentation(summary) else summary["sampling"]["checkpoint_sha256"]
    identity = f"{made} {summary['finished_at']}"
    at = datetime.fromisoformat(summary["finished_at"]).astimezone(UTC)
    return EmissionsRow(
        energy_kwh=None if total is None else building_kwh(_bounds(total.energy_j), account.pue).estimate,
        emissions_kg=None if g is None else g / 1000,
        duration_s=_duration_s(summary) if summary["energy"]["phases"] else None,
        cpu_kwh=_kwh_of("cpu", summary, account),
        gpu_kwh=_kwh_of("gpu", summary, account),
        ram_kwh=_kwh_of("ram", summary, account),
        country_iso3=iso3,
        country_name=country,
        region=region,
        pue=account.pue,
        timestamp=at.strftime("%Y-%m-%dT%H:%M:%S"),
        project_name=project or summary["label"],
        run_id=str(uuid.uuid5(uuid.NAMESPACE_OID, identity)),
        tracking_mode=_tracking_mode(account),
        os=provenance["platform"],
        python_version=provenance["python"],
    )


def _kwh_of(kind: str, summary: dict[str, Any], account: Account) -> float | None:
    """The energy of the CPUs, GPUs or memory; None where one of them gave no reading in all or part of the time."""
    if any(name.startswith(kind) for name in account.absent):
        return None
    parts = [part for phase in summary["energy"]["phases"] for part in phase["components"]]
    found = [_joules(part) for part in parts if part["component"].startswith(kind) and part["source"] != "absent"]
    return building_kwh(_bounds(_sum(found)), account.pue).estimate if found else None


def _tracking_mode(account: Account) -> str | None:
    """codecarbon's word for what was counted; None where some meters count the machine and some the process."""
    sources = {source for _, source in account.sources}
    return "process" if sources == {"estimated"} else "machine" if sources and "estimated" not in sources else None


def _country(zone: str | None) -> tuple[str | None, str | None, str | None]:
    """ISO 3166-1 alpha-3 code and name of the country, and the name of the state if the zone is one."""
    if zone is None:
        return None, None, None
    try:
        place, country = find_zone(zone), find_zone(zone.partition("-")[0])
    except CarbonError:  # a place of the user's own table
        return None, None, None
    return country.iso3, country.name, None if place is country else place.name.partition(",")[0]


def _hardware(provenance: dict[str, Any], meters: Iterable[str]) -> str:
    """The GPUs by name, or that it was the CPU."""
    if not provenance["device"].startswith("cuda"):
        threads = provenance["threads"]
        return f"CPU, {threads} {'thread' if threads == 1 else 'threads'} of PyTorch"
    named = [found for line in meters if (found := re.match(r"(gpu\d+) \((.+?)\): ", line))]
    return ", ".join(f"{found[2]} ({found[1]})" for found in named) or "GPU"


def _duration_s(summary: dict[str, Any]) -> float:
    return sum(float(phase["duration_s"]) for phase in summary["energy"]["phases"])


def _joules(energy: dict[str, Any]) -> Range:
    return Range(energy["low_j"], energy["energy_j"], energy["high_j"])


def _bounds(figure: Range) -> tuple[float, float | None, float]:
    return figure.low, figure.estimate, figure.high


def _sum(figures: Iterable[Range]) -> Range:
    return sum(figures, start=Range(0, 0, 0))
