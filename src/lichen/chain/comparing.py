"""How good is a synthetic set? The figures of any folder, or of a run's samples, beside those between real images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lichen import __version__
from lichen.audit.checks import fingerprints, set_apart, without
from lichen.chain.data import check_bound, classes_of, read_images
from lichen.chain.encoding import encoder_features, encoder_steps, halved
from lichen.chain.meeting import common_grid, load_samples, open_made, open_real, with_left_out
from lichen.config import SegmentationConfig
from lichen.errors import RunError
from lichen.files import write_json
from lichen.images import ImageSet, load_set
from lichen.plurals import plural
from lichen.quality import (
    Extractor,
    Quality,
    Radiomics,
    RandomConv,
    figures_in,
    measure_quality,
    quality_steps,
    steps_in,
)
from lichen.quality.extractors import RADIOMICS, RANDOM_CONV
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.skipped import skipped_words
from lichen.stored import generator_settings
from lichen.watch import Watch

if TYPE_CHECKING:
    from lichen.chain.tasking import Task, Usefulness
    from lichen.options import QualityOptions
    from lichen.quality.brought import Brought

LAYOUT = 1
"""Of ``quality.json``."""
ENCODER = "encoder"
BUILT_IN: Mapping[str, Callable[[], Extractor]] = {"random-conv": RandomConv, "radiomics": Radiomics}
"""Features that need neither weights nor training."""

ABOUT = {
    RANDOM_CONV: "Textures at four scales, by a network with random weights that never change; comparable only within "
    "one project, between images of one kind on one grid.",
    RADIOMICS: "Grey values and texture by name, computed here; comparable between images on one grid.",
}
"""What is behind the names of the built-in features."""

NOT_SEEN = (
    "Copies of training patients: a set of perfect copies has perfect quality. lichen audit looks for them.",
    "Whether an image is right as medicine: no figure knows anatomy or disease, and a reader or a task has to say it.",
    "What the features do not hold, such as lesions smaller than their coarsest view, and what is finer than the grid.",
    "Chance: of twenty figures that are as between real images, one seems to differ at 95 %.",
)
OWN_RANGE = (
    "An overall change of brightness or contrast: each image is brought to the range of its own percentiles first."
)
LABEL_MAPS = "Label maps: all figures are of the images alone."


@dataclass(frozen=True)
class Compared:
    """What was found, and of what."""

    quality: Quality
    synthetic: ImageSet
    reference: ImageSet
    train: ImageSet | None
    about: Mapping[str, str]
    """Name of the features -> what they are."""
    not_seen: tuple[str, ...]
    task: Usefulness | None = None
    """None where no task was asked for."""

    def as_json(self) -> dict[str, Any]:
        """For ``quality.json``: figures, numbers and sums; no name of an image, patient or folder."""
        sets = {"synthetic": self.synthetic, "reference": self.reference}
        real = {"reference": self.reference}
        if self.train is not None:
            sets["train"] = real["train"] = self.train
        skipped = {name: len(images.skipped) for name, images in sets.items()}
        left_out = skipped_words(skipped)
        return {
            "lichen": __version__,
            "layout": LAYOUT,
            "counts": {f"{name}_images": len(images.names) for name, images in sets.items()}
            | {f"{name}_patients": len(set(images.patients)) for name, images in real.items()}
            | {"skipped": skipped},
            "grid": list(self.synthetic.voxels.shape[1:]),
            **self.quality.as_json(),
            "extractors": dict(self.about),
            "not_seen": [*self.not_seen, *([f"What was left out as unusable: {left_out}."] if left_out else [])],
            "task": None if self.task is None else self.task.as_json(),
            "inputs": {name: images.sha256() for name, images in sets.items()},
        }

    def write(self, path: Path) -> dict[str, Any]:
        """Write it to ``path``, and return what was written."""
        found = self.as_json()
        write_json(path, found)
        return found


def compare_folders(
    options: QualityOptions, brought: Sequence[Brought], device: torch.device, watch: Watch
) -> Compared:
    """The quality of the images in ``options.synthetic``, on one grid with the real ones."""
    real = {name: path for name in ("reference", "train") if (path := getattr(options, name)) is not None}
    sources = {name: open_real(path, options.images) for name, path in real.items()}
    assert options.synthetic is not None
    made, skip_bad = open_made(options.synthetic, options.images), options.images.skip_bad
    size, fit = common_grid(made, tuple(sources.values()), options.images)
    classes = classes_of(*sources.values(), skip_bad=skip_bad)
    sources["synthetic"] = made
    with watch.phase("read", sum(len(source.items) for source in sources.values())) as step:
        load = partial(load_set, size=size, fit=fit, classes=classes, skip_bad=skip_bad, step=step)
        sets = {"reference": load(sources["reference"].items)}
        channels = sets["reference"].voxels.shape[1]
        sets |= {name: load(sources[name].items, channels=channels) for name in sources if name not in sets}
    sets = {name: with_left_out(images, sources[name], name, watch) for name, images in sets.items()}
    reference, train = sets["reference"], sets.get("train")
    if train is not None:
        images = train.without_label_map
        _, shared = set_apart(images, reference.without_label_map, fingerprints(images.voxels), allowed=True)
        reference = without(reference, shared)
        if shared:
            watch.tell(f"left out of the reference, being in --train too: {plural(len(shared), 'patient')}")
    not_seen = (*NOT_SEEN, OWN_RANGE, *([LABEL_MAPS] if classes else []))
    return _compare(sets["synthetic"], reference, train, options, brought, device, watch, not_seen)


def compare_with_run(
    run: RunFolder, options: QualityOptions, brought: Sequence[Brought], device: torch.device, watch: Watch
) -> Compared:
    """The same with the held-out and training images of a ``run``; without ``options.synthetic`` of its samples.

    Raises:
        RunError: it has no samples, or its images are no longer those that it was trained on.
    """
    folder = options.synthetic or run.samples
    if not folder.exists():
        raise RunError(f"{run.path} has no samples", fix=f"draw some: lichen sample {run.path}")
    config = generator_settings(run)
    source, data = open_made(folder, options.images), read_images(config, watch)
    check_bound(run, data.train)
    with watch.phase("read", len(source.items)) as step:
        made = load_samples(source, data.train, config.images.window, step, skip_bad=options.images.skip_bad)
    made = with_left_out(made, source, "synthetic", watch)
    not_seen = (*NOT_SEEN, *([] if config.images.window else [OWN_RANGE]), *([LABEL_MAPS] if made.classes else []))
    return _compare(made, data.held_out, data.train, options, brought, device, watch, not_seen)


def _task(options: QualityOptions, synthetic: ImageSet, reference: ImageSet, train: ImageSet | None) -> Task:
    from lichen.chain.tasking import task_of  # loads statistics that a run has no use for

    config = SegmentationConfig()
    if options.task_config is not None:
        config = load_settings(options.task_config, config)
    return task_of(config, synthetic, reference, train)


def brought_by(options: QualityOptions, device: torch.device) -> list[Brought]:
    """Features by the user's weights; what does not fit is said before a folder is made and images are read."""
    from lichen.quality.brought import brought

    named = (words.partition("=") for words in options.weights)
    return [brought(name, Path(path).expanduser(), device) for name, _, path in named]


def _compare(
    synthetic: ImageSet,
    reference: ImageSet,
    train: ImageSet | None,
    options: QualityOptions,
    brought: Sequence[Brought],
    device: torch.device,
    watch: Watch,
    not_seen: tuple[str, ...],
) -> Compared:
    """Measure in all features, label maps aside; those of the encoder against training patients whom it does not know.

    The task, if there is one, comes last, and takes the label maps.
    """
    task = None if options.task is None else _task(options, synthetic, reference, train)
    synthetic, reference = synthetic.without_label_map, reference.without_label_map
    train = None if train is None else train.without_label_map
    for extractor in brought:  # before hours of others, and not after
        extractor.check(synthetic.voxels)
    built_in = [BUILT_IN[name]() for name in dict.fromkeys(options.features) if name in BUILT_IN]
    extractors: list[Extractor] = [*built_in, *brought]
    about = {name: ABOUT[name] for name in (extractor.name for extractor in built_in)}
    about |= {extractor.name: extractor.about for extractor in brought}
    halves = None if train is None or ENCODER not in options.features else halved(train)
    total = quality_steps(synthetic, reference, train, len(extractors))
    if halves is not None:
        total += encoder_steps(halves[0]) + steps_in(synthetic, reference, halves[1])
    with watch.phase("quality", total) as step:
        quality = measure_quality(synthetic, reference, train, extractors, step=step)
        if halves is not None:
            encoder = encoder_features(halves[0], device, step=step)
            about[encoder.name] = encoder.about
            added = figures_in(encoder, synthetic, reference, halves[1], step=step)
            quality = replace(quality, figures=(*quality.figures, *added))
    useful = None if task is None else task.measure(device, watch)
    return Compared(quality, synthetic, reference, train, about, not_seen, useful)
