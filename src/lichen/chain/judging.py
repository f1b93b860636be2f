"""What is said of samples: are they copies, and how good are they?"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lichen.audit import AuditResult, audit, find_score, write_audit
from lichen.chain.data import Data, read_images
from lichen.config import AuditConfig, RunConfig
from lichen.files import sha256_of
from lichen.images import (
    Fit,
    ImageSet,
    Item,
    Source,
    choose_size,
    load_set,
    open_folder,
    stored_window,
)
from lichen.progress import Step
from lichen.quality import LEAST_PATIENTS, KernelDistance, kernel_distance
from lichen.runs import RunFolder
from lichen.training.autoencoder import reconstruction_l1
from lichen.training.generator import Generator
from lichen.watch import Watch

if TYPE_CHECKING:
    from lichen.options import AuditOptions


LEAST_COMPARED = 16
"""Fewer synthetic images say nothing of a distance, and as few training images may be of too few patients."""


WORK = "work-with-patient-images"
"""Folder beside ``audit.json`` while an audit goes on; it says in its name what it may hold. Gone at the end."""


MOST_RESTORED = 64
"""Held-out images on which the autoencoder's error is measured."""


def audit_samples(config: RunConfig, data: Data, folder: RunFolder, watch: Watch) -> tuple[ImageSet, AuditResult]:
    """Compare the samples with the training patients; return them with the verdict."""
    source = open_folder(folder.samples)
    with watch.phase("audit", audit_steps(config.audit, source, data.held_out)) as step:
        files = {item.name: sha256_of(folder.samples / item.name) for item in source.items}
        synthetic = load_samples(source, data.train, config.images.window, step)
        result = audit(synthetic, data.train, data.held_out, config.audit, step=step, team=watch.team)
    if watch.team.leads:
        generator = sha256_of(folder.generator)
        write_audit(result, folder.audit, inputs_sha256={"generator": generator}, files_sha256=files)
    return synthetic, result


def audit_folders(
    options: AuditOptions, train: Path, reference: Path, watch: Watch
) -> tuple[AuditResult, dict[str, str]]:
    """Audit the images of any generator; return the verdict, and a SHA-256 of each of the three sets as compared."""
    check_scores(options.audit)
    column = options.images.patient_column
    train_source, reference_source = (open_folder(path, patient_column=column) for path in (train, reference))
    size, fit = options.images.size or _common_shape(options.synthetic), options.images.fit
    size = choose_size(train_source, size, multiple=1)
    work = options.out / WORK
    with watch.phase("read", len(train_source.items) + len(reference_source.items)) as step:
        train_set, reference_set = (
            load_set(source.items, size, fit, cache_dir=_cache_dir(source.items, size, options.audit, work), step=step)
            for source in (train_source, reference_source)
        )
    return _compare(options.synthetic, train_set, reference_set, fit, options.audit, work, watch)


def audit_with_run(
    config: RunConfig, synthetic: Path, settings: AuditConfig, out: Path, watch: Watch
) -> tuple[AuditResult, dict[str, str]]:
    """The same, with the training and held-out patients of the run that has the settings ``config``.

    ``out`` is the folder for ``audit.json``, where finished parts are kept meanwhile.
    """
    check_scores(settings)
    data = read_images(config, watch)
    return _compare(synthetic, data.train, data.held_out, "crop-pad", settings, out / WORK, watch)


def _common_shape(folder: Path) -> tuple[int, ...] | None:
    """The shape that all synthetic images share, which is the grid of their generator; None if they differ.

    Real images brought to another grid than the generator saw them on are scaled and padded otherwise, and its copies
    of them would go unnoticed.
    """
    shapes = {(item.look() if item.look else item.read().geometry).shape for item in open_folder(folder).items}
    return shapes.pop() if len(shapes) == 1 else None


def load_samples(source: Source, train_set: ImageSet, window: tuple[float, ...] | None, step: Step) -> ImageSet:
    """The samples of a run as they are: on the grid already, whatever spacing their affine gives."""
    channels, *size = train_set.voxels.shape[1:]
    stored = window and stored_window(channels, len(size), window)
    return load_set(source.items, tuple(size), "crop-pad", window=stored, step=step)


def _compare(
    folder: Path, train_set: ImageSet, reference: ImageSet, fit: Fit, config: AuditConfig, work: Path, watch: Watch
) -> tuple[AuditResult, dict[str, str]]:
    source, size = open_folder(folder), tuple(train_set.voxels.shape[2:])
    with watch.phase("audit", audit_steps(config, source, reference)) as step:
        cache_dir = _cache_dir(source.items, size, config, work)
        synthetic = load_set(source.items, size, fit, cache_dir=cache_dir, step=step)
        result = audit(synthetic, train_set, reference, config, step=step, team=watch.team, work=work)
    watch.team.wait()  # the others may still read what the leader is about to remove
    if watch.team.leads:
        shutil.rmtree(work, ignore_errors=True)
    sets = {"synthetic": synthetic, "train": train_set, "reference": reference}
    return result, {name: images.sha256() for name, images in sets.items()}


def _cache_dir(items: Sequence[Item], size: tuple[int, ...], config: AuditConfig, work: Path) -> Path | None:
    """Where decoded images are kept while an audit goes on, if they would take over a quarter of its memory."""
    return work if 4 * len(items) * math.prod(size) > config.memory_mb * 2**20 // 4 else None


def check_scores(config: AuditConfig) -> None:
    """Raise ``AuditError`` for a score that does not exist, before hours of training and not after."""
    for name in config.scores:
        find_score(name)


def audit_steps(config: AuditConfig, synthetic: Source, reference: ImageSet) -> int:
    """How many images a progress bar over reading and auditing ``synthetic`` counts."""
    read = len(synthetic.items)
    return read + len(config.scores) * (read + len(reference.names))


@dataclass(frozen=True)
class Quality:
    """How good a generator is, by figures that need no download."""

    distance: KernelDistance | None
    """None where a set has too few patients to tell."""
    reconstruction_l1: float
    """Mean absolute error of the autoencoder on held-out images, in units of the range [-1, 1]."""


def judge_quality(generator: Generator, data: Data, synthetic: ImageSet, step: Step) -> Quality:
    """Measure how far samples are from held-out images, and how well the autoencoder restores those."""
    sets = (synthetic, data.held_out, data.train)
    enough = all(len(set(images.patients)) >= LEAST_PATIENTS for images in sets)
    enough &= len(synthetic.names) >= LEAST_COMPARED
    distance = kernel_distance(*sets, step=step) if enough else None
    error = reconstruction_l1(generator.autoencoder, data.held_out.voxels[:MOST_RESTORED], batch_size=4, step=step)
    return Quality(distance, error)


def quality_steps(data: Data, synthetic: ImageSet) -> int:
    """How many images a progress bar over ``judge_quality`` counts."""
    made, real = len(synthetic.names), len(data.held_out.names)
    return made + real + min(made, len(data.train.names)) + min(real, MOST_RESTORED)
