"""Where synthetic images, of any generator, meet real ones: read as the options say, and brought to one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lichen.chain.data import tell_left_out
from lichen.config import ImagesConfig
from lichen.images import (
    Fit,
    ImageSet,
    Source,
    choose_size,
    load_set,
    look_at,
    open_folder,
    open_source,
    stored_window,
)
from lichen.progress import Step
from lichen.watch import Watch

if TYPE_CHECKING:
    from lichen.options import GridOptions


def open_real(path: Path, options: GridOptions) -> Source:
    """The real images in ``path``, as ``options`` say that they are to be read."""
    return open_source(
        ImagesConfig(
            path=path,
            patient_column=options.patient_column,
            channels=options.channels,
            label=options.label,
            slices=options.slices,
            skip_bad=options.skip_bad,
        )
    )


def open_made(path: Path, options: GridOptions) -> Source:
    """The synthetic images in ``path``."""
    return open_folder(path, skip_bad=options.skip_bad)


def common_grid(made: Source, real: Sequence[Source], options: GridOptions) -> tuple[tuple[int, ...], Fit]:
    """The grid in voxels on which images ``made`` by any generator meet ``real`` ones, and how they come to it.

    Where neither the options nor a shape that all synthetic images share name it, the first of ``real`` does.
    """
    skip_bad = options.skip_bad
    size = options.size or _common_shape(made, skip_bad=skip_bad)
    size = choose_size(real[0], size, multiple=1, skip_bad=skip_bad)
    return size, _fit([made, *real], size, options.fit, skip_bad=skip_bad)


def load_samples(
    source: Source,
    train_set: ImageSet,
    window: tuple[float, ...] | None,
    step: Step,
    *,
    skip_bad: bool = False,
) -> ImageSet:
    """The samples of a run as they are: on the grid already, whatever spacing their affine gives.

    Their label maps have the classes of the training images. Raises ImageError for other channels than those have.
    """
    images, classes = train_set.without_label_map.voxels.shape[1:], train_set.classes
    channels, *size = images
    stored = stored_window(channels, len(size), window or (), label_map=bool(classes))
    return load_set(
        source.items,
        tuple(size),
        "crop-pad",
        window=stored,
        channels=train_set.voxels.shape[1],
        classes=classes,
        skip_bad=skip_bad,
        step=step,
    )


def with_left_out(images: ImageSet, source: Source, what: str, watch: Watch) -> ImageSet:
    """``images`` with all that was left out of their ``source``, when it was opened and when it was read; told."""
    skipped = (*source.skipped, *images.skipped)
    tell_left_out(skipped, len(images.names) + len(skipped), f"{what} image", "lichen images lists them", watch)
    return replace(images, skipped=skipped)


def _common_shape(source: Source, *, skip_bad: bool) -> tuple[int, ...] | None:
    """The shape that all synthetic images share, which is the grid of their generator; None if they differ.

    Real images brought to another grid than the generator saw them on are scaled and padded otherwise, and its copies
    of them would go unnoticed.
    """
    shapes = {look.shape for look in look_at(source.items, source.spatial_dims, skip_bad=skip_bad)}
    return shapes.pop() if len(shapes) == 1 else None


def _fit(sources: Sequence[Source], size: tuple[int, ...], fit: Fit, *, skip_bad: bool) -> Fit:
    """How images come to the grid: as they are, where all of them are on it already, with unequal spacing.

    ``resize`` makes voxels cubes: of thick slices that fill the grid it would leave a few voxels in their plane.
    """
    looks = chain.from_iterable(look_at(source.items, source.spatial_dims, skip_bad=skip_bad) for source in sources)
    first = next(looks, None)
    if first is None or np.allclose(first.spacing_mm, first.spacing_mm[0], rtol=1e-3):
        return fit
    same = all(
        look.shape == size and np.allclose(look.spacing_mm, first.spacing_mm, rtol=1e-3)
        for look in chain([first], looks)
    )
    return "crop-pad" if same else fit
