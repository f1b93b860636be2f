"""Copies found by a competition between the training images and as many that the generator never saw.

No calibration patients are needed and no p-value: an innocent synthetic image is as likely to be nearer to the one set
as to the other, so those that lie far on the withheld side tell how many on the training side lie there by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lichen.errors import AuditError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Competition:
    """What a competition found among m synthetic images."""

    wins: NDArray[np.float64]
    """(m,) W: by how much each is nearer to the training images than to the withheld ones; 0: not comparable."""
    threshold: float | None
    """The smallest win that is flagged; None: none is."""
    flagged: NDArray[np.bool_]
    """(m,)."""
    least_discoveries: int
    """Fewer, in ``compete_by_patient`` patients, cannot be flagged: 1 / the false-discovery rate, rounded up."""


def compete(s_train: NDArray[np.float64], s_withheld: NDArray[np.float64], false_discovery_rate: float) -> Competition:
    """Flag synthetic images that are nearer to the training images than chance explains.

    ``s_train``, ``s_withheld`` (m,): similarity to the nearest of the one and of the other set, larger is nearer,
    -inf could not be compared. Both sets are of one source and of equal size, as the nearest of more is nearer. The
    threshold is knockoff+ of Barber and Candès (Annals of Statistics 2015), equation 1.9: the smallest t > 0 among
    the |W| with

        (1 + number of W <= -t) / (number of W >= t) <= false_discovery_rate.

    The expected share of innocent images among the flagged ones is at most that, if which side an innocent image is
    nearer to is a fair coin for each image by itself. Images that resemble one another, as those of a generator with
    few modes do, share their coin: give the competition ``representatives`` of them. An image that could not be
    compared with both sets has W = 0 and is not flagged.
    Raises ``AuditError`` if the false-discovery rate is not between 0 and 1.
    """
    if not 0 < false_discovery_rate < 1:
        raise AuditError(
            f"a false-discovery rate of {false_discovery_rate:g} cannot be kept",
            fix="give one between 0 and 1, such as 0.1",
        )
    comparable = np.isfinite(s_train) & np.isfinite(s_withheld)
    wins = np.subtract(s_train, s_withheld, out=np.zeros(len(s_train)), where=comparable)
    threshold = _knockoff_plus(wins, false_discovery_rate)
    return Competition(
        wins=wins,
        threshold=threshold,
        flagged=wins >= threshold if threshold is not None else np.zeros(len(wins), dtype=np.bool_),
        least_discoveries=math.ceil(1 / false_discovery_rate - _ROUNDING),
    )


def compete_by_patient(
    s_train: NDArray[np.float64],
    s_withheld: NDArray[np.float64],
    nearest_train: Sequence[str],
    nearest_withheld: Sequence[str],
    false_discovery_rate: float,
) -> Competition:
    """``compete`` among the ``representatives``, and flag with each that is flagged the images around its patient.

    Arguments as of these two, all (m,). Of a training patient whose representative is flagged every image with a win of
    the threshold or more is flagged, so the false-discovery rate is that of patients.
    """
    kept = representatives(s_train, s_withheld, nearest_train, nearest_withheld)
    among = compete(s_train[kept], s_withheld[kept], false_discovery_rate)
    wins = compete(s_train, s_withheld, false_discovery_rate).wins
    copied = {nearest_train[i] for i in kept[among.flagged]}
    is_theirs = np.array([patient in copied for patient in nearest_train], dtype=np.bool_)
    threshold = np.inf if among.threshold is None else among.threshold
    return Competition(wins, among.threshold, is_theirs & (wins >= threshold), among.least_discoveries)


def can_flag(images: int, share: float, false_discovery_rate: float) -> bool:
    """Whether ``share`` of so many ``images`` are enough discoveries for a competition to flag any."""
    return images * share >= 1 / false_discovery_rate - _ROUNDING


def representatives(
    s_train: NDArray[np.float64],
    s_withheld: NDArray[np.float64],
    nearest_train: Sequence[str],
    nearest_withheld: Sequence[str],
) -> NDArray[np.int64]:
    """One synthetic image for each real patient, to compete for the whole cluster around that patient.

    Each image belongs to the patient, of either set, whom it is nearest to: ``nearest_train`` and ``nearest_withheld``
    (m,) name the nearest patient of each set. The representative is the nearest image of the cluster; of equal ones
    the first. Returns positions in ascending order, (r,). Images as near to one set as to the other, or that could not
    be compared with both, belong to nobody.

    Twenty near-identical images of an innocent mode then toss one coin, not twenty. What is controlled is the share of
    innocent patients among those with a flagged image, not that of images. Modes that lie between patients, so that
    their images have different nearest ones, are still counted more than once.
    """
    best: dict[tuple[bool, str], int] = {}
    for i, (train, withheld) in enumerate(zip(s_train.tolist(), s_withheld.tolist(), strict=True)):
        if not (math.isfinite(train) and math.isfinite(withheld)) or train == withheld:
            continue
        on_train = train > withheld
        patient = (on_train, nearest_train[i] if on_train else nearest_withheld[i])
        score, side = max(train, withheld), s_train if on_train else s_withheld
        if patient not in best or score > side[best[patient]]:
            best[patient] = i
    return np.array(sorted(best.values()), dtype=np.int64)


def _knockoff_plus(wins: NDArray[np.float64], q: float) -> float | None:
    """The threshold of equation 1.9; None if no t reaches ``q``."""
    candidates = np.unique(np.abs(wins[wins != 0]))
    ordered = np.sort(wins)
    above = len(wins) - np.searchsorted(ordered, candidates, side="left")
    below = np.searchsorted(ordered, -candidates, side="right")
    reached = np.flatnonzero(1 + below <= q * above * (1 + _ROUNDING))
    return float(candidates[reached[0]]) if len(reached) else None
