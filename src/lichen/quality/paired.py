"""How far a cheaper sampler is from a reference sampler, from images that both made of the same noise.

The two samplers share the noise of each image, so their images resemble each other in pairs and almost all of the
chance in a distance between two sets cancels. What is left is compared with a margin: the distance between two sets of
the reference sampler's own images that differ by their seeds alone.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from lichen.errors import AuditError
from lichen.plurals import plural
from lichen.quality.estimates import SUBSETS, Estimate
from lichen.quality.kernel import polynomial_kernel
from lichen.quality.scaling import standardisation
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SPLITS = 2000
LEAST_IMAGES = 8
"""Fewer have no halves to speak of."""


def scaling(reference: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """What brings features (n, d) to mean 0 and standard deviation 1 over the ``reference`` images (m, d).

    Raises:
        AuditError: there are too few images, or they are all equal.
    """
    if len(reference) < LEAST_IMAGES:
        raise AuditError(
            f"too few to tell samplers apart: {plural(len(reference), 'image')}", fix=f"take at least {LEAST_IMAGES}"
        )
    scaled = standardisation(reference)
    if scaled is None:
        raise AuditError(
            "the images of the reference sampler are all equal, or no numbers: they have no spread to measure in",
            fix="train the generator first",
        )
    return scaled


def paired_squared_mmd(x: NDArray[np.float64], y: NDArray[np.float64]) -> Estimate:
    """The unbiased squared MMD between the distributions that pairs (x_i, y_i) come from; ``x`` and ``y`` (n, d).

    sum over i != j of k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j), over n (n - 1): Gretton et al., "A kernel
    two-sample test" (JMLR 2012), lemma 6, whose sum leaves out i = j, so that x_i and y_i may depend on each other. It
    is exactly 0 for x = y. The standard error is the spread over halves of the pairs (delete-half jackknife), which
    errs towards too large near 0.
    """
    between = polynomial_kernel(x, y)
    gram = polynomial_kernel(x, x) + polynomial_kernel(y, y) - between - between.T
    np.fill_diagonal(gram, 0.0)
    count = len(gram)
    generator = np.random.default_rng(mix_seed("paired-squared-mmd", count))

    def mean_of_pairs(chosen: NDArray[np.int64]) -> float:
        return float(gram[np.ix_(chosen, chosen)].sum() / (len(chosen) * (len(chosen) - 1)))

    halves = [mean_of_pairs(generator.permutation(count)[: count // 2]) for _ in range(SUBSETS)]
    return Estimate(mean_of_pairs(np.arange(count)), float(np.std(halves, ddof=1)))


def seed_to_seed(reference: NDArray[np.float64], level: float = 0.05) -> float:
    """The squared MMD that two halves of the ``reference`` images (n, d) exceed in a share ``level`` of splits.

    The images differ by their noise alone, so each random split gives two sets of n / 2 images of equal distribution:
    the upper end of what another seed does to a set.
    """
    kernel = polynomial_kernel(reference, reference)
    np.fill_diagonal(kernel, 0.0)
    count = len(kernel)
    half = count // 2
    generator = np.random.default_rng(mix_seed("seed-to-seed", count))
    order = np.argsort(generator.random((SPLITS, count)), axis=1)
    member = np.zeros((SPLITS, count))
    np.put_along_axis(member, order[:, :half], 1.0, axis=1)
    chosen = ((member @ kernel) * member).sum(axis=1)  # sums over ordered pairs: within, across, and within the others
    across = (member @ kernel).sum(axis=1) - chosen
    others = kernel.sum() - chosen - 2 * across
    rest = count - half
    distances = chosen / (half * (half - 1)) + others / (rest * (rest - 1)) - 2 * across / (half * rest)
    return float(np.quantile(distances, 1 - level))


def upper_bound(distance: Estimate, level: float, tests: int) -> float:
    """The end that the true distance exceeds with probability ``level`` at most in any of ``tests`` (Bonferroni)."""
    return distance.value + NormalDist().inv_cdf(1 - level / tests) * distance.standard_error


def is_within(distance: Estimate, margin: float, level: float, tests: int) -> bool:
    """Whether a sampler is shown to be no further from the reference than ``margin``, as one of ``tests`` that try."""
    return math.isfinite(distance.value) and upper_bound(distance, level, tests) <= margin
