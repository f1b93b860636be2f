"""The kernel distance: squared maximum mean discrepancy (MMD) between two sets of feature vectors.

Binkowski, Sutherland, Arbel and Gretton, "Demystifying MMD GANs" (ICLR 2018), call it KID: with a polynomial kernel
the unbiased estimate needs no fitted covariance and, unlike FID, has the same expectation for every number of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lichen.errors import AuditError
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBSETS = 100
LEAST_PATIENTS = 4
"""In each set; fewer give no error of the estimate."""


@dataclass(frozen=True)
class Estimate:
    """A number and how far it may be off."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - 1.96 * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + 1.96 * self.standard_error


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

    The standard error is the spread of the estimate over 100 subsets of half the patients of each set, without
    replacement (the delete-half jackknife; Shao and Wu 1989). Near zero, where the estimate is a degenerate
    U-statistic, it errs towards too large. Raises ``AuditError`` for fewer than four patients in a set.
    """
    kernels = _Kernels.of(x, y, groups_x, groups_y)
    everyone_x, everyone_y = np.unique(kernels.patient_x), np.unique(kernels.patient_y)
    for patients, images in ((everyone_x, x), (everyone_y, y)):
        if len(patients) < LEAST_PATIENTS:
            raise AuditError(
                f"a kernel distance between sets of {len(x)} and {len(y)} images: the one of {len(images)} images has "
                f"{len(patients)} patients; it takes four",
                fix="give more images of different patients",
            )
    generator = np.random.default_rng(mix_seed("squared-mmd", len(x), len(y)))
    halves = [
        kernels.estimate(
            np.isin(kernels.patient_x, generator.choice(everyone_x, len(everyone_x) // 2, replace=False)),
            np.isin(kernels.patient_y, generator.choice(everyone_y, len(everyone_y) // 2, replace=False)),
        )
        for _ in range(SUBSETS)
    ]
    everything = kernels.estimate(np.ones(len(x), dtype=np.bool_), np.ones(len(y), dtype=np.bool_))
    return Estimate(everything, float(np.std(halves, ddof=1)))


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
        patient_x, patient_y = _numbered(len(x), groups_x), _numbered(len(y), groups_y)
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


def _numbered(count: int, groups: Sequence[str] | None) -> NDArray[np.int64]:
    if groups is None:
        return np.arange(count, dtype=np.int64)
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], dtype=np.int64)
