"""The state of a training on disk: tensors, how far it is, and the weights of the last quiet probe."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lichen.errors import CheckpointError
from lichen.training.checkpoint import load_tensors, load_weights, read_about, save_tensors, with_prefix, without_prefix


@dataclass(frozen=True)
class Kept:
    """The averaged weights at a probe that found nothing."""

    images_seen: int
    weights: Mapping[str, Tensor]

    @staticmethod
    def of(images_seen: int, average: nn.Module) -> Kept:
        """A copy of them as they are now."""
        return Kept(images_seen, {name: value.to("cpu", copy=True) for name, value in average.state_dict().items()})


def images_seen(state_path: Path) -> int:
    """How many images the training saved in ``state_path`` has seen; 0 if there is none that can be read."""
    seen = read_about(state_path).get("images_seen")
    return seen if type(seen) is int and seen > 0 else 0


def save_state(
    path: Path,
    tensors: Mapping[str, Tensor],
    phase: str,
    images_seen: int,
    kept: Kept | None,
    **more: float,
) -> None:
    """Write the state of a training: its ``tensors``, how far it is, and what was kept of the last quiet probe."""
    about = {"kind": "training", "phase": phase, "images_seen": images_seen, **more}
    if kept is not None:
        tensors = {**tensors, **with_prefix("kept", dict(kept.weights))}
        about["kept_images_seen"] = kept.images_seen
    save_tensors(path, tensors, about)


def load_state(path: Path, phase: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What ``save_state`` wrote of a training of this ``phase``; raises CheckpointError for any other."""
    tensors, about = load_tensors(path, "training")
    found, seen = about.get("phase"), about.get("images_seen")
    if found != phase:
        raise CheckpointError(
            f"{path} holds the training of the {found}, not of the {phase}",
            fix="give each training its own file",
        )
    if type(seen) is not int or seen < 0:
        raise CheckpointError(
            f"{path} does not say how many images were seen", fix="delete it, and repeat the command to begin anew"
        )
    return tensors, about


def kept_in(tensors: Mapping[str, Tensor], about: Mapping[str, Any], average: nn.Module, path: Path) -> Kept | None:
    """What a state has kept of the last quiet probe, if anything; raises CheckpointError if it does not fit."""
    kept_seen, weights = about.get("kept_images_seen"), without_prefix("kept", tensors)
    if type(kept_seen) is not int:
        return None
    load_weights(copy.deepcopy(average), weights, path)  # refuses what does not fit
    return Kept(kept_seen, weights)
