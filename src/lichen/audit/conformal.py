"""Conformal p-values of synthetic images against held-out patients.

A held-out patient's statistic is the largest similarity of any of their images to any training image. The generator
never saw them, so an innocent synthetic image is about as near to the training set as they are; a copy is nearer than
nearly all. Patients, not images, are counted: the images of one patient are not independent evidence. A patient with
several images has several chances to be near, a synthetic image has one, so this errs towards larger p-values. Where
images are slices of volumes that would be dozens of chances to one, and most copies would pass: there each held-out
patient counts by one slice, drawn at random, which is as near as an innocent synthetic slice is (``calibrating``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lichen.images.types import ImageSet


def calibrating(reference: ImageSet) -> ImageSet:
    """The held-out images that p-values are measured against: all, or of slices one of each patient."""
    from lichen.images.split import one_of_each

    return one_of_each(reference) if reference.are_slices else reference


def patient_maxima(similarity: NDArray[np.float64], patients: Sequence[str]) -> NDArray[np.float64]:
    """The largest similarity of each patient, (n,) for n patients, from ``similarity`` (N,) of their images.

    Patients none of whose images could be compared (all -inf) are left out: counting them would claim a finer
    resolution than there is.
    """
    return np.array([*maxima_by_patient(similarity, patients).values()], dtype=np.float64)


def maxima_by_patient(similarity: NDArray[np.float64], patients: Sequence[str]) -> dict[str, float]:
    """The same by the patient's name, in the order in which patients first appear."""
    largest: dict[str, float] = {}
    for value, patient in zip(similarity.tolist(), patients, strict=True):
        largest[patient] = max(value, largest.get(patient, -np.inf))
    return {patient: value for patient, value in largest.items() if value > -np.inf}


def conformal_p_values(similarity: NDArray[np.float64], null: NDArray[np.float64]) -> NDArray[np.float64]:
    """p = (1 + number of null statistics >= s) / (n + 1) for each s of ``similarity`` (m,); ``null`` (n,).

    Vovk, Gammerman and Shafer (2005). Uniform or larger if s and the null are exchangeable; ties count against a
    copy. An image that could not be compared (-inf) gets p = 1.
    """
    ordered = np.sort(null)
    at_least = len(null) - np.searchsorted(ordered, similarity, side="left")
    return np.asarray((1 + at_least) / (len(null) + 1), dtype=np.float64)


def bonferroni(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One p-value per image, (m,), from those of several scores, (scores, m): the smallest times their number.

    Holds whatever the dependence between the scores; the price is a coarser resolution.
    """
    return np.asarray(np.minimum(1.0, len(p_values) * p_values.min(axis=0)), dtype=np.float64)
