"""The kernel distance: squared maximum mean discrepancy (MMD) between two sets of feature vectors.

Binkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs" (ICLR 2018), call it KID: with a polynomial kernel
the unbiased estimate needs no fitted covariance and, unlike FID, has the same expectation for every number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lichen.quality.estimates import Estimate, halves, numbered, require_patients

if TYPE_CHECKING:
    from numpy.typing import NDArray


def polynomial_kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """k(x, y) = (x . y / d + 1)^3 for all pairs: (n, m) from ``x`` (n, d) and ``y`` (m, d)."""
    return np.asarray((x @ y.T / x.shape[1] + 1.0) ** 3, dtype=np.float64)


def squared_mmd(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    groups_x: Sequence[str] | None = None,
    groups_y: Sequence[str] | None = None,
) -> Estimate:
    """The unbiased squared MMD of ``x`` (n, d) and ``y`` (m, d), and its error.

    Gretton et al., "A kernel two-sample test" (JMLR 2012), lemma 6. It may be negative: its expectation is 0 for equal
    distributions. ``groups_x``, ``groups_y`` name the patient of each row (default: all different); pairs within a
    patient are left out of the means within a set, since they resemble each other and would make every set look more
    compact than it is.

    The standard error is the spread of the estimate over 100 random halves of the patients of each set.
    Near zero, where the estimate is a degenerate U-statistic, it errs towards too large. Raises
    ``AuditError`` for fewer than four patients in a set.
    """
    kernels = _Kernels.of(x, y, groups_x, groups_y)
    require_patients("a kernel distance", kernels.patient_x, kernels.patient_y)
    estimates = [
        kernels.estimate(rows, columns)
        for rows, columns in halves(kernels.patient_x, kernels.patient_y, purpose="squared-mmd")
    ]
    everything = kernels.estimate(np.ones(len(x), dtype=np.bool_), np.ones(len(y), dtype=np.bool_))
    return Estimate(everything, float(np.std(estimates, ddof=1)))


@dataclass(frozen=True)
class _Kernels:
    """All kernel values between two sets, from which every subset's estimate is a matter of sums."""

    within_x: NDArray[np.float64]  # (n, n), 0 within a patient
    within_y: NDArray[np.float64]  # (m, m), 0 within a patient
    between: NDArray[np.float64]  # (n, m)
    patient_x: NDArray[np.int64]  # (n,)
    patient_y: NDArray[np.int64]  # (m,)

    @staticmethod
    def of(
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        groups_x: Sequence[str] | None,
        groups_y: Sequence[str] | None,
    ) -> _Kernels:
        patient_x, patient_y = numbered(len(x), groups_x), numbered(len(y), groups_y)
        return _Kernels(
            polynomial_kernel(x, x) * (patient_x[:, None] != patient_x),
            polynomial_kernel(y, y) * (patient_y[:, None] != patient_y),
            polynomial_kernel(x, y),
            patient_x,
            patient_y,
        )

    def estimate(self, rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> float:
        """The squared MMD of a subset of both sets; ``rows`` (n,), ``columns`` (m,)."""
        own_x = _mean_of_pairs(self.within_x, self.patient_x, rows)
        own_y = _mean_of_pairs(self.within_y, self.patient_y, columns)
        return own_x + own_y - 2.0 * float(self.between[np.ix_(rows, columns)].mean())


def _mean_of_pairs(kernel: NDArray[np.float64], patient: NDArray[np.int64], chosen: NDArray[np.bool_]) -> float:
    """Mean kernel value over ordered pairs of different patients."""
    images_each = np.bincount(patient[chosen])
    pairs = int(chosen.sum()) ** 2 - int((images_each**2).sum())
    return float(kernel[np.ix_(chosen, chosen)].sum() / pairs)
