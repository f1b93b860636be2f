"""How good samples are, by figures that need no download."""

from __future__ import annotations

from dataclasses import dataclass

from lichen.chain.data import Data
from lichen.images import ImageSet
from lichen.progress import Step
from lichen.quality import LEAST_COMPARED, LEAST_PATIENTS, KernelDistance, kernel_distance
from lichen.training.autoencoder import reconstruction_l1
from lichen.training.generator import Generator

MOST_RESTORED = 64
"""Held-out images on which the autoencoder's error is measured."""


@dataclass(frozen=True)
class Quality:
    """How good a generator is, by figures that need no download."""

    distance: KernelDistance | None
    """None where a set has too few patients to tell."""
    reconstruction_l1: float | None
    """Mean absolute error of the autoencoder on held-out images, in units of the range [-1, 1]; None without one."""


def judge_quality(generator: Generator, data: Data, synthetic: ImageSet, step: Step) -> Quality:
    """Measure how far samples are from held-out images, label maps aside, and how well the autoencoder restores those.

    Numbers of classes are no intensities: the kernel distance of images would change with how many classes there are.
    """
    made, held_out, train = (images.without_label_map for images in (synthetic, data.held_out, data.train))
    enough = all(len(set(images.patients)) >= LEAST_PATIENTS for images in (made, held_out, train))
    enough &= len(made.names) >= LEAST_COMPARED
    distance = kernel_distance(made, held_out, train, step=step) if enough else None
    if generator.bottleneck is None:
        return Quality(distance, None)
    error = reconstruction_l1(generator.bottleneck, data.held_out.voxels[:MOST_RESTORED], batch_size=4, step=step)
    return Quality(distance, error)


def quality_steps(generator: Generator, data: Data, synthetic: ImageSet) -> int:
    """How many images a progress bar over ``judge_quality`` counts."""
    made, real = len(synthetic.names), len(data.held_out.names)
    restored = 0 if generator.bottleneck is None else min(real, MOST_RESTORED)
    return made + real + min(made, len(data.train.names)) + restored
