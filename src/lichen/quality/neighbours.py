"""Precision, recall, density and coverage: who lies among whose nearest neighbours.

Kynkaanniemi, Karras, Laine, Lehtinen and Aila, "Improved precision and recall metric for assessing generative models"
(NeurIPS 2019); Naeem, Oh, Uh, Choi and Yoo, "Reliable fidelity and diversity metrics for generative models" (ICML
2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lichen.quality.estimates import NeverNegative, Share, halves, numbered, require_patients, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAREST = 5
"""Naeem et al. 2020, section 5."""


@dataclass(frozen=True)
class Neighbourhood:
    """The four figures. A set of copies of the reference has 1 in all of them."""

    precision: Share
    """Share of the synthetic images within reach of a real one: how many look real."""
    recall: Share
    """Share of the real images within reach of a synthetic one: how many could have been made."""
    density: NeverNegative
    """How many real images a synthetic one is within reach of, divided by k; 1 on average for equal distributions.
    Unlike precision it does not rest on one odd real image with a wide reach."""
    coverage: Share
    """Share of the real images that have a synthetic one within their reach."""


def least_patients(k: int = NEAREST) -> int:
    """How many patients a set takes: in each half, one and ``k`` others."""
    return 2 * (k + 1)


def prdc(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    k: int = NEAREST,
    groups_x: Sequence[str] | None = None,
    groups_y: Sequence[str] | None = None,
) -> Neighbourhood:
    """Precision, recall, density and coverage of synthetic ``x`` (n, d) against real ``y`` (m, d).

    The reach of an image is the distance to the ``k``-th nearest image of another patient of its set; ``groups_x`` and
    ``groups_y`` name the patient of each row (default: all different). Within reach is nearer than that. All but the
    density depend on the numbers of images. The interval is that of the spread over random halves of the patients.

    Raises:
        AuditError: a set has fewer than 2 (k + 1) patients.
    """
    from scipy.spatial.distance import cdist  # exact for equal rows, which the product of matrices is not

    patients_x, patients_y = numbered(len(x), groups_x), numbered(len(y), groups_y)
    require_patients("precision and recall", patients_x, patients_y, least=least_patients(k))
    within_x, within_y = (
        np.where(patients[:, None] == patients, np.inf, cdist(rows, rows))
        for rows, patients in ((x, patients_x), (y, patients_y))
    )
    between = cdist(x, y)
    parts = [
        _four(within_x[np.ix_(i, i)], within_y[np.ix_(j, j)], between[np.ix_(i, j)], k)
        for i, j in halves(patients_x, patients_y, purpose="prdc")
    ]
    whole, errors = _four(within_x, within_y, between, k), np.std(parts, axis=0, ddof=1).tolist()
    made, real = len(np.unique(patients_x)), len(np.unique(patients_y))
    return Neighbourhood(
        precision=share(whole[0], errors[0], made),
        recall=share(whole[1], errors[1], real),
        density=NeverNegative(whole[2], errors[2]),
        coverage=share(whole[3], errors[3], real),
    )


def _four(
    within_x: NDArray[np.float64], within_y: NDArray[np.float64], between: NDArray[np.float64], k: int
) -> tuple[float, float, float, float]:
    """The figures from distances (n, n), (m, m) and (n, m); those within a patient are infinite."""
    reach_x = np.partition(within_x, k - 1, axis=1)[:, k - 1]
    reach_y = np.partition(within_y, k - 1, axis=1)[:, k - 1]
    near_real, near_made = between < reach_y, between < reach_x[:, None]
    return (
        float(near_real.any(axis=1).mean()),
        float(near_made.any(axis=0).mean()),
        float(near_real.sum(axis=1).mean() / k),
        float(near_real.any(axis=0).mean()),
    )
