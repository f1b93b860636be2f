"""Quality over settings: a Gaussian process whose hyperparameters are averaged by their marginal likelihood.

A search has few observations, and one best guess of the hyperparameters would be far too sure of itself (Snoek,
Larochelle and Adams, NeurIPS 2012, average them for that reason). Here they are drawn once from their prior and
weighted by the likelihood: no optimiser, the same answer each time, and where data say nothing the prior speaks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from lichen.selection.types import Setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HYPERPARAMETERS = 256
"""Draws from their prior."""
SPREAD_OF_LEVEL = 3.0
"""Standard deviation of the mean quality, in units of the observed spread."""
LEAST_SPREAD = 0.005
"""Observations that differ by less, as a share of their level, say no more of others than if they differed by this."""
DECADE = 5.0
"""Positive numbers whose largest is so many times the smallest are compared by their logarithms."""
UNHEARD = 1e-7
"""Hyperparameters with so small a share of the likelihood of the best are left out: no figure shows them."""
MOST_VALUES = 4_000_000
"""Of covariances between observations that are held at one time."""


@dataclass(frozen=True)
class Belief:
    """What is thought of the quality of m settings, seeds apart: a mixture of H Gaussians."""

    weights: Floats
    """(H,), which sum to 1."""
    means: Floats
    """(H, m)."""
    covariance: Callable[[int, int], Floats]
    """Between two settings, (H,); found when it is asked for, since thousands of settings have millions of pairs."""
    noises: Floats
    """(H,), the standard deviation between seeds."""

    @property
    def mean(self) -> Floats:
        """Of each setting, (m,)."""
        return np.asarray(self.weights @ self.means, dtype=np.float64)

    @property
    def noise(self) -> float:
        """The standard deviation between seeds, by the geometric mean: few observations leave a long upper tail."""
        return float(np.exp(self.weights @ np.log(self.noises)))

    def better(self, one: int, other: int, by: float = 0.0) -> float:
        """The probability that setting ``one`` is better than the ``other`` by more than ``by``."""
        gap, sd = self._gap(one, other)
        return float(self.weights @ stats.norm.cdf((gap - by) / sd))

    def improvement(self, one: int, other: int) -> float:
        """What ``one`` is expected to add to the ``other``: E max(0, difference) (Jones et al. 1998, eq. 15)."""
        return float(self.weights @ _above_zero(*self._gap(one, other)))

    def information(self, one: int, other: int) -> float:
        """What the better of both gains when ``one`` is observed once more: it may turn out not to be the one thought.

        The knowledge gradient of two settings (Frazier, Powell and Dayanik, INFORMS J. Computing 2009, eq. 14).
        """
        own = self.covariance(one, one)
        gap, _ = self._gap(one, other)
        moved = (own - self.covariance(one, other)) / np.sqrt(own + self.noises**2 + 1e-24)
        return float(self.weights @ (_above_zero(gap, np.abs(moved) + 1e-24) - np.maximum(gap, 0.0)))

    def _gap(self, one: int, other: int) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the difference, (H,) each."""
        variance = self.covariance(one, one) + self.covariance(other, other) - 2 * self.covariance(one, other)
        return self.means[:, one] - self.means[:, other], np.sqrt(np.maximum(variance, 1e-24))


def _above_zero(mean: Floats, sd: Floats) -> Floats:
    """E max(0, x) of Gaussians (H,)."""
    z = mean / sd
    return np.asarray(mean * stats.norm.cdf(z) + sd * stats.norm.pdf(z), dtype=np.float64)


def coordinates(settings: Sequence[Mapping[str, Setting]]) -> tuple[Floats, tuple[int, ...]]:
    """Settings as points (n, D) of the unit cube, and which setting each axis belongs to (D,).

    Numbers are scaled to [0, 1] over the search, by logarithm where they span a factor; each word that occurs is an
    axis, and two words are 1 apart. What never differs has no axis.
    """
    columns: list[Floats] = []
    owners: list[int] = []
    names = sorted({name for one in settings for name in one})
    for owner, name in enumerate(names):
        values = [one.get(name, "") for one in settings]
        if len(set(values)) < 2:
            continue
        numbers = [value for value in values if not isinstance(value, str)]
        if len(numbers) == len(values):
            axis = np.array(numbers, dtype=np.float64)
            if axis.min() > 0 and axis.max() >= DECADE * axis.min():
                axis = np.log(axis)
            columns.append((axis - axis.min()) / np.ptp(axis))
            owners.append(owner)
        else:
            words = sorted({str(value) for value in values})
            columns += [np.array([str(value) == word for value in values]) / math.sqrt(2) for word in words]
            owners += [owner] * len(words)
    found = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    points = np.stack(columns, axis=1) if columns else np.zeros((len(settings), 0))
    return np.asarray(points, dtype=np.float64), tuple(found[owner] for owner in owners)


def believe(points: Floats, owners: Sequence[int], seen: Sequence[int], values: Floats, variances: Floats) -> Belief:
    """What observations say of the quality of all settings, at ``points`` (m, D) with ``owners`` of the axes (D,).

    Observed were ``values`` (n,) at the settings number ``seen`` (n,), each with an error of known variance (n,) beside
    the noise between seeds, which is found. Equal settings are repetitions. The kernel is Matérn 5/2, with a length for
    each setting, over a level that is itself unknown.
    """
    values, level = np.asarray(values, dtype=np.float64), float(np.mean(values))
    scale = max(float(np.std(values)), LEAST_SPREAD * abs(level)) or 1.0
    y, known = (values - level) / scale, np.asarray(variances, dtype=np.float64) / scale**2
    scales, signals, noises = _hyperparameters(1 + max(owners, default=-1))
    scales = scales[:, list(owners)] ** -2.0
    there = points[np.asarray(seen, dtype=np.intp)]
    likelihoods = np.concatenate(
        [_fitted(there, y, known, scales[part], signals[part], noises[part])[2] for part in _parts(len(scales), len(y))]
    )
    heard = np.flatnonzero(likelihoods > likelihoods.max() + math.log(UNHEARD))
    scales, signals, noises = scales[heard], signals[heard], noises[heard]
    weights, means, crosses = np.exp(likelihoods[heard] - likelihoods.max()), [], []
    for part in _parts(len(scales), len(y)):
        root, target, _ = _fitted(there, y, known, scales[part], signals[part], noises[part])
        cross = np.linalg.solve(root, _kernel(there, points, scales[part], signals[part]))
        means.append(level + scale * np.einsum("hn,hnm->hm", target, cross))
        crosses.append(cross)
    whitened = np.concatenate(crosses)

    def covariance(one: int, other: int) -> Floats:
        prior = _kernel(points[[one]], points[[other]], scales, signals)[:, 0, 0]
        return np.asarray(scale**2 * (prior - (whitened[..., one] * whitened[..., other]).sum(1)), dtype=np.float64)

    return Belief(weights / weights.sum(), np.concatenate(means), covariance, scale * noises)


def _fitted(
    there: Floats, y: Floats, known: Floats, scales: Floats, signals: Floats, noises: Floats
) -> tuple[Floats, Floats, Floats]:
    """Of each of H hyperparameters: root (H, n, n) of the covariance of y, y whitened (H, n), log likelihood (H,)."""
    observed = _kernel(there, there, scales, signals)
    observed += np.eye(len(y)) * (noises[:, None] ** 2 + known + 1e-10)[:, None, :]
    root = np.linalg.cholesky(observed)
    target = np.linalg.solve(root, np.broadcast_to(y[:, None], (len(root), len(y), 1)))[..., 0]
    likelihood = -0.5 * (target**2).sum(1) - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
    return np.asarray(root, np.float64), np.asarray(target, np.float64), np.asarray(likelihood, np.float64)


def _parts(count: int, size: int) -> list[slice]:
    """Hyperparameters whose matrices of ``size`` columns and rows are held at one time."""
    step = max(1, MOST_VALUES // size**2)
    return [slice(first, first + step) for first in range(0, count, step)]


def _kernel(one: Floats, other: Floats, scales: Floats, signals: Floats) -> Floats:
    """Covariances (H, n, m) of points (n, D) with other points (m, D), their common level included."""
    squared = np.einsum("ijd,hd->hij", (one[:, None] - other[None]) ** 2, scales)
    return np.asarray(signals[:, None, None] ** 2 * _matern(np.sqrt(squared)) + SPREAD_OF_LEVEL**2)


def _matern(r: Floats) -> Floats:
    """The Matérn kernel of smoothness 5/2 at distances r in lengths (Rasmussen and Williams 2006, eq. 4.17)."""
    return np.asarray((1 + math.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-math.sqrt(5) * r), dtype=np.float64)


@cache
def _hyperparameters(settings: int) -> tuple[Floats, Floats, Floats]:
    """Log-normal draws of lengths (H, settings), signal (H,) and noise (H,), in units of the cube and the spread."""
    unit = stats.qmc.Sobol(settings + 2, scramble=False).random(HYPERPARAMETERS)
    normal = stats.norm.ppf((unit + 0.5 / HYPERPARAMETERS) % 1.0)
    lengths = np.exp(math.log(math.sqrt(max(settings, 1))) + 0.8 * normal[:, 2:])
    return lengths, np.exp(0.4 + 0.6 * normal[:, 0]), np.exp(math.log(0.15) + 1.0 * normal[:, 1])
