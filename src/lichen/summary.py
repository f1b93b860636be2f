"""What came out of a run, gathered from the rooms into one JSON-able mapping."""

from __future__ import annotations

import platform
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from lichen import __version__
from lichen.carbon import PUE_RANGE, equivalents, grams
from lichen.config import CarbonConfig, RunConfig
from lichen.energy import PhaseEnergy, Session, read_sessions, read_traces, total
from lichen.footprint import footprint_of
from lichen.hindsight import forecast_and_what_came
from lichen.images.types import spacing_mm
from lichen.place import embodied_of, place_of
from lichen.runs import RunFolder, now, read_lines, read_log
from lichen.samplers import network_calls

if TYPE_CHECKING:
    import torch

    from lichen.audit import AuditResult
    from lichen.chain import Data, Quality
    from lichen.training.generator import Generator


LEAST_TOLD = 0.01
"""An everyday equivalent of less than a hundredth, of a flight say, tells nobody anything."""


def summarise(
    config: RunConfig,
    folder: RunFolder,
    data: Data,
    generator: Generator,
    result: AuditResult,
    quality: Quality,
    command: str,
) -> dict[str, Any]:
    """The summary of a finished run."""
    energy = energy_summary(read_traces(folder.traces), read_sessions(folder.traces))
    summary = {
        "lichen": __version__,
        "state": "finished",
        "finished_at": now(),
        "label": data.source.label,
        "is_phantom": data.source.is_phantom,
        "images": _about_images(data),
        "model": _about_model(config, folder, generator, quality),
        "energy": energy,
        "forecast": forecast_and_what_came(read_lines(folder.forecasts), energy["phases"], config.trainings),
        "sampling": _about_sampling(config, generator),
        "audit": result.as_summary(),
        "quality": {"kernel_distance": quality.distance and quality.distance.as_json()},
        "provenance": provenance(command, generator.device),
    }
    return with_carbon(summary, config.carbon)


def with_carbon(summary: dict[str, Any], carbon: CarbonConfig) -> dict[str, Any]:
    """The summary with its energy seen as grams at a place, month and PUE; nothing is measured again.

    Raises:
        CarbonError: the place, month or PUE is unknown or impossible.
    """
    place, embodied = place_of(carbon), embodied_of(carbon)
    total, phases = summary["energy"]["total"], summary["energy"]["phases"]
    if total["low_j"] is None:
        return {**summary, "carbon": None, "footprint": None}

    def in_grams(energy: dict[str, Any]) -> Any:
        return grams((energy["low_j"], energy["energy_j"], energy["high_j"]), place, carbon.pue)

    total_g = in_grams(total)
    released = 0 if is_segmentation(summary) else summary["audit"]["tested"] - summary["audit"]["copies"]
    measured = [phase for phase in phases if phase["low_j"] is not None]
    view = {
        "zone": place.zone,
        "zone_name": place.zone_name,
        "month": place.month,
        "year": place.year,
        "note": place.note,
        "g_per_kwh": asdict(place.g_per_kwh),
        "pue": carbon.pue,
        "pue_range": list(PUE_RANGE) if carbon.pue is None else [carbon.pue, carbon.pue],
        "total_g": asdict(total_g),
        "phases": [{"phase": phase["phase"], **asdict(in_grams(phase))} for phase in measured],
        "per_released_image_g": asdict(total_g.over(released)) if released else None,
        "embodied": None if embodied is None else {"g": embodied.grams(_duration_s(phases)), **asdict(embodied)},
        "equivalents": [asdict(e) for e in equivalents(total_g) if e.amount.high >= LEAST_TOLD],
        "attribution": place.attribution,
    }
    return {**summary, "carbon": view, "footprint": _footprint(summary)}


def is_segmentation(summary: dict[str, Any]) -> bool:
    """Whether it is the summary of a segmentation, which makes no images."""
    return summary.get("task") == "segmentation"


def _duration_s(phases: list[dict[str, Any]]) -> float:
    return sum(float(phase["duration_s"]) for phase in phases)


def _footprint(summary: dict[str, Any]) -> dict[str, Any] | None:
    """What the what-if panel of the report calculates with; None where the summary does not say enough."""
    try:
        sampling = summary["sampling"]
        calls, steps = (sampling["network_calls"], 0), None  # of a StyleGAN2, which has no steps
        if "steps" in sampling:
            no_step, one = (network_calls(sampling["sampler"], steps) for steps in (0, 1))
            calls, steps = (no_step, one - no_step), sampling["steps"]
        found = footprint_of(
            summary["energy"]["phases"],
            images=sampling["count"],
            network_calls=sampling["network_calls"],
            batch_size=sampling["batch_size"],
        )
    except (KeyError, TypeError):
        return None
    if found is None:
        return None
    return {**asdict(found), "steps": steps, "calls_at_no_step": calls[0], "calls_per_step": calls[1]}


def energy_summary(phases: tuple[PhaseEnergy, ...], sessions: tuple[Session, ...]) -> dict[str, Any]:
    """Joules by phase and component, each with its source, and their sum."""
    return {
        "phases": [
            {
                "phase": phase.phase,
                "duration_s": phase.duration_s,
                **asdict(phase.total),
                "components": [
                    {"component": part.component, "source": part.source, **asdict(part.energy)}
                    for part in phase.components
                ],
            }
            for phase in phases
        ],
        "total": asdict(total(phase.total for phase in phases)),
        "absent": sorted({component for phase in phases for component in phase.absent}),
        "meters": sorted({line for session in sessions for line in session.meters}),
    }


def _about_images(data: Data) -> dict[str, Any]:
    train, held_out = data.train, data.held_out
    return {
        "train_images": len(train.names),
        "train_patients": len(set(train.patients)),
        "held_out_images": len(held_out.names),
        "held_out_patients": len(set(held_out.patients)),
        "patients_known": data.source.patients_known,
        "shape": list(train.voxels.shape[1:]),
        "spacing_mm": list(spacing_mm(train.affine, train.voxels.ndim - 2)),
        "note": data.source.note,
        "skipped": [asdict(skipped) for skipped in data.skipped],
    }


def _about_model(config: RunConfig, folder: RunFolder, generator: Generator, quality: Quality) -> dict[str, Any]:
    """The model in figures, and what its trainings saw; what there is none of is left out or None."""
    network = {"autoencoder": "autoencoder", "diffusion": "denoiser", "gan": "gan"}
    seen = {**config.trainings, **images_kept(folder)}
    return {
        **generator.about(),
        **{f"{network[phase]}_images_seen": images for phase, images in seen.items()},
        "reconstruction_l1": quality.reconstruction_l1,
    }


def images_kept(folder: RunFolder) -> dict[str, int]:
    """By the phase of the training that a probe ended, how many images it had seen; empty where none was ended."""
    log = read_log(folder.log)
    phase = "gan" if "gan" in log else "diffusion"
    stops, losses = log.get("stop", []), log.get(phase, [])
    if not stops or (losses and losses[-1]["images_seen"] > stops[-1]["images_seen"]):  # trained again, without a stop
        return {}
    kept = stops[-1].get("kept_images_seen")
    return {phase: kept} if type(kept) is int else {}


def _about_sampling(config: RunConfig, generator: Generator) -> dict[str, Any]:
    from lichen.sampling.folder import drawn_with

    sampling = config.sampling
    return {
        "count": sampling.count,
        **drawn_with(generator.spec, sampling),
        "network_calls": config.network_calls,
        "checkpoint_sha256": generator.sha256,
    }


def provenance(command: str, device: torch.device) -> dict[str, Any]:
    """By which command, and on what."""
    import torch

    return {
        "command": command,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "platform": platform.platform(),
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
