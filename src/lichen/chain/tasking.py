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
from lichen.config import SegmentationConfig, SegmenterConfig
from lichen.errors import ConfigError, ImageError
from lichen.images import ImageSet
from lichen.models.segmenter import check_size, downsampling
from lichen.plurals import plural
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


@dataclass(frozen=True)
class Task:
    """What is learned from, and who chooses and is tested; all with label maps of the same classes, on one grid."""

    config: SegmentationConfig
    """Its segmenter and training count."""
    synthetic: ImageSet
    train: ImageSet | None
    validation: ImageSet
    test: ImageSet

    def measure(self, device: torch.device, watch: Watch) -> Usefulness:
        """Learn to segment from synthetic images and, if there are any, from as many real ones; test both."""
        sets = [images for images in (self.synthetic, self.train) if images is not None]
        count = min(len(images.names) for images in sets)
        network, made = self._learned(self.synthetic, count, "task", device, watch)
        real = None if self.train is None else self._learned(self.train, count, "task-real", device, watch)[1]
        return Usefulness(count, sum(weights.numel() for weights in network.parameters()), made, real)

    def _learned(
        self, images: ImageSet, count: int, phase: str, device: torch.device, watch: Watch
    ) -> tuple[nn.Module, DiceScores]:
        """A segmenter that learned from ``count`` of the ``images``, and what it scores."""
        some = taken(images, drawn("task", len(images.names), count))
        work = work_of(self.config, some, [count, len(self.validation.names), len(self.test.names)])
        learner = lesson(work, some, self.validation, device, watch)
        with TemporaryDirectory(prefix="lichen-") as scratch, watch.phase(phase, work.recipe.images) as step:
            learner.take_best(learner.learn(Path(scratch) / "state.safetensors", _nowhere, step))
            return learner.network, score(learner.network, self.test, self.config.training)


def task_of(config: SegmentationConfig, synthetic: ImageSet, reference: ImageSet, train: ImageSet | None) -> Task:
    """The task of segmenting ``reference`` images, of whose patients a quarter chooses the weights.

    Raises:
        ConfigError: the network cannot halve the grid.
        ImageError: a set has no labels, or the reference too few patients.
    """
    _check_grid(reference, config.segmenter)
    test = without(reference, _choosing(reference.patients))
    validation = without(reference, set(test.patients))
    labelled = {"synthetic": synthetic, "training": train, "choosing reference": validation, "tested reference": test}
    for name, images in labelled.items():
        if images is not None and not is_labelled(images):
            raise ImageError(
                f"no voxel of the {name} images is labelled on the grid", fix="give more images with label maps"
            )
    return Task(config, synthetic, train, validation, test)


def _choosing(patients: Sequence[str]) -> set[str]:
    """A quarter of the ``patients``, always the same; raises ImageError for too few."""
    everyone = sorted(set(patients), key=lambda name: (mix_seed("task", name), name))
    if len(everyone) < LEAST_PATIENTS:
        raise ImageError(
            f"the reference images are of {plural(len(everyone), 'patient')}; a task takes {LEAST_PATIENTS}: "
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
