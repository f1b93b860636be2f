"""The images of a run: read, split by patient, and bound to the weights they shape."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from lichen.audit.checks import fingerprints, set_apart, without
from lichen.config import ImagesConfig, RunConfig
from lichen.errors import ConfigError, ImageError, RunError
from lichen.files import write_text
from lichen.images import (
    MOST_PEEKED,
    ImageSet,
    Item,
    Skipped,
    Source,
    choose_size,
    find_classes,
    load_set,
    open_source,
    split_by_patient,
)
from lichen.models import autoencoder as autoencoders
from lichen.models import denoiser as denoisers
from lichen.models.stylegan2 import check_axes, check_size
from lichen.plurals import plural
from lichen.runs import RunFolder
from lichen.watch import Watch

GAN_STEP = 4
"""Sides that are chosen for a StyleGAN2 are multiples of this; not all of them fit it."""


@dataclass(frozen=True)
class Data:
    """The images of a run, split by patient."""

    source: Source
    train: ImageSet
    held_out: ImageSet

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Images that were left out because they cannot be used."""
        return (*self.source.skipped, *self.train.skipped, *self.held_out.skipped)


def read_images(config: RunConfig, watch: Watch) -> Data:
    """Decode, normalise and grid all images, and split them by patient."""
    images = config.images
    source = open_source(images)
    size = grid_of(config, source)
    train_items, held_out_items = split_by_patient(source, images.held_out_fraction, images.split_seed, images.patients)
    if not held_out_items:
        raise ImageError(
            f"{source.label} leaves no patient held out, so nothing can be audited",
            fix="add patients, or raise --images.held-out-fraction",
        )
    train, held_out = load_parts(images, source, size, (train_items, held_out_items), watch)
    return _apart(Data(source, train, held_out), config, watch)


def load_parts(
    images: ImagesConfig, source: Source, size: tuple[int, ...], parts: Sequence[Sequence[Item]], watch: Watch
) -> list[ImageSet]:
    """Decode, normalise and grid the ``parts`` of a source, all with the channels of the first; say what is left out.

    The parts hold items of their own each.
    """
    if source.note:
        watch.tell(source.note)
    count, found = sum(map(len, parts)), list[ImageSet]()
    with watch.phase("read", count) as step:
        load = partial(_loader(images, source, size), cache_dir=images.cache_dir, step=step)
        for items in parts:
            found.append(load(items, channels=found[0].voxels.shape[1] if found else None))
    skipped = (*source.skipped, *(skipped for part in found for skipped in part.skipped))
    tell_left_out(skipped, count + len(source.skipped), "image", "summary.json lists them", watch)
    return found


def tell_left_out(skipped: Sequence[Skipped], of: int, what: str, where: str, watch: Watch) -> None:
    """Say, if anything was left out ``of`` so many of ``what``, how many, where they are listed, and why the first."""
    if skipped:
        first = skipped[0]
        watch.tell(
            f"{len(skipped)} of {plural(of, what)} left out ({where}); the first is {first.name}: {first.reason}"
        )


def load_few(images: ImagesConfig, source: Source, size: tuple[int, ...], items: Sequence[Item]) -> ImageSet:
    """One of the ``items`` of a source, for its channels, or a few where some may be bad."""
    return _loader(images, source, size)(items[: MOST_PEEKED if images.skip_bad else 1])


def _loader(images: ImagesConfig, source: Source, size: tuple[int, ...]) -> partial[ImageSet]:
    """What brings items of a source to the grid, as the settings say."""
    return partial(
        load_set,
        size=size,
        fit=images.fit,
        spacing_mm=images.spacing,
        window=images.window,
        classes=classes_of(source, skip_bad=images.skip_bad),
        skip_bad=images.skip_bad,
    )


def _apart(data: Data, config: RunConfig, watch: Watch) -> Data:
    """``data`` if nobody is in both sets, or, where overlap is allowed, without those patients among the held-out."""
    train, held_out = data.train.without_label_map, data.held_out.without_label_map
    allowed = config.audit.allow_overlap
    _, shared = set_apart(train, held_out, fingerprints(train.voxels), allowed=allowed)
    if not shared:
        return data
    watch.tell(f"{plural(len(shared), 'held-out patient')} with images of training patients: not counted as held-out")
    return replace(data, held_out=without(data.held_out, shared))


def classes_of(*sources: Source, skip_bad: bool = False) -> tuple[int, ...]:
    """The values of the label maps among the channels of ``sources``, of all patients; empty: they have none."""
    return find_classes((i for s in sources if s.has_label_map for i in s.items), skip_bad=skip_bad)


def grid_of(config: RunConfig, source: Source) -> tuple[int, ...]:
    """The grid in voxels of a run's images from ``source``, which its networks can divide and its crops fit into.

    Raises:
        ConfigError: a size or a crop is named that does not do, or a StyleGAN2 is to make volumes.
    """
    images, crop = config.images, config.autoencoder.crop
    choose = partial(choose_size, source, images.size, spacing_mm=images.spacing, skip_bad=images.skip_bad)
    if config.model.kind == "stylegan2":
        check_axes(source.spatial_dims)  # before a size is asked for that volumes would have
        size = choose(multiple=GAN_STEP if images.size is None else 1)
        check_size(size)
        return size
    size = choose(multiple=autoencoders.downsampling(config.autoencoder) * denoisers.downsampling(config.denoiser))
    if crop is not None and (len(crop) != len(size) or any(c > side for c, side in zip(crop, size, strict=True))):
        raise ConfigError(
            f"autoencoder.crop is {' '.join(map(str, crop))}; the images are of {' '.join(map(str, size))} voxels",
            fix="give a smaller one with as many axes, or none to train on whole images",
        )
    return size


def bind_images(folder: RunFolder, *parts: ImageSet) -> None:
    """Note which images shape the weights of a run folder; refuse others in it afterwards.

    Otherwise a folder whose images changed would be resumed as if nothing had happened, and patients already trained on
    could be called held out.
    """
    if not folder.images.exists():
        write_text(folder.images, f"{_sha256(parts)}\n")
    else:
        check_bound(folder, *parts)


def check_bound(folder: RunFolder, *parts: ImageSet) -> None:
    """Refuse images other than those that shaped the weights of a run folder."""
    try:
        bound = folder.images.read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError as error:
        raise RunError(
            f"{folder.path} does not say which images it was trained on", fix="repeat its lichen run command"
        ) from error
    if bound != _sha256(parts):
        raise RunError(
            f"the training images are not those that the run in {folder.path} was begun with",
            fix="bring the images back as they were, or choose another folder with --out",
        )


def _sha256(parts: Sequence[ImageSet]) -> str:
    """Of one set its own, of several that of theirs."""
    each = [part.sha256() for part in parts]
    return each[0] if len(each) == 1 else hashlib.sha256(" ".join(each).encode()).hexdigest()
