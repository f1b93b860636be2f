"""Numbers with intervals, from figures of subsets of half the patients.

The delete-half jackknife (Shao and Wu, "A general theory for jackknife variance estimation", Annals of Statistics
1989): the spread of a figure over random halves of a set is the error of the figure of the whole set. A bootstrap would
not do here: it repeats images, and a repeated image has a neighbour at distance 0 and makes a covariance too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lichen.errors import AuditError
from lichen.plurals import plural
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBSETS = 100
LEAST_COMPARED = 16
"""Fewer synthetic images say nothing of a distance, and as few training images may be of too few patients."""
LEAST_PATIENTS = 4
"""In each set; fewer give no error of the estimate."""
PAIRS = 500
"""Pairs of images that stand for all of a set, where each costs time."""
_NORMAL = 1.96


def drawn(purpose: str, among: int, count: int) -> list[int]:
    """``count`` positions out of ``among``, or all if there are fewer: always the same for equal numbers."""
    generator = np.random.default_rng(mix_seed(purpose, among, count))
    return sorted(generator.permutation(among)[:count].tolist())


class Interval(Protocol):
    """A number and its 95 % interval."""

    @property
    def value(self) -> float:
        """The number."""

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A number and how far it may be off."""

    value: float
    standard_error: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return self.value - _NORMAL * self.standard_error

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return self.value + _NORMAL * self.standard_error


@dataclass(frozen=True)
class NeverNegative(Estimate):
    """The same of what cannot be below 0."""

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return max(0.0, super().low)


@dataclass(frozen=True)
class Share:
    """A share between 0 and 1, and how many independent images would know it as well.

    The interval is Wilson's (JASA 1927) with the effective number in place of the images, as Korn and Graubard (Survey
    Methodology 1998) do for clustered samples: it stays between 0 and 1, and has a width where the share is 0 or 1.
    """

    value: float
    effective: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval."""
        return max(0.0, self._centre - self._half_width)

    @property
    def high(self) -> float:
        """Upper end of the 95 % interval."""
        return min(1.0, self._centre + self._half_width)

    @property
    def _centre(self) -> float:
        return (self.value + _NORMAL**2 / (2 * self.effective)) / (1 + _NORMAL**2 / self.effective)

    @property
    def _half_width(self) -> float:
        spread = self.value * (1 - self.value) / self.effective + _NORMAL**2 / (4 * self.effective**2)
        return _NORMAL * math.sqrt(spread) / (1 + _NORMAL**2 / self.effective)


def share(value: float, standard_error: float, patients: int) -> Share:
    """``value`` with the effective number that its ``standard_error`` stands for, at most that of ``patients``."""
    variance = value * (1 - value)
    effective = variance / standard_error**2 if standard_error > 0 and variance > 0 else float(patients)
    return Share(value, min(float(patients), max(1.0, effective)))


def numbered(count: int, groups: Sequence[str] | None) -> NDArray[np.int64]:
    """The number (``count``,) of each row's patient; None: each row is a patient of its own."""
    if groups is None:
        return np.arange(count, dtype=np.int64)
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], dtype=np.int64)


def halves(
    patients_x: NDArray[np.int64], patients_y: NDArray[np.int64], *, purpose: str, subsets: int = SUBSETS
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Rows (n,) and columns (m,) of ``subsets`` random halves of the patients of two sets, the same at every call."""
    everyone_x, everyone_y = np.unique(patients_x), np.unique(patients_y)
    generator = np.random.default_rng(mix_seed(purpose, len(patients_x), len(patients_y)))
    for _ in range(subsets):
        yield (
            np.isin(patients_x, generator.choice(everyone_x, len(everyone_x) // 2, replace=False)),
            np.isin(patients_y, generator.choice(everyone_y, len(everyone_y) // 2, replace=False)),
        )


def require_patients(what: str, *sets: NDArray[np.int64], least: int = LEAST_PATIENTS) -> None:
    """Raise ``AuditError`` where one of ``sets``, given by the patient of each image, has fewer than ``least``."""
    sizes = " and ".join(str(len(patients)) for patients in sets)
    for patients in sets:
        if (found := len(np.unique(patients))) < least:
            raise AuditError(
                f"{what} of sets of {sizes} images: the one of {plural(len(patients), 'image')} has "
                f"{plural(found, 'patient')}; it takes {least}",
                fix="give more images of different patients",
            )


def most_pairs(count: int) -> int:
    """How many pairs of ``count`` images are looked at, at most."""
    return min(PAIRS, count * max(0, (count - 1) // 2))


def random_pairs(patients: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Up to 500 different pairs of images of different ``patients`` (N,); all images appear about as often."""
    count = len(patients)
    order = np.random.default_rng(mix_seed("pairs", count)).permutation(count)
    pairs = np.empty((2, 0), dtype=np.int64)
    for shift in range(1, (count - 1) // 2 + 1):
        turned = np.stack([order, np.roll(order, -shift)])
        pairs = np.hstack([pairs, turned[:, patients[turned[0]] != patients[turned[1]]]])
        if pairs.shape[1] >= PAIRS:
            break
    return pairs[0, :PAIRS], pairs[1, :PAIRS]


def mean_of_pairs(values: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]) -> Estimate:
    """The mean of ``values`` (P,) of pairs of patients ``first`` and ``second`` (P,), and its error.

    Two pairs that share a patient are not independent. Their products of residuals are all counted: Aronow, Samii and
    Assenova, "Cluster-robust variance estimation for dyadic data" (Political Analysis 2015).
    """
    residuals = values - values.mean()
    people = int(max(first.max(), second.max())) + 1
    each = np.bincount(first, residuals, people) + np.bincount(second, residuals, people)
    couple = np.minimum(first, second) * people + np.maximum(first, second)
    both = np.bincount(np.unique(couple, return_inverse=True)[1], residuals)
    variance = max(float((each**2).sum() - (both**2).sum()), float((both**2).sum())) / len(values) ** 2
    found = len(np.union1d(first, second))
    return Estimate(
        float(values.mean()), math.sqrt(variance * found / (found - 2))
    )  # the residuals are of their own mean
