"""False-discovery control over all synthetic images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDING = 1e-12


def benjamini_hochberg(p_values: NDArray[np.float64], q: float) -> NDArray[np.bool_]:
    """Which hypotheses to reject so that at most a share ``q`` of the rejected ones are expected to be true.

    Benjamini and Hochberg (1995): with sorted p-values p_(1) <= ... <= p_(m), reject the k smallest for the largest k
    with p_(k) <= q k / m. Valid for conformal p-values that share one calibration set, which are positively dependent
    (Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics 2023). ``p_values``: (m,).
    Equality counts as reached in spite of rounding: conformal p-values meet their bounds exactly (1/100 = 0.1 * 0.1).
    """
    m = len(p_values)
    order = np.argsort(p_values, kind="stable")
    bounds = q * np.arange(1, m + 1) / m
    reached = np.flatnonzero(p_values[order] <= bounds * (1 + _ROUNDING))
    rejected = np.zeros(m, dtype=np.bool_)
    if len(reached):
        rejected[order[: reached[-1] + 1]] = True
    return rejected
