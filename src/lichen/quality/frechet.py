"""The Frechet distance between the Gaussians that have the mean and covariance of two sets of feature vectors.

Heusel, Ramsauer, Unterthiner, Nessler and Hochreiter, "GANs trained by a two time-scale update rule converge to a local
Nash equilibrium" (NeurIPS 2017): with the pool3 features of an Inception network it is the FID.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lichen.quality.estimates import Estimate, halves, numbered, require_patients

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUBSETS = 50
_FEW_SUBSETS, _MANY = 20, 512
"""Halves where the smaller of images and features is above ``_MANY``: a minute each would be nobody's gain."""


@dataclass(frozen=True)
class FrechetDistance:
    """The distance of two sets of the given sizes, and what it would be for sets without end."""

    plain: Estimate
    """As everybody computes it. Finite sets are further apart than the distributions they come from, and the fewer
    images the further; the interval holds what sets of these sizes give on average."""
    extrapolated: Estimate
    """Without the part of the excess that falls as one over the number of images; it may be negative."""


def frechet_distance(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    groups_x: Sequence[str] | None = None,
    groups_y: Sequence[str] | None = None,
) -> FrechetDistance:
    """The squared Frechet distance of ``x`` (n, d) and ``y`` (m, d), in squared units of the features.

    ``groups_x``, ``groups_y`` name the patient of each row (default: all different). The standard error is the spread
    over random halves of the patients of each set.

    Chong and Forsyth, "Effectively unbiased FID and Inception Score and where to find them" (CVPR 2020), fit a line
    through the distances at several numbers of images N over 1/N and read it at 0. The halves are such distances at
    N/2 of both sets, so the line through them and the whole is at 0: twice the whole minus the mean of the halves. It
    is straight once there are several times as many images as directions in which the features vary; for fewer it
    still leaves an excess, which the value between real sets of the same sizes shows.

    Raises:
        AuditError: a set has fewer than four patients.
    """
    patients_x, patients_y = numbered(len(x), groups_x), numbered(len(y), groups_y)
    require_patients("a Frechet distance", patients_x, patients_y)
    subsets = _SUBSETS if min(len(x), len(y), x.shape[1]) <= _MANY else _FEW_SUBSETS
    parts = [
        squared_frechet(x[rows], y[columns])
        for rows, columns in halves(patients_x, patients_y, purpose="frechet", subsets=subsets)
    ]
    whole, error = squared_frechet(x, y), float(np.std(parts, ddof=1))
    return FrechetDistance(Estimate(whole, error), Estimate(2 * whole - float(np.mean(parts)), error))


def squared_frechet(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """|mean x - mean y|^2 + tr(Sx + Sy - 2 (Sx Sy)^(1/2)) of ``x`` (n, d) and ``y`` (m, d); Heusel et al., equation 6.

    For centred features X with Sx = X' X / (n - 1), and Y alike, the trace of the root is the sum of the singular
    values of X Y' / sqrt((n - 1) (m - 1)). So no covariance is formed, nor the root of a product of singular matrices,
    and fewer images than features are no special case.
    """
    a, b = _factor(x), _factor(y)
    root = float(np.linalg.svd(a @ b.T, compute_uv=False).sum())
    apart = float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())
    return max(0.0, apart + float((a**2).sum()) + float((b**2).sum()) - 2 * root)


def _factor(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """A (min(n, d), d) with A' A the covariance of ``x`` (n, d)."""
    centred = (x - x.mean(axis=0)) / (len(x) - 1) ** 0.5
    return np.asarray(np.linalg.qr(centred, mode="r") if len(x) > x.shape[1] else centred, dtype=np.float64)
