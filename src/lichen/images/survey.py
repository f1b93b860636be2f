"""What lichen would read, before anybody trains on it: counts, shapes, values, and what is wrong with which image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lichen.config import ImagesConfig
from lichen.errors import ImageError, LichenError
from lichen.images.normalise import intensity_ranges
from lichen.images.size import choose_size
from lichen.images.split import split_by_patient
from lichen.images.types import Image, Item, Source
from lichen.progress import Step, silent

MOST_SHAPES = 5
"""Different shapes and spacings listed, the most frequent first."""


@dataclass(frozen=True)
class Problem:
    """An image that cannot be used."""

    name: str
    reason: str
    fix: str
    """For the person at the terminal alone: it may hold the path of a file, and that a patient's name."""


@dataclass(frozen=True)
class Survey:
    """What a folder holds. Counts are of images that can be used; ``kinds`` are most frequent first."""

    label: str
    note: str
    images: int
    patients: int
    patients_known: bool
    spatial_dims: int
    train_patients: int
    held_out_patients: int
    shapes: tuple[tuple[str, int], ...]
    spacings_mm: tuple[tuple[str, int], ...]
    channels: tuple[tuple[int, int], ...]
    channel_names: tuple[str, ...]
    """In order, where settings or a table name them; a label map is the last one."""
    classes: tuple[tuple[int, float], ...]
    """Each class of the label maps and its share of the voxels of all images; empty: there are no label maps."""
    values: tuple[float, float] | None
    """Medians over the images of their 0.5th and 99.5th percentiles, without label maps; None if none can be used."""
    grid: tuple[int, ...] | None
    """The grid that a run would choose; None if it could not."""
    problems: tuple[Problem, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything but the fixes, which may name files."""
        found = asdict(self)
        found["problems"] = [{"name": problem.name, "reason": problem.reason} for problem in self.problems]
        return found


def survey(source: Source, config: ImagesConfig, *, step: Step = silent) -> Survey:
    """Decode every image of ``source`` once and sum up what there is; ``step`` counts them.

    Images of another number of axes or channels than most are problems, as they are for a run.
    """
    shapes: Counter[str] = Counter()
    spacings: Counter[str] = Counter()
    channels: Counter[int] = Counter()
    labelled: Counter[int] = Counter()
    ranges: list[tuple[float, float]] = []
    usable: list[tuple[Item, int]] = []
    problems = [Problem(skipped.name, skipped.reason, "") for skipped in source.skipped]
    for item in source.items:
        try:
            image = _read(item, source)
        except ImageError as error:
            left_out = item.left_out(error)
            problems.append(Problem(left_out.name, left_out.reason, error.fix))
        else:
            geometry = image.geometry
            shapes[" x ".join(map(str, geometry.shape))] += 1
            spacings[" x ".join(f"{mm:.3g}" for mm in geometry.spacing_mm)] += 1
            channels[len(image.voxels)] += 1
            pictures = image.voxels[:-1] if source.has_label_map else image.voxels
            labelled += _counts(image) if source.has_label_map else Counter()
            low, high = intensity_ranges(pictures).mean(axis=0)
            ranges.append((float(low), float(high)))
            usable.append((item, len(image.voxels)))
        step(1)
    usual = channels.most_common(1)[0][0] if channels else 0
    problems += [
        Problem(item.name, f"{item.name} has {count} channels and most have {usual}", "make all images alike")
        for item, count in usable
        if count != usual
    ]
    items = tuple(item for item, count in usable if count == usual)
    kept = Source(source.label, items, source.spatial_dims, source.is_phantom, source.patients_known)
    train, held_out = split_by_patient(kept, config.held_out_fraction, config.split_seed, config.patients)
    return Survey(
        label=source.label,
        note=source.note,
        images=len(items),
        patients=_patients(items),
        patients_known=source.patients_known,
        spatial_dims=source.spatial_dims,
        train_patients=_patients(train),
        held_out_patients=_patients(held_out),
        shapes=tuple(shapes.most_common(MOST_SHAPES)),
        spacings_mm=tuple(spacings.most_common(MOST_SHAPES)),
        channels=tuple(channels.most_common()),
        channel_names=source.channels,
        classes=tuple((label, count / labelled.total()) for label, count in sorted(labelled.items())),
        values=None
        if not ranges
        else (float(np.median(np.array(ranges)[:, 0])), float(np.median(np.array(ranges)[:, 1]))),
        grid=_grid(kept, config),
        problems=tuple(problems),
    )


def _read(item: Item, source: Source) -> Image:
    image = item.read()
    if (axes := image.voxels.ndim - 1) != source.spatial_dims:
        raise ImageError(
            f"{item.name} has {axes} spatial axes and most images have {source.spatial_dims}",
            fix="keep two- and three-dimensional images in folders of their own",
        )
    if source.has_label_map and item.scan_label is not None:
        item.scan_label()
    return image


def _counts(image: Image) -> Counter[int]:
    """How many voxels of the label map each class has."""
    classes, counts = np.unique(image.voxels[-1], return_counts=True)
    return Counter(dict(zip(classes.astype(int).tolist(), counts.tolist(), strict=True)))


def _patients(items: Iterable[Item]) -> int:
    return len({item.patient for item in items})


def _grid(source: Source, config: ImagesConfig) -> tuple[int, ...] | None:
    try:
        return choose_size(source, config.size, spacing_mm=config.spacing, skip_bad=True) if source.items else None
    except LichenError:
        return None
