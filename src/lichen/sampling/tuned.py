"""The cheapest setting that samples as the reference does, kept in the checkpoint it was found for."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from lichen.config import SamplingConfig
from lichen.errors import CheckpointError
from lichen.samplers import SamplerName, ScheduleName
from lichen.settings import from_plain
from lichen.training.checkpoint import load_tensors, read_about, save_tensors

Reference = Literal["ddim-250", "ddim-50"]
"""Deterministic samplers: the same noise gives the same image, so that cheaper ones can be compared image by image."""

MOST_STEPS = 10_000
MOST_BATCH = 4096


@dataclass(frozen=True)
class Tuned:
    """A setting of the sampler, and why it is the one."""

    sampler: SamplerName
    schedule: ScheduleName
    steps: int
    batch_size: int
    """Of least energy per image, on the machine that tuned."""
    compile_from: int | None
    """Number of images from which compiling pays there; None: never, or not tried."""
    reference: Reference
    images: int
    """How many each sampler drew."""
    distance: float
    """Squared MMD to the reference, in its features' standard deviations."""
    distance_high: float
    """Upper end, corrected for the number of settings that were tried."""
    margin: float
    """Squared MMD between two sets of half as many reference images that differ by their seeds: 95 % are below."""
    level: float
    """Chance that a setting whose true distance is above the margin was taken."""
    least_contrast_loss: float | None
    """The smallest loss of contrast, of a list, that would not have been within; None: none of them would be seen."""
    at: str
    """When."""

    def __post_init__(self) -> None:
        counts = ((self.steps, 2, MOST_STEPS), (self.batch_size, 1, MOST_BATCH), (self.images, 1, 10**9))
        for value, least, most in counts:
            if not least <= value <= most:
                raise ValueError(f"{value} is not from {least} to {most}")
        if self.compile_from is not None and (type(self.compile_from) is not int or self.compile_from < 1):
            raise ValueError(f"compile_from is {self.compile_from!r}")
        loss = self.least_contrast_loss
        if loss is not None and type(loss) is not float:
            raise ValueError(f"least_contrast_loss is {loss!r}")
        for figure in (self.distance, self.distance_high, self.margin, self.level, loss or 0.0):
            if not math.isfinite(figure):
                raise ValueError(f"{figure!r} is no figure")

    def settings(self, base: SamplingConfig) -> SamplingConfig:
        """``base`` with what was found; compiled if as many images as ``base`` asks for pay for it.

        A batch is always computed whole, so none is larger than the number of images.
        """
        return replace(
            base,
            preset=None,
            sampler=self.sampler,
            schedule=self.schedule,
            steps=self.steps,
            batch_size=min(self.batch_size, base.count),
            compile=self.compile_from is not None and base.count >= self.compile_from,
        )


def read_tuned(checkpoint: Path) -> Tuned | None:
    """What ``checkpoint`` was tuned to; None where it was not, or cannot be read as a checkpoint at all.

    Raises:
        CheckpointError: there is a record that says nothing, or nothing possible.
    """
    plain = read_about(checkpoint).get("tuned")
    if plain is None:
        return None
    try:
        return from_plain(Tuned, plain)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise CheckpointError(
            f"{checkpoint} holds a record of tuning that cannot be read ({error})",
            fix="tune it anew with: lichen sample MODEL --tune",
        ) from error


def keep_tuned(checkpoint: Path, tuned: Tuned) -> None:
    """Write ``tuned`` into ``checkpoint``, whole or not at all; its weights, and so its samples, stay as they are."""
    tensors, about = load_tensors(checkpoint, "generator")
    save_tensors(checkpoint, tensors, {**about, "tuned": asdict(tuned)})
