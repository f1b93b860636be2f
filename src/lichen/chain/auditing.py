"""Is there a patient among the synthetic images? An audit of a run's samples, or of any folder."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lichen.audit import AuditResult, audit, audit_steps, find_score, write_audit
from lichen.chain.data import Data, check_bound, classes_of, read_images
from lichen.chain.meeting import common_grid, load_samples, open_made, open_real, with_left_out
from lichen.config import AuditConfig, RunConfig
from lichen.errors import ConfigError
from lichen.files import sha256_of
from lichen.images import Fit, ImageSet, Item, Source, load_set, open_folder
from lichen.runs import RunFolder
from lichen.stored import generator_settings
from lichen.training.autoencoder import restored
from lichen.training.generator import Generator, load_generator
from lichen.watch import Watch

if TYPE_CHECKING:
    from lichen.audit.planted import RoundTrip
    from lichen.options import AuditOptions

WORK = "work-with-patient-images"
"""Folder beside ``audit.json`` while an audit goes on; it says in its name what it may hold. Gone at the end."""
RESTORED_AT_ONCE = 4
"""Images that go through the autoencoder together; volumes are large."""


@dataclass(frozen=True)
class Audited:
    """A verdict, and what it was made of."""

    result: AuditResult
    synthetic: ImageSet
    train: ImageSet
    inputs_sha256: dict[str, str]
    """What was compared -> its SHA-256."""
    files_sha256: dict[str, str]
    """Synthetic image -> that of its file, for those that are files of their own."""


def audit_samples(config: RunConfig, data: Data, folder: RunFolder, generator: Generator, watch: Watch) -> Audited:
    """Compare the samples of a run with its training patients, and write the run's ``audit.json``."""
    source = open_folder(folder.samples)
    round_trip, (train, held_out) = through(generator), _trained_on(data)
    steps = _steps(config.audit, source, train, held_out, round_trip=round_trip is not None)
    with watch.phase("audit", steps) as step:
        synthetic = load_samples(source, data.train, config.images.window, step)
        result = audit(
            synthetic,
            train,
            held_out,
            config.audit,
            round_trip=round_trip,
            step=step,
            team=watch.team,
        )
    inputs, files = {"generator": generator.sha256}, _files_sha256(folder.samples, source)
    if watch.team.leads:
        write_audit(result, folder.audit, inputs_sha256=inputs, files_sha256=files)
    return Audited(result, synthetic, data.train, inputs, files)


def audit_folders(options: AuditOptions, watch: Watch) -> Audited:
    """Audit the images of any generator with those of ``options.train`` and of patients it never saw."""
    check_scores(options.audit)
    reference = options.reference or options.withheld
    if options.train is None or reference is None:
        raise ConfigError(
            "an audit needs the training images and real images of other patients",
            fix="give --train DIR and --reference DIR, or --run RUN for those of a run folder",
        )
    work = options.out / WORK
    folders = {"train": options.train, "reference": reference}
    if options.withheld is not None:
        folders["withheld"] = options.withheld
    sources = {name: open_real(path, options.images) for name, path in folders.items()}
    made, skip_bad = open_made(options.synthetic, options.images), options.images.skip_bad
    size, fit = common_grid(made, tuple(sources.values()), options.images)
    classes = classes_of(*sources.values(), skip_bad=skip_bad)
    with watch.phase("read", sum(len(source.items) for source in sources.values())) as step:
        sets = {
            name: load_set(
                source.items,
                size,
                fit,
                classes=classes,
                skip_bad=skip_bad,
                cache_dir=_cache_dir(source.items, size, options.audit, work),
                step=step,
            )
            for name, source in sources.items()
        }
    sets = {name: with_left_out(images, sources[name], name, watch) for name, images in sets.items()}
    return _compare(options, sets, fit, None, watch)


def audit_with_run(run: RunFolder, options: AuditOptions, device: torch.device, watch: Watch) -> Audited:
    """The same, with the training and held-out patients of a ``run``, and with its autoencoder for the self-test."""
    check_scores(options.audit)
    config = generator_settings(run)
    data = read_images(config, watch)
    if data.skipped:  # it trained without them only if they are the ones that it left out then
        check_bound(run, data.train)
    round_trip = None
    if run.generator.is_file():
        round_trip = through(load_generator(run.generator, device, config.memory.budget_bytes))
    train, held_out = _trained_on(data)
    return _compare(options, {"train": train, "reference": held_out}, "crop-pad", round_trip, watch)


def through(generator: Generator) -> RoundTrip | None:
    """The way of images (B, C, *S) through the autoencoder of ``generator`` and back.

    None where it has none, and where it codes label maps too: the audit compares images alone.
    """
    autoencoder = generator.bottleneck
    if autoencoder is None or generator.spec.classes:
        return None

    def round_trip(images: Tensor) -> Tensor:
        return torch.cat([restored(autoencoder, batch) for batch in images.split(RESTORED_AT_ONCE)])

    return round_trip


def check_scores(config: AuditConfig) -> None:
    """Raise ``AuditError`` for a score that does not exist, before hours of training and not after."""
    for name in config.scores:
        find_score(name)


def check_out(options: AuditOptions) -> None:
    """Raise ``ConfigError`` where the names of patients would be written among the images that are to be shared."""
    if options.out.resolve().is_relative_to(options.synthetic.resolve()):
        raise ConfigError(
            f"{options.out} lies in {options.synthetic}: the list of patients' names would go wherever the images go",
            fix="choose another --out",
        )


def _compare(
    options: AuditOptions, sets: dict[str, ImageSet], fit: Fit, round_trip: RoundTrip | None, watch: Watch
) -> Audited:
    """Audit the synthetic images with ``sets``: train, reference, and withheld if there is such a set."""
    train, reference, withheld = sets["train"], sets["reference"], sets.get("withheld")
    source, size, work = open_made(options.synthetic, options.images), tuple(train.voxels.shape[2:]), options.out / WORK
    steps = _steps(
        options.audit, source, train, reference, withheld=withheld is not None, round_trip=round_trip is not None
    )
    with watch.phase("audit", steps) as step:
        cache_dir = _cache_dir(source.items, size, options.audit, work)
        synthetic = load_set(
            source.items,
            size,
            fit,
            classes=train.classes,
            skip_bad=options.images.skip_bad,
            cache_dir=cache_dir,
            step=step,
        )
        synthetic = with_left_out(synthetic, source, "synthetic", watch)
        result = audit(
            synthetic,
            train,
            reference,
            options.audit,
            withheld=withheld,
            round_trip=round_trip,
            step=step,
            team=watch.team,
            work=work,
        )
    watch.team.wait()  # the others may still read what the leader is about to remove
    if watch.team.leads:
        shutil.rmtree(work, ignore_errors=True)
    inputs = {name: images.sha256() for name, images in {"synthetic": synthetic, **sets}.items()}
    return Audited(result, synthetic, train, inputs, _files_sha256(options.synthetic, source))


def _trained_on(data: Data) -> tuple[ImageSet, ImageSet]:
    """The training and held-out images of a run; what it left out it never trained on, and no audit misses it."""
    return replace(data.train, skipped=()), replace(data.held_out, skipped=())


def _steps(
    config: AuditConfig,
    synthetic: Source,
    train: ImageSet,
    reference: ImageSet,
    *,
    withheld: bool = False,
    round_trip: bool = False,
) -> int:
    """How many images a progress bar over reading and auditing ``synthetic`` counts."""
    count = len(synthetic.items)
    return count + audit_steps(config, count, train, reference, withheld=withheld, round_trip=round_trip)


def _files_sha256(folder: Path, source: Source) -> dict[str, str]:
    """The digest of each image's file; an image of an archive or a DICOM series has none of its own."""
    files = {item.name: folder / item.name for item in source.items}
    return {name: sha256_of(path) for name, path in files.items() if path.is_file()}


def _cache_dir(items: Sequence[Item], size: tuple[int, ...], config: AuditConfig, work: Path) -> Path | None:
    """Where decoded images are kept while an audit goes on, if they would take over a quarter of its memory."""
    return work if 4 * len(items) * math.prod(size) > config.memory_mb * 2**20 // 4 else None
