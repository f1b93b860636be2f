"""The inception score: how sure a classifier is of each image, and of how many classes the set is.

Salimans, Goodfellow, Zaremba, Cheung, Radford and Chen, "Improved techniques for training GANs" (NeurIPS 2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lichen.quality.estimates import Estimate, halves, numbered, require_patients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def inception_score(probabilities: NDArray[np.float64], groups: Sequence[str] | None = None) -> Estimate:
    """exp of the mean Kullback-Leibler divergence of rows of ``probabilities`` (n, K) from their mean; from 1 to K.

    ``groups`` names the patient of each row (default: all different). It grows with n, so compare it at equal n (Chong
    and Forsyth 2020). It asks nothing of real images: a set of copies, or of pictures of something else, may
    score high.

    Raises:
        AuditError: there are fewer than four patients.
    """
    patients = numbered(len(probabilities), groups)
    require_patients("an inception score", patients)
    parts = [_score(probabilities[rows]) for rows, _ in halves(patients, patients, purpose="inception-score")]
    return Estimate(_score(probabilities), float(np.std(parts, ddof=1)))


def _score(probabilities: NDArray[np.float64]) -> float:
    least = np.finfo(np.float64).tiny  # 0 log 0 is 0
    mean = probabilities.mean(axis=0)
    divergence = probabilities * (np.log(np.maximum(probabilities, least)) - np.log(np.maximum(mean, least)))
    return float(np.exp(divergence.sum(axis=1).mean()))
