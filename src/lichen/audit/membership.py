"""Membership inference: does the generator know its training patients better than patients it never saw?

A generator that has learned patients by heart predicts them better than others: its loss on them is lower. Comparing
the losses of training and held-out patients (Matsumoto et al., arXiv 2302.03262; Carlini et al., arXiv 2301.13188,
section 5.1) tells so without any synthetic image. Patients are the unit: one loss each.

The comparison knows nothing of why the losses differ. Where held-out patients come from another hospital, scanner or
year, they are also harder to predict for a generator that memorised nobody (Dubinski et al., arXiv 2306.12983).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from lichen.errors import AuditError
from lichen.plurals import plural

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

LEAST_RATE = 0.01
"""The false-positive rate at which training patients are counted, where there are enough held-out ones for it."""
LEAST_PATIENTS = 2
"""On each side; of one patient alone nothing can be said."""


@dataclass(frozen=True)
class Membership:
    """How well a patient's loss tells training patients from held-out ones."""

    auc: float
    """Chance that a training patient has a lower loss than a held-out one: 0.5 tells nothing, 1 tells all apart."""
    auc_low: float
    auc_high: float
    true_positive_rate: float
    """Share of training patients whose loss is lower than those of nearly all held-out patients."""
    tpr_low: float
    tpr_high: float
    at_false_positive_rate: float
    """The largest share of held-out patients that may be called training patients at this rate."""
    members: int
    """Training patients compared."""
    held_out: int
    """Held-out patients compared."""


def membership(
    member_losses: ArrayLike,
    held_out_losses: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Membership:
    """Compare the losses of training patients (m,) and held-out patients (n,), one number each, lower is better known.

    The rate of true positives is read at a false-positive rate of ``LEAST_RATE``, or 1/n where fewer held-out patients
    cannot resolve that (Carlini et al., arXiv 2112.03570, say why the low rates count). Intervals resample patients on
    both sides (percentile bootstrap), widened to those of ``auc_interval`` and ``wilson_interval``: resampling losses
    that do not overlap always gives the same figure, and would make few patients look like certainty.

    The interval of the true positives is too short where few held-out patients place the threshold: in simulations of
    normal losses with 20 to 100 of them, one of 95 % covered in 80 to 98 % of cases. Rely on the area there.

    Raises:
        AuditError: fewer than two patients on a side, or a loss that is not a finite number.
    """
    inside, outside = _checked(member_losses, "training"), _checked(held_out_losses, "held-out")
    m, n = len(inside), len(outside)
    rate = max(LEAST_RATE, 1 / n)
    auc, true_positives = area_under_curve(inside, outside), true_positive_rate(inside, outside, rate)

    random = np.random.default_rng(seed)
    drawn = np.empty((resamples, 2))
    for row in drawn:
        again, others = random.choice(inside, m), random.choice(outside, n)
        row[:] = area_under_curve(again, others), true_positive_rate(again, others, rate)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    auc_low, auc_high = auc_interval(auc, m, n, confidence)
    tpr_low, tpr_high = wilson_interval(true_positives, m, confidence)
    return Membership(
        auc=auc,
        auc_low=min(float(low[0]), auc_low),
        auc_high=max(float(high[0]), auc_high),
        true_positive_rate=true_positives,
        tpr_low=min(float(low[1]), tpr_low),
        tpr_high=max(float(high[1]), tpr_high),
        at_false_positive_rate=rate,
        members=m,
        held_out=n,
    )


def area_under_curve(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """P(inside < outside) + P(inside = outside) / 2 over all pairs of ``inside`` (m,) and ``outside`` (n,).

    The Mann-Whitney statistic U / (m n), which is the area under the curve of true against false positives.
    """
    ordered = np.sort(outside)
    below_or_equal = np.searchsorted(ordered, inside, side="right")
    below = np.searchsorted(ordered, inside, side="left")
    return float(1 - (below_or_equal + below).mean() / (2 * len(outside)))


def true_positive_rate(inside: NDArray[np.float64], outside: NDArray[np.float64], rate: float) -> float:
    """Share of ``inside`` (m,) below a threshold that at most ``rate`` of ``outside`` (n,) lie below.

    The threshold is itself the loss of a held-out patient, and equal losses count as above it.
    """
    n = len(outside)
    allowed = min(int(rate * n + 1e-9), n - 1)  # 1/n * n may fall short of 1
    return float((inside < np.partition(outside, allowed)[allowed]).mean())


def auc_interval(auc: float, m: int, n: int, confidence: float) -> tuple[float, float]:
    """The area under the curve of m against n patients, after Newcombe (2006), method 5; also at 0 and 1.

    The areas t with |auc - t| <= z sqrt(V(t)), where V is the variance of Hanley and McNeil (1982) with both numbers
    of patients replaced by their mean in its two terms (Statistics in Medicine 25:559):

        V(t) = t (1 - t) (1 + N (1 - t) / (2 - t) + N t / (1 + t)) / (m n),   N = (m + n) / 2 - 1.
    """
    z, mean = _z(confidence), (m + n) / 2 - 1

    def covers(t: float) -> bool:
        variance = t * (1 - t) * (1 + mean * (1 - t) / (2 - t) + mean * t / (1 + t)) / (m * n)
        return bool((auc - t) ** 2 <= z * z * variance)

    return _edge(covers, auc, 0.0), _edge(covers, auc, 1.0)


def wilson_interval(share: float, n: int, confidence: float) -> tuple[float, float]:
    """The probability behind a ``share`` of n independent patients (Wilson 1927)."""
    z = _z(confidence)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _edge(covers: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where ``covers`` ends between ``inside``, which it holds for, and ``outside``."""
    for _ in range(50):  # bisection, one bit a round
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if covers(middle) else (inside, middle)
    return inside if not covers(outside) else outside


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _checked(losses: ArrayLike, what: str) -> NDArray[np.float64]:
    values = np.asarray(losses, dtype=np.float64)
    if len(values) < LEAST_PATIENTS:
        raise AuditError(
            f"{plural(len(values), f'{what} patient')} cannot show whether the generator knows its training patients",
            fix=f"compare at least {LEAST_PATIENTS} training and {LEAST_PATIENTS} held-out patients",
        )
    if not np.isfinite(values).all():
        raise AuditError(
            f"the loss of {(~np.isfinite(values)).sum()} of {len(values)} {what} patients is not a finite number",
            fix="check these images for NaN, and the generator for weights that are no numbers",
        )
    return values
