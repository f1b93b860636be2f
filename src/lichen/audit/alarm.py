"""Are there copies at all? One p-value for the whole synthetic set, beside the list of flagged images.

Benjamini-Hochberg at q keeps the share of innocent images among the flagged ones below q. Where no image is a copy,
it flags something in up to a share q of such sets: 10 % by default, once images are few beside the held-out patients,
m <= q (n + 1); far fewer where they are many, as one chance event must then recur. A verdict on the set that is wrong
less often needs its own p-value.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDING = 1e-9
_BLOCK = 4_000_000
"""Similarities drawn at a time."""


def set_p_value(
    p_values: NDArray[np.float64], patients: int, *, scores: int = 1, draws: int = 2000, seed: int = 0
) -> float:
    """How often a set of m innocent images looks as much like copies as this one, for ``p_values`` (m,).

    The statistic is that of Simes (Biometrika 1986), min over j of m p_(j) / j: Benjamini-Hochberg at q flags an image
    exactly where it is at most q. For one score, its law is drawn ``draws`` times for conformal p-values of m images
    against ``patients`` held-out ones, who share one calibration set; it needs no assumption but exchangeability. For
    ``scores`` joined by Bonferroni the statistic itself is returned, which is a valid p-value, if a larger one.
    """
    m = len(p_values)
    if not m:
        return 1.0
    observed = float(_simes(p_values[None])[0])
    if scores > 1 or not patients:
        return min(1.0, observed)
    as_extreme = int((_law(m, patients, draws, seed) <= observed * (1 + _ROUNDING)).sum())
    return (1 + as_extreme) / (1 + draws)


@lru_cache(maxsize=16)
def _law(m: int, patients: int, draws: int, seed: int) -> NDArray[np.float64]:
    """The statistic of so many innocent sets, (draws,): the same for every audit of sets of these sizes."""
    rng, block = np.random.default_rng(seed), max(1, _BLOCK // (m + patients))
    parts = (min(block, draws - start) for start in range(0, draws, block))
    return np.concatenate([_simes(_innocent(rng, part, m, patients)) for part in parts])


def _simes(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The statistic of each row of (R, m), (R,)."""
    m = p_values.shape[1]
    return np.asarray((np.sort(p_values, axis=1) * m / np.arange(1, m + 1)).min(axis=1))


def _innocent(rng: np.random.Generator, draws: int, m: int, n: int) -> NDArray[np.float64]:
    """Conformal p-values of m images exchangeable with n patients, (draws, m)."""
    order = rng.random((draws, n + m)).argsort(axis=1)  # from the nearest to the farthest
    is_patient = order < n
    at_least = np.cumsum(is_patient, axis=1)
    return np.asarray((1 + at_least[~is_patient].reshape(draws, m)) / (n + 1))
