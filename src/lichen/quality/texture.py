"""Texture of grey levels: co-occurrence and run length matrices, and the features of both.

Definitions and names are those of the Image Biomarker Standardisation Initiative (IBSI): Zwanenburg et al., "The Image
Biomarker Standardization Initiative" (Radiology 2020) and its reference manual (arXiv 1612.07003), sections 3.6 and
3.7. Each matrix is summed over all directions, 4 in two dimensions and 13 in three, before features are taken of it.
Voxels count as cubes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Whole = NDArray[np.int32]


@dataclass(frozen=True)
class Grid:
    """Grey levels (N, *S) laid out flat inside a border, so that a neighbour is at a fixed distance in memory."""

    flat: Whole
    """Level of each position, from 0; -1 on the border."""
    image: Whole
    """Whose position it is."""
    count: int
    """N."""
    offsets: tuple[int, ...]
    """To the neighbour in each direction."""
    longest: int
    """Voxels along the longest axis."""

    @staticmethod
    def of(levels: Whole) -> Grid:
        """Of ``levels`` (N, *S), two or three spatial axes."""
        dims = levels.ndim - 1
        padded = np.pad(levels, [(0, 0)] + [(1, 1)] * dims, constant_values=-1)
        strides = [math.prod(padded.shape[axis + 1 :]) for axis in range(1, dims + 1)]
        forward = [move for move in product((-1, 0, 1), repeat=dims) if move > (0,) * dims]
        offsets = tuple(sum(a * b for a, b in zip(move, strides, strict=True)) for move in forward)
        image = np.arange(len(levels), dtype=np.int32).repeat(math.prod(padded.shape[1:]))
        return Grid(padded.ravel(), image, len(levels), offsets, max(levels.shape[1:]))


def co_occurrence(grid: Grid, levels: int) -> Array:
    """How often two levels are neighbours, (N, levels, levels): symmetric, adds up to 1; IBSI section 3.6."""
    counts = np.zeros(grid.count * levels**2)
    row = (grid.image * levels + grid.flat) * levels
    for offset in grid.offsets:
        here, there = grid.flat[:-offset], grid.flat[offset:]
        counts += np.bincount((row[:-offset] + there)[(here >= 0) & (there >= 0)], minlength=len(counts))
    matrix = counts.reshape(-1, levels, levels)
    matrix = matrix + matrix.transpose(0, 2, 1)
    return np.asarray(matrix / matrix.sum((1, 2), keepdims=True))


def run_lengths(grid: Grid, levels: int) -> Array:
    """How many runs of each level and length there are, (N, levels, longest axis); IBSI section 3.7."""
    counts = np.zeros((grid.longest, grid.count * levels))
    row = grid.image * levels + grid.flat
    inside = grid.flat >= 0
    for offset in grid.offsets:
        goes_on = np.zeros_like(inside)
        goes_on[:-offset] = inside[:-offset] & (grid.flat[:-offset] == grid.flat[offset:])
        begins = inside.copy()
        begins[offset:] &= ~goes_on[:-offset]
        at = np.flatnonzero(begins)
        for length in range(grid.longest):
            further = goes_on[at]
            counts[length] += np.bincount(row[at[~further]], minlength=counts.shape[1])
            at = at[further] + offset
            if not len(at):
                break
    return counts.T.reshape(-1, levels, grid.longest)


def co_occurrence_features(p: Array) -> dict[str, Array]:
    """Features (N,) each of co-occurrence matrices ``p`` (N, L, L), levels counted from 1; IBSI section 3.6."""
    size = p.shape[1]
    level = np.arange(1.0, size + 1)
    i, j = level[:, None], level[None, :]
    marginal = p.sum(2)
    mean = marginal @ level
    variance = marginal @ level**2 - mean**2
    varies = variance > 1e-9
    step = np.arange(float(size))
    differences, sums = _along(p, np.abs(i - j)), _along(p, i + j)
    mean_step = differences @ step
    from_mean = i + j - 2 * mean[:, None, None]
    joint, one = _entropy(p.reshape(len(p), -1)), _entropy(marginal)
    crossed = -(p * _log2(marginal[:, :, None] * marginal[:, None, :])).sum((1, 2))
    product_mean = (p * (i * j)).sum((1, 2))
    return {
        "joint maximum": p.max((1, 2)),
        "joint average": mean,
        "joint variance": variance,
        "joint entropy": joint,
        "difference average": mean_step,
        "difference variance": differences @ step**2 - mean_step**2,
        "difference entropy": _entropy(differences),
        "sum entropy": _entropy(sums),
        "angular second moment": (p**2).sum((1, 2)),
        "contrast": differences @ step**2,
        "inverse difference": differences @ (1 / (1 + step)),
        "inverse difference moment": differences @ (1 / (1 + step**2)),
        "inverse variance": differences[:, 1:] @ step[1:] ** -2,
        "correlation": np.where(varies, (product_mean - mean**2) / np.where(varies, variance, 1), 1),
        "autocorrelation": product_mean,
        "cluster tendency": (p * from_mean**2).sum((1, 2)),
        "cluster shade": (p * from_mean**3).sum((1, 2)),
        "cluster prominence": (p * from_mean**4).sum((1, 2)),
        "information correlation 1": np.where(varies, (joint - crossed) / np.where(varies, one, 1), 0),
        "information correlation 2": np.sqrt(np.maximum(0, 1 - np.exp(-2 * (2 * one - joint)))),
    }


def run_length_features(runs: Array, comparisons: int) -> dict[str, Array]:
    """Features (N,) each of run length matrices ``runs`` (N, L, R); IBSI section 3.7.

    ``comparisons``: voxels of an image, once for each direction.
    """
    level = np.arange(1.0, runs.shape[1] + 1)
    length = np.arange(1.0, runs.shape[2] + 1)
    total = runs.sum((1, 2))
    p = runs / total[:, None, None]
    of_level, of_length = p.sum(2), p.sum(1)
    low, high = level**-2, level**2
    short, long = length**-2, length**2

    def emphasis(levels: Array, lengths: Array) -> Array:
        return np.asarray(np.einsum("nij,i,j->n", p, levels, lengths))

    return {
        "short runs emphasis": of_length @ short,
        "long runs emphasis": of_length @ long,
        "low grey level run emphasis": of_level @ low,
        "high grey level run emphasis": of_level @ high,
        "short run low grey level emphasis": emphasis(low, short),
        "short run high grey level emphasis": emphasis(high, short),
        "long run low grey level emphasis": emphasis(low, long),
        "long run high grey level emphasis": emphasis(high, long),
        "normalised grey level non-uniformity": (of_level**2).sum(1),
        "normalised run length non-uniformity": (of_length**2).sum(1),
        "run percentage": total / comparisons,
        "grey level variance": of_level @ high - (of_level @ level) ** 2,
        "run length variance": of_length @ long - (of_length @ length) ** 2,
        "run entropy": _entropy(p.reshape(len(p), -1)),
    }


def _along(p: Array, place: Array) -> Array:
    """Sums (N, K) of ``p`` (N, L, L) over the entries that share a ``place`` (L, L), in the places' order."""
    return np.asarray(p.reshape(len(p), -1) @ (place.reshape(-1, 1) == np.unique(place)).astype(np.float64))


def _entropy(p: Array) -> Array:
    """In bits, of distributions (N, K)."""
    return np.asarray(-(p * _log2(p)).sum(1))


def _log2(p: Array) -> Array:
    """0 where ``p`` is 0, since 0 log 0 is 0."""
    return np.log2(np.where(p > 0, p, 1.0))
