"""Radiomics: named features of grey values and their texture, as radiologists' software computes them.

As features for a distance between sets of medical images: Konz et al., "Frechet radiomic distance (FRD)" (arXiv
2412.01496). The features here are those of the IBSI that need no outline of an organ: of each channel, of all its
voxels, 15 of the grey values, 20 of their co-occurrence and 14 of their runs. Least and greatest value are left out:
images are read by stretching a range of intensities and cutting off what is beyond, so they are the same in nearly all
real images and would weigh without measure once divided by their spread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lichen.progress import Step, silent
from lichen.quality.texture import Grid, co_occurrence, co_occurrence_features, run_length_features, run_lengths

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lichen.quality.texture import Array, Whole

# A change of anything below is a new name of these features.
LEVELS = 32
_BATCH_VOXELS = 2**19


def radiomics_features(images: Tensor, *, step: Step = silent) -> NDArray[np.float64]:
    """Features (N, 49 C) of ``images`` (N, C, *S) in [-1, 1], two or three spatial axes; ``step`` counts images."""
    size = max(1, _BATCH_VOXELS // images[0].numel()) if len(images) else 1
    found = []
    for start in range(0, len(images), size):
        batch = images[start : start + size].cpu().double()
        found.append(np.stack(list(named_features(batch.flatten(0, 1).numpy()).values()), 1).reshape(len(batch), -1))
        step(len(batch))
    return np.concatenate(found)


def named_features(images: Array) -> dict[str, Array]:
    """Each feature (N,), by its name, of one-channel ``images`` (N, *S) in [-1, 1]."""
    levels = grey_levels(images)
    grid = Grid.of(levels)
    voxels = levels[0].size
    return {
        **first_order(images.reshape(-1, voxels), levels.reshape(-1, voxels)),
        **co_occurrence_features(co_occurrence(grid, LEVELS)),
        **run_length_features(run_lengths(grid, LEVELS), voxels * len(grid.offsets)),
    }


def grey_levels(images: Array) -> Whole:
    """The grey level from 0 to 31 of each voxel: bins of equal width over [-1, 1]."""
    return np.clip((images + 1) * (LEVELS / 2), 0, LEVELS - 1).astype(np.int32)


def first_order(values: Array, levels: Whole) -> dict[str, Array]:
    """Features (N,) each of grey ``values`` and ``levels`` (N, V); IBSI sections 3.3 and 3.4.

    Skewness and kurtosis of equal values are 0. Percentiles are interpolated.
    """
    low, first, median, third, high = np.percentile(values, (10, 25, 50, 75, 90), axis=1)
    mean = values.mean(1)
    apart = values - mean[:, None]
    variance = (apart**2).mean(1)
    varies = variance > 1e-12
    scale = np.where(varies, variance, 1.0)
    middle = (values >= low[:, None]) & (values <= high[:, None])
    middle_mean = values.mean(1, where=middle)
    row = np.arange(len(levels))[:, None] * LEVELS
    share = np.bincount((row + levels).ravel(), minlength=len(levels) * LEVELS).reshape(-1, LEVELS) / levels.shape[1]
    return {
        "mean": mean,
        "variance": variance,
        "skewness": np.where(varies, (apart**3).mean(1) / scale**1.5, 0.0),
        "excess kurtosis": np.where(varies, (apart**4).mean(1) / scale**2 - 3, 0.0),
        "median": median,
        "10th percentile": low,
        "90th percentile": high,
        "interquartile range": third - first,
        "mean absolute deviation": np.abs(apart).mean(1),
        "robust mean absolute deviation": np.abs(values - middle_mean[:, None]).mean(1, where=middle),
        "median absolute deviation": np.abs(values - median[:, None]).mean(1),
        "root mean square": np.sqrt((values**2).mean(1)),
        "entropy": -(share * np.log2(np.where(share > 0, share, 1.0))).sum(1),
        "uniformity": (share**2).sum(1),
        "greatest share of a level": share.max(1),
    }
