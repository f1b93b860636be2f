"""What synthetic images are good for: a segmenter that learns from them, tested on real ones.

Beside it stands one that learned from real images, as many, in the same way. Who chooses the weights and who is tested
are real patients, the same for both, and of neither training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from lichen.audit.checks import taken, without
from lichen.chain.lesson import lesson, score
from lichen.chain.parts import is_labelled
from lichen.chain.segmenting_ahead import work_of
from lichen.config import SegmentationConfig, SegmentationTraining, SegmenterConfig
from lichen.errors import ConfigError, ImageError
from lichen.images import ImageSet
from lichen.models.segmenter import check_size, downsampling
from lichen.quality.dice import DiceScores
from lichen.quality.estimates import drawn
from lichen.seeds import mix_seed
from lichen.statistics import Interval, difference
from lichen.watch import Watch

CHOOSING = 0.25
"""Share of the reference patients who choose the weights; the others are tested."""
LEAST_PATIENTS = 4
"""Of the reference: one to choose, and three to test for an interval to speak of."""


@dataclass(frozen=True)
class Usefulness:
    """How well a task is learned from synthetic images, and from real ones."""

    images: int
    """That each learned from."""
    parameters: int
    synthetic: DiceScores
    real: DiceScores | None
    """None where there are no real images to learn from."""

    @property
    def difference(self) -> Interval | None:
        """Dice of what learned from synthetic images, less that of the other; paired by patient."""
        return None if self.real is None else difference(self.synthetic.by_patient, self.real.by_patient)

    def as_json(self) -> dict[str, Any]:
        """For ``quality.json``."""
        paired = self.difference
        return {
            "name": "segmentation",
            "train_images": self.images,
            "test_patients": len(self.synthetic.patients),
            "parameters": self.parameters,
            "synthetic": self.synthetic.as_json(),
            "real": None if self.real is None else self.real.as_json(),
            "difference": None if paired is None else paired.as_json(),
        }


def usefulness(
    synthetic: ImageSet,
    reference: ImageSet,
    train: ImageSet | None,
    segmenter: SegmenterConfig,
    training: SegmentationTraining,
    device: torch.device,
    watch: Watch,
) -> Usefulness:
    """Learn to segment from ``synthetic`` images and, if there are any, from ``train``; test on the ``reference``.

    All sets have their label maps, with the same classes, on one grid.

    Raises:
        ConfigError: the network cannot halve the grid.
        ImageError: a set has no labels, or the reference too few patients.
    """
    _check_grid(reference, segmenter)
    choosing = _choosing(reference.patients)
    test = without(reference, choosing)
    validation = without(reference, set(test.patients))
    labelled = {"synthetic": synthetic, "training": train, "choosing reference": validation, "tested reference": test}
    for name, images in labelled.items():
        if images is not None and not is_labelled(images):
            raise ImageError(
                f"no voxel of the {name} images is labelled on the grid", fix="give more images with label maps"
            )
    count = len(synthetic.names) if train is None else min(len(synthetic.names), len(train.names))
    config = SegmentationConfig(segmenter=segmenter, training=training)

    def learned_from(images: ImageSet, phase: str) -> tuple[nn.Module, DiceScores]:
        some = taken(images, drawn("task", len(images.names), count))
        work = work_of(config, some, [count, len(validation.names), len(test.names)])
        learner = lesson(work, some, validation, device, watch)
        with TemporaryDirectory(prefix="lichen-") as scratch, watch.phase(phase, training.images_seen) as step:
            learner.take_best(learner.learn(Path(scratch) / "state.safetensors", _nowhere, step))
            return learner.network, score(learner.network, test, training)

    network, made = learned_from(synthetic, "task")
    real = None if train is None else learned_from(train, "task-real")[1]
    return Usefulness(count, sum(weights.numel() for weights in network.parameters()), made, real)


def _choosing(patients: Sequence[str]) -> set[str]:
    """A quarter of the ``patients``, always the same; raises ImageError for too few."""
    everyone = sorted(set(patients), key=lambda name: (mix_seed("task", name), name))
    if len(everyone) < LEAST_PATIENTS:
        raise ImageError(
            f"the reference images are of {len(everyone)} patients; a task takes {LEAST_PATIENTS}: "
            "one to choose the weights, and others to test",
            fix="give real images of more patients with --reference",
        )
    return set(everyone[: round(CHOOSING * len(everyone))])


def _check_grid(images: ImageSet, segmenter: SegmenterConfig) -> None:
    size, factor = images.voxels.shape[2:], downsampling(segmenter)
    if any(side % factor for side in size):
        raise ConfigError(
            f"images are compared on {' x '.join(map(str, size))} voxels, which a segmenter of {segmenter.levels} "
            f"levels cannot halve: sides must be multiples of {factor}",
            fix="give another grid with --images.size, or fewer --segmenter.levels",
        )
    check_size(segmenter, size)


def _nowhere(record: object) -> None:
    del record
