"""Where a learning curve will end: a Bayesian mixture of saturating curves, each fitted in closed form.

A curve is ``quality(t) = end - gain * shape(t) + noise`` over the share t of the training's energy, ``shape`` falling
from 1 to 0 as an exponential or a power of 1 + t / onset. For a given shape and noise this is linear regression with a
Gaussian prior, whose evidence and posterior are known exactly; shapes and noises are averaged by their evidence. So no
optimiser can fail, and few points leave a wide interval. The idea of extrapolating curves by a weighted set of
parametric families is that of Domhan, Springenberg and Hutter (IJCAI 2015), who sample with MCMC.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from lichen.seeds import mix_seed
from lichen.selection.types import CurvePoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEAST_POINTS = 4
"""One more than a curve has unknowns beside its noise: end, gain and shape."""
DRAWS = 512
SILENT = 2.0
"""Finished curves are heard as if so many more had said nothing of their shape."""
MOST_AHEAD = 64
"""Validations still to come, at most, of which the best is looked for."""
STRETCHED = tuple((rate, stretch) for rate in np.geomspace(0.25, 64, 16) for stretch in (0.4, 0.7, 1.0, 1.4))
"""Rate, per whole training, and exponent of stretched exponentials (Weibull curves)."""
POWERS = tuple((onset, power) for onset in np.geomspace(0.003, 1, 8) for power in np.geomspace(0.25, 2.8, 6))
"""Onset, as a share of the training, and exponent of power laws."""
NOISES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""Standard deviations of single points, in units of the range seen; each as likely as another before the data."""
WIDE = 1.5
"""Standard deviation of what is thought of end and gain before any point, in units of the range seen."""
TRUST = 0.5
"""Power that the evidence is raised to: real curves have no shape of these, and the plain evidence would soon be sure
of the least wrong one (a power posterior, Holmes and Walker 2017)."""

MOST_CURVES = 10_000
"""Curves whose answer is kept: each decision asks again for all that run or were stopped, and a search has no more
candidates. The draws of so many take 41 MB; what lives longer, such as a replay of policies, forgets the oldest."""
MOST_SETS = 256
"""Sets of finished curves whose shapes are kept: one grows by a curve at a time; replays have a few side by side."""


@lru_cache(MOST_SETS)
def shapes_of(curves: tuple[tuple[CurvePoint, ...], ...]) -> Floats:
    """How probable each shape (K,) is for one more curve, after finished ``curves`` of similar trainings.

    What they say on average, and as if ``SILENT`` more had said nothing: a new curve may be unlike all of them.
    """
    said = [_said(curve) for curve in curves if len(curve) >= LEAST_POINTS and len({one.quality for one in curve}) > 1]
    count = len(STRETCHED) + len(POWERS)
    total = np.sum([np.full(count, SILENT / count), *said], axis=0)
    return np.asarray(total / (SILENT + len(said)), dtype=np.float64)


@lru_cache(MOST_CURVES)
def _said(curve: tuple[CurvePoint, ...]) -> Floats:
    t, y = _scaled(curve, curve[-1].spent_j)
    weights, *_ = _posteriors(t, y, shapes_of(()))
    return np.asarray(weights.reshape(-1, len(NOISES)).sum(1))


@lru_cache(MOST_CURVES)
def final_quality(
    curve: tuple[CurvePoint, ...], whole_j: float, like: tuple[tuple[CurvePoint, ...], ...] = ()
) -> Floats | None:
    """Draws (DRAWS,) of the best quality that a training of ``whole_j`` will have shown, higher being better.

    ``like``: finished curves, whose shapes are thought more probable.


    The best, because the weights that are kept are those of the best validation. None with fewer than
    ``LEAST_POINTS`` points: their end could be anything. A curve that is over has no spread.
    """
    if len(curve) < LEAST_POINTS:
        return None
    qualities = [point.quality for point in curve]
    best, scale = max(qualities), max(qualities) - min(qualities)
    ahead = _ahead(np.array([point.spent_j for point in curve]) / whole_j)
    if not len(ahead) or scale == 0:
        return np.full(DRAWS, best)
    weights, means, covariances, noises = _posteriors(*_scaled(curve, whole_j), shapes_of(like))
    rng = np.random.default_rng(mix_seed("final-quality", len(curve)))
    which = rng.choice(len(weights), DRAWS, p=weights)
    end, gain = _drawn(rng, means[which], covariances[which])
    shapes = _shapes(ahead)[which // len(NOISES)]
    paths = end[:, None] - np.maximum(gain, 0)[:, None] * shapes
    paths += noises[which, None] * rng.standard_normal(paths.shape)
    return np.asarray(best + scale * np.maximum(0.0, paths.max(1)), dtype=np.float64)


def _scaled(curve: Sequence[CurvePoint], whole_j: float) -> tuple[Floats, Floats]:
    """Shares of the training (n,), and qualities (n,) from -1, the worst seen, to 0, the best."""
    y = np.array([point.quality for point in curve])
    return np.array([point.spent_j for point in curve]) / whole_j, (y - y.max()) / np.ptp(y)


def _ahead(t: Floats) -> Floats:
    """The shares at which validations are still to come, coming as often as before; no more than are drawn."""
    step = max(float(t[-1] - t[0]) / (len(t) - 1), 1e-6)
    count = int(np.floor((1 - t[-1]) / step + 1e-6))
    return np.asarray(
        np.linspace(t[-1] + (1 - t[-1]) / count, 1.0, min(count, MOST_AHEAD)) if count > 0 else np.empty(0)
    )


def _shapes(t: Floats) -> Floats:
    """All shapes at shares t (n,): (K, n), 1 at the beginning and 0 at the end of the training."""
    t = np.clip(t, 0.0, 1.0)
    raw = [(np.exp(-((rate * t) ** stretch)), np.exp(-(rate**stretch))) for rate, stretch in STRETCHED]
    raw += [((1 + t / onset) ** -power, (1 + 1 / onset) ** -power) for onset, power in POWERS]
    return np.array([(values - last) / (1 - last) for values, last in raw])


def _posteriors(t: Floats, y: Floats, likely: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Of each shape and noise: its probability (M,), mean (M, 2) and covariance (M, 2, 2) of end and gain, noise (M,).

    Gaussian linear regression (Bishop 2006, section 3.3) in the two unknowns, with evidence by the determinant lemma.
    """
    shapes = _shapes(t)
    design = np.stack([np.ones_like(shapes), -shapes], axis=-1)  # (K, n, 2)
    noise = np.array(NOISES)
    prior_mean, prior_precision = np.array([0.0, 1.0]), np.eye(2) / WIDE**2
    gram = np.einsum("kni,knj->kij", design, design)
    residual = y - design @ prior_mean  # (K, n)
    moment = np.einsum("kni,kn->ki", design, residual)
    square = (residual**2).sum(-1)
    precision = gram[:, None] / noise[:, None, None] ** 2 + prior_precision  # (K, S, 2, 2)
    covariance = np.linalg.inv(precision)
    pull = moment[:, None] / noise[:, None] ** 2
    shift = np.einsum("ksij,ksj->ksi", covariance, pull)
    explained = np.einsum("ksi,ksi->ks", pull, shift)
    log_evidence = 0.5 * (
        explained - square[:, None] / noise**2 - len(y) * np.log(noise**2) - np.linalg.slogdet(precision)[1]
    )
    log_evidence = log_evidence.ravel()
    weights = np.exp(TRUST * (log_evidence - log_evidence.max())) * np.repeat(likely, len(NOISES))
    noises = np.tile(noise, len(shapes))
    return weights / weights.sum(), (prior_mean + shift).reshape(-1, 2), covariance.reshape(-1, 2, 2), noises


def _drawn(rng: np.random.Generator, means: Floats, covariances: Floats) -> Floats:
    """One draw of end and gain from each Gaussian: (2, N)."""
    a, b, c = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    first, second = rng.standard_normal((2, len(means)))
    end = means[:, 0] + np.sqrt(a) * first
    gain = means[:, 1] + b / np.sqrt(a) * first + np.sqrt(np.maximum(c - b**2 / a, 0.0)) * second
    return np.array([end, gain])
