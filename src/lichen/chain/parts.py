"""The images of a segmentation: read, with their label maps, in three parts that have nobody in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from lichen.audit.checks import fingerprints
from lichen.chain.data import load_parts
from lichen.config import SegmentationConfig
from lichen.errors import ImageError
from lichen.images import ImageSet, Item, Skipped, Source, choose_size, nearest_class, open_source, split_by_patient
from lichen.images.labels import background_class
from lichen.models.segmenter import check_size, downsampling
from lichen.plurals import plural
from lichen.seeds import mix_seed
from lichen.watch import Watch

LEAST_PATIENTS = 3
"""One to train on, one who chooses the weights, one to test on."""


@dataclass(frozen=True)
class Parts:
    """The images of a segmentation; the last channel of each is its label map."""

    source: Source
    train: ImageSet
    validation: ImageSet
    test: ImageSet

    @property
    def each(self) -> dict[str, ImageSet]:
        """The parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Images that were left out because they cannot be used."""
        return (*self.source.skipped, *(skipped for part in self.each.values() for skipped in part.skipped))


def read_parts(config: SegmentationConfig, watch: Watch) -> Parts:
    """Decode, normalise and grid all images and label maps, in three parts by patient.

    Raises:
        ImageError: there are no label maps, too few patients, nothing labelled in a part, or one image in two parts.
    """
    source = open_labelled(config)
    size = grid_of(config, source)
    parts = Parts(source, *load_parts(config.images, source, size, split_in_three(config, source), watch))
    _check_labelled(parts)
    _check_apart(parts)
    return parts


def open_labelled(config: SegmentationConfig) -> Source:
    """The images that the settings name; raises ImageError where they have no label maps."""
    source = open_source(config.images)
    if source.is_phantom:
        raise ImageError(
            f"{source.label} have no label maps, and a segmenter learns from them",
            fix="give images that have, with --images.path DIR --images.label NAME",
        )
    if not source.has_label_map:
        raise ImageError(
            f"nothing says which label maps belong to the images of {source.label}",
            fix="name their channel, or the table's column of their files, with --images.label",
        )
    return source


def grid_of(config: SegmentationConfig, source: Source) -> tuple[int, ...]:
    """The grid in voxels of the images from ``source``, which the network can halve; raises ConfigError."""
    images = config.images
    size = choose_size(
        source,
        images.size,
        multiple=downsampling(config.segmenter),
        spacing_mm=images.spacing,
        skip_bad=images.skip_bad,
    )
    check_size(config.segmenter, size)
    return size


def split_in_three(
    config: SegmentationConfig, source: Source
) -> tuple[tuple[Item, ...], tuple[Item, ...], tuple[Item, ...]]:
    """The items to train on, to choose the weights by and to test on; no patient has images in two of them.

    Those to test on are the held-out ones of a run with the same settings of images. Raises ImageError for too few
    patients.
    """
    images, fraction = config.images, config.training.validation_fraction
    rest, test = split_by_patient(source, images.held_out_fraction, images.split_seed)
    seed = mix_seed(images.split_seed, "validation")
    train, validation = split_by_patient(replace(source, items=rest), fraction, seed, images.patients)
    if not (train and validation and test):
        patients = plural(len({item.patient for item in source.items}), "patient")
        raise ImageError(
            f"{source.label} has {patients}, of whom {images.held_out_fraction:.0%} are to be tested on; "
            "nobody is left for training, validation or test",
            fix=f"give at least {LEAST_PATIENTS} patients, and an --images.held-out-fraction above 0",
        )
    return train, validation, test


def class_numbers(images: ImageSet) -> Tensor:
    """The label maps of ``images`` as numbers of their classes, (N, *S) uint8."""
    numbers = nearest_class(images.voxels[:, -1].numpy(), range(len(images.classes)))
    return torch.from_numpy(numbers).to(torch.uint8)


def background_number(images: ImageSet) -> int:
    """The number, among the classes of ``images``, of what is not labelled."""
    return images.classes.index(background_class(images.classes))


def is_labelled(images: ImageSet) -> bool:
    """Whether any voxel of ``images`` has another class than the background."""
    return len(images.classes) > 1 and bool((class_numbers(images) != background_number(images)).any())


def _check_labelled(parts: Parts) -> None:
    """Every part needs something to find, or nothing could be learned, chosen or said there."""
    for name, images in parts.each.items():
        if not is_labelled(images):
            raise ImageError(
                f"no {name} image of {parts.source.label} has a labelled voxel on the grid",
                fix="give more patients, or pick slices that are labelled, e.g. --images.slices 'label>=0.02'",
            )


def _check_apart(parts: Parts) -> None:
    """Refuse an image that is in two parts under two patients' names."""
    prints = {
        name: dict(zip(fingerprints(images.without_label_map.voxels), images.names, strict=True))
        for name, images in parts.each.items()
    }
    for one, other in combinations(prints, 2):
        if same := _common(prints[one], prints[other]):
            first, second = prints[one][same[0]], prints[other][same[0]]
            raise ImageError(
                f"{one} image {first} and {other} image {second} are identical in every voxel"
                + (f", and {len(same) - 1} more" if len(same) > 1 else ""),
                fix="remove one of them, or give both to one patient in the table of images",
            )


def _common(one: dict[str | None, str], other: dict[str | None, str]) -> Sequence[str]:
    return [print_ for print_ in one if print_ is not None and print_ in other]
