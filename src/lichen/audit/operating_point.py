"""How well "p-value at most a level" tells copies from innocent images, and how certain that is.

Of the levels up to the one that is asked for, that one is used at which planted copies and innocent images are told
apart best (the largest power less false-positive rate, Youden 1950), or the finest that is as good within a standard
error. A level k / (n + 1) fixes a threshold, the k-th largest of n held-out patients' similarities. What is not known
of the test is drawn many times:

- the false-positive rate from Beta(k, n + 1 - k): the law of the share of new patients above the k-th largest of n
  exchangeable ones, whatever the distribution of the similarities (Wilks 1941);
- the power from a Beta law as wide as the spread between the patients of the planted copies says, since copies of one
  patient are found and missed together (Korn and Graubard 1998); half a copy found and half a copy missed are added,
  so that a power of 1 on few patients is not taken for certain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_ROUNDING = 1e-9


@dataclass(frozen=True)
class OperatingPoint:
    """What is known of "p-value at most the level" as a test for copies; R draws of what is uncertain."""

    flagged: NDArray[np.bool_]  # (m,) of the synthetic images
    power: float
    false_positive_rate: float
    powers: Floats  # (R,)
    false_positive_rates: Floats  # (R,)

    @property
    def useful(self) -> NDArray[np.bool_]:
        """Which draws tell copies from innocent images, (R,)."""
        return np.asarray(self.powers > self.false_positive_rates)

    def rate(self) -> float:
        """Rogan and Gladen's estimate."""
        excess = self.flagged.mean() - self.false_positive_rate
        return float(np.clip(excess / (self.power - self.false_positive_rate), 0, 1))

    def draw_rates(self, rng: np.random.Generator) -> Floats:
        """The generator's rate, (R,); of draws that are not ``useful`` without meaning."""
        flagged, m = int(self.flagged.sum()), len(self.flagged)
        shares = rng.beta(flagged + 0.5, m - flagged + 0.5, len(self.powers))
        between = np.where(self.useful, self.powers - self.false_positive_rates, 1.0)
        return np.clip((shares - self.false_positive_rates) / between, 0, 1)


def measure(
    synthetic: Floats,
    null: Floats,
    planted: Floats,
    planted_patients: Sequence[str],
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> OperatingPoint | None:
    """The best test at a level up to ``level``; None where none says anything."""
    scores, n = null.shape
    if not synthetic.shape[1] or not planted.shape[1]:
        return None
    most = max(1, int(level / scores * (n + 1) + _ROUNDING))
    points = [_at(k, null, planted, planted_patients) for k in range(1, most + 1)]
    best = max(points, key=lambda point: point.youden)
    if best.youden <= 0:
        return None
    # The finest that is as good within a standard error: the best of many owes something to luck, and a finer level
    # leaves less room for innocent images that are flagged less often than it says.
    point = next(point for point in points if point.youden >= best.youden - best.standard_error)
    power, copies, above = point.power, point.copies, point.above
    return OperatingPoint(
        flagged=np.asarray((synthetic > point.thresholds).any(axis=0)),
        power=power,
        false_positive_rate=point.false_positive_rate,
        powers=rng.beta(power * copies + 0.5, (1 - power) * copies + 0.5, resamples),
        false_positive_rates=rng.beta(above, n + 1 - above, resamples),
    )


@dataclass(frozen=True)
class _Candidate:
    """The test whose thresholds are the k-th largest of held-out patients' similarities."""

    thresholds: Floats  # (S, 1)
    power: float
    copies: float  # planted copies, as many as if they were independent
    above: int  # held-out patients at or above a threshold; those include the ones at it, whom a new one may pass
    patients: int

    @property
    def false_positive_rate(self) -> float:
        return self.above / (self.patients + 1)

    @property
    def youden(self) -> float:
        """Youden's index: power less false-positive rate."""
        return self.power - self.false_positive_rate if self.above else 0.0

    @property
    def standard_error(self) -> float:
        """Of the power."""
        return math.sqrt(self.power * (1 - self.power) / self.copies)


def _at(k: int, null: Floats, planted: Floats, planted_patients: Sequence[str]) -> _Candidate:
    thresholds = np.array([_kth_largest(row, k) for row in null])[:, None]
    found = np.asarray((planted > thresholds).any(axis=0))
    above = int((null >= thresholds).any(axis=0).sum())
    return _Candidate(thresholds, float(found.mean()), _effective_copies(found, planted_patients), above, null.shape[1])


def _kth_largest(null: Floats, k: int) -> float:
    """The similarity above which a conformal p-value is at most k / (n + 1); infinite without a comparable patient."""
    comparable = np.sort(null[null > -np.inf])
    return float(comparable[-min(k, len(comparable))]) if len(comparable) else np.inf


def _effective_copies(found: NDArray[np.bool_], patients: Sequence[str]) -> float:
    """How many independent copies say as much about the power as these (T,) of some patients do (Korn and Graubard).

    Where all or none were found there is no spread to see: each patient counts as one.
    """
    _, patient = np.unique(np.asarray(patients), return_inverse=True)
    count, power = int(patient.max()) + 1, found.mean()
    total = np.bincount(patient, weights=found - power)
    variance = float((total**2).sum()) / len(found) ** 2 * count / max(count - 1, 1)
    if variance <= 0:
        return count
    return float(min(len(found), power * (1 - power) / variance))
