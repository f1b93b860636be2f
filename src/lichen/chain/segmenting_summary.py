"""What came out of a segmentation, as one JSON-able mapping."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from lichen import __version__
from lichen.chain.parts import Parts
from lichen.chain.segmenting_ahead import PHASE, VALIDATE, SegmentationWork
from lichen.energy import read_sessions, read_traces
from lichen.hindsight import forecast_and_what_came
from lichen.images.types import spacing_mm
from lichen.models.counting import BACKWARD, flop
from lichen.quality.dice import DiceScores
from lichen.runs import RunFolder, now, read_lines
from lichen.summary import energy_summary, provenance, with_carbon
from lichen.training.segmenter import EndedBy
from lichen.training.segmenter_file import Segmenter


@dataclass(frozen=True)
class Outcome:
    """How a training ended, and what it kept."""

    images_seen: int
    best_images_seen: int
    validation_dice: float
    """Of the weights that are kept: the best, so they flatter."""
    ended_by: EndedBy | Literal["budget"]


def summarise(
    work: SegmentationWork,
    folder: RunFolder,
    parts: Parts,
    segmenter: Segmenter,
    outcome: Outcome,
    scores: DiceScores,
    command: str,
) -> dict[str, Any]:
    """The summary of a segmentation; its state is "cut" where a budget ended the training."""
    energy = energy_summary(read_traces(folder.traces), read_sessions(folder.traces))
    done = work.done(outcome.images_seen)
    # of the length only a part was needed: the forecast of this part is what can be compared
    ahead = forecast_and_what_came(read_lines(folder.forecasts), energy["phases"], work.units(), done)
    device = next(segmenter.network.parameters()).device
    summary = {
        "lichen": __version__,
        "state": "cut" if outcome.ended_by == "budget" else "finished",
        "task": "segmentation",
        "finished_at": now(),
        "label": parts.source.label,
        "is_phantom": parts.source.is_phantom,
        "images": _about_images(parts),
        "model": {
            "kind": "unet",
            "width": work.config.segmenter.width,
            "levels": work.config.segmenter.levels,
            "parameters": sum(weights.numel() for weights in segmenter.network.parameters()),
        },
        "segmentation": {
            **scores.as_json(),
            **asdict(outcome),
            "planned_images_seen": work.config.training.images_seen,
            "training_flop": _training_flop(work, done),
        },
        "energy": energy,
        "forecast": ahead,
        "provenance": provenance(command, device),
    }
    return with_carbon(summary, work.config.carbon)


def _about_images(parts: Parts) -> dict[str, Any]:
    train = parts.train
    counts = {
        f"{name}_{what}": count
        for name, images in parts.each.items()
        for what, count in (("images", len(images.names)), ("patients", len(set(images.patients))))
    }
    return {
        **counts,
        "patients_known": parts.source.patients_known,
        "shape": list(train.voxels.shape[1:]),
        "spacing_mm": list(spacing_mm(train.affine, train.voxels.ndim - 2)),
        "classes": list(train.classes),
        "note": parts.source.note,
        "skipped": [asdict(skipped) for skipped in parts.skipped],
    }


def _training_flop(work: SegmentationWork, done: dict[str, int]) -> float:
    """Operations on paper of the training, looks at other patients included."""
    shape = work.spec.image_shape
    with torch.device("meta"):
        call = flop(work.spec.build(), torch.empty(1, shape[0] - 1, *shape[1:]))
    return float(call * ((1 + BACKWARD) * done[PHASE] + done[VALIDATE]))
