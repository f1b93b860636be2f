"""From the phases of a run to its footprint: energy apart by what it grows with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from lichen.carbon import Footprint, Range

TRAINING = ("autoencoder", "encode", "diffusion", "gan", "segmenter", "validate")
"""Phases that are done once, however many images are drawn."""
EACH_IMAGE = ("decode", "synthesise")
"""Phases that take the same for each image, however many steps the sampler has."""
SYNTHESIS = ("compile", "denoise", *EACH_IMAGE)
"""Phases that draw images; all others look at what there is."""
_PARTS = ("training", "compile", "denoise", "decode", "rest")
_NOTHING = Range(0.0, 0.0, 0.0)


def footprint_of(
    phases: Iterable[Mapping[str, Any]], *, images: int, network_calls: int, batch_size: int
) -> Footprint | None:
    """The footprint of phases as ``summary.json`` has them; ``None`` where nothing was measured.

    ``images`` were drawn in batches with so many ``network_calls`` each; not counted if nothing of that was measured.
    """
    parts: dict[str, Range] = {}
    for phase in phases:
        if phase["low_j"] is None:
            continue
        part = _part(phase["phase"])
        energy_j = Range(phase["low_j"], phase["energy_j"], phase["high_j"])
        parts[part] = parts.get(part, _NOTHING) + energy_j
    if not parts:
        return None
    training, compiling, denoise, decode, rest = (parts.get(part, _NOTHING) for part in _PARTS)
    found = Footprint(training, denoise, decode, rest, compiling)
    if not images or found.denoise_j.high + found.decode_j.high == 0:
        return found
    return replace(found, images=images, calls=network_calls, batch=batch_size)


def _part(phase: str) -> str:
    if phase in TRAINING:
        return "training"
    if phase in EACH_IMAGE:
        return "decode"
    return phase if phase in SYNTHESIS else "rest"
