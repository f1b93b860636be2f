"""Implicit shapes: each function gives the signed distance in mm from points to a surface, negative inside.

Points are float32 arrays (3, N), rows x, y, z, so that every operation runs over contiguous memory. Distances to
ellipsoids are first-order approximations (exact for spheres and on the surface), those to capsules of one radius are
exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Triple = tuple[float, float, float]


def ellipsoid(points: Floats, centre: Triple, semi_axes_mm: Triple) -> Floats:
    """Distance (N,) to an axis-aligned ellipsoid, to first order: radius * (radius - 1) / |gradient|."""
    weights = np.array(semi_axes_mm, np.float32) ** np.array(((-2,), (-4,)), np.float32)
    squares = points - column(centre)
    squares *= squares
    squares += 1e-6  # keeps radius / slope defined at the centre, where both would be 0
    radius, slope = np.sqrt(weights @ squares)
    distances: Floats = radius * (radius - 1) / slope
    return distances


def capsule(points: Floats, start: Triple, end: Triple, start_radius_mm: float, end_radius_mm: float) -> Floats:
    """Distance (N,) to the ball that moves from ``start`` to ``end`` while its radius changes linearly."""
    axis = column(end) - column(start)
    offset = points - column(start)
    along: Floats = np.minimum(np.maximum(dot(axis / dot(axis, axis), offset), 0), 1)
    radius_mm = np.float32(start_radius_mm) + along * np.float32(end_radius_mm - start_radius_mm)
    return length(offset - axis * along) - radius_mm


def union(first: Floats, second: Floats, blend_mm: float) -> Floats:
    """Either shape, with the crease between them filled over about ``blend_mm`` (polynomial smooth minimum)."""
    overlap = np.maximum(blend_mm - np.abs(first - second), 0)
    distances: Floats = np.minimum(first, second) - overlap * overlap * (0.25 / blend_mm)
    return distances


def intersection(first: Floats, second: Floats, blend_mm: float) -> Floats:
    """Both shapes at once, with the edge between them rounded over about ``blend_mm``."""
    return -union(-first, -second, blend_mm)


def outside(values: Floats, low: float, high: float) -> Floats:
    """How far (N,) each value lies outside the interval from ``low`` to ``high``; 0 within it."""
    excess: Floats = np.maximum(np.maximum(low - values, values - high), 0)
    return excess


def cover(distance_mm: Floats, edge_mm: float) -> Floats:
    """Share (N,) of a small neighbourhood that lies inside a surface: 1 inside, 0 outside, a ramp ``edge_mm`` wide."""
    share: Floats = np.minimum(np.maximum(0.5 - distance_mm * (1 / edge_mm), 0), 1)
    return share


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random field of M components: a sum of K plane waves with random directions, phases and amplitudes."""

    vectors: Floats
    """(K, 3) wave vectors in radians per mm."""
    phases: Floats
    """(K, 1) in radians."""
    amplitudes: Floats
    """(M, K)."""

    def field(self, points: Floats) -> Floats:
        """The field (M, N) at points (3, N)."""
        angles = self.vectors @ points + self.phases
        values: Floats = self.amplitudes @ np.cos(angles, out=angles)
        return values


def random_waves(
    random: np.random.Generator, count: int, wavelengths_mm: tuple[float, float], deviation: float, components: int = 1
) -> Waves:
    """``count`` waves with wavelengths uniform in an interval; every component has the standard ``deviation``."""
    directions = random.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vectors = directions * 2 * np.pi / random.uniform(*wavelengths_mm, (count, 1))
    phases = random.uniform(0, 2 * np.pi, (count, 1))
    amplitudes = random.standard_normal((components, count))
    amplitudes *= np.sqrt(2) * deviation / np.linalg.norm(amplitudes, axis=1, keepdims=True)
    return Waves(vectors.astype(np.float32), phases.astype(np.float32), amplitudes.astype(np.float32))


def sheet_distance(waves: Waves, points: Floats, normals: Floats) -> Floats:
    """Distance (N,) from points to the nearest surface where the field (M = 1) is 0, measured across ``normals``.

    ``normals`` (3, N) are unit vectors; slopes along them are ignored, so that a field meant to be constant along
    them gives sheets of constant width. The distance is arctan(k |f| / |grad f|) / k with the mean wave number k:
    exact for a single wave, never more than a quarter of a wavelength.
    """
    angles = waves.vectors @ points + waves.phases
    values = waves.amplitudes[0] @ np.cos(angles)
    gradients = (waves.vectors * waves.amplitudes.T).T @ np.sin(angles, out=angles)
    across = gradients - dot(gradients, normals) * normals
    wave_number = np.float32(np.linalg.norm(waves.vectors, axis=1).mean())
    distances: Floats = np.arctan2(wave_number * np.abs(values), length(across)) / wave_number
    return distances


def column(triple: Triple) -> Floats:
    """A point or vector as (3, 1), to meet points (3, N)."""
    return np.array(triple, np.float32)[:, None]


def dot(first: Floats, second: Floats) -> Floats:
    """Inner products (N,) of vectors (3, N)."""
    products: Floats = (first * second).sum(axis=0)
    return products


def length(vectors: Floats) -> Floats:
    """Lengths (N,) of vectors (3, N)."""
    return np.sqrt(dot(vectors, vectors))
