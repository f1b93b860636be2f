"""A cheap look at samples while their generator is trained: are they nearer to its images than new patients?

A probe scores a few samples and counts those that lie above all but a few held-out patients. If samples are no nearer
to the training images than new patients are, sample and patient can change places, and the number of samples above the
j-th largest of n patients follows a known law whatever the score (see ``chance``). The curve of that share over a
training shows when copying begins. It is no verdict: one score, few samples.

Scores are taken relative to the next nearest patients. Early in a training every sample is near the mean image, which
resembles all training patients alike, and more than any new patient resembles one of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from lichen.audit.conformal import conformal_p_values
from lichen.audit.scores import NEIGHBOURS, Pool, Search, find_score
from lichen.errors import AuditError
from lichen.progress import silent

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

LEVEL = 0.05
"""The share of new patients above whom a sample counts as near; with fewer than 19 patients, the nearest one alone."""
FALSE_STOPS = 0.05
"""The largest chance that a whole training without copies is stopped."""


@dataclass(frozen=True)
class Reading:
    """What one probe found."""

    samples: int
    """Samples that could be compared; a constant one cannot."""
    above: int
    """Of these, nearer to a training image than all but a share ``LEVEL`` of held-out patients."""
    mean_score: float | None
    """Mean score; None where no sample could be compared."""
    p_value: float
    """The chance of as many or more if samples are like new patients."""

    @property
    def share(self) -> float | None:
        """The share of the samples that lie above."""
        return self.above / self.samples if self.samples else None

    def rises(self, probes: int) -> bool:
        """Whether copying has begun, as one of ``probes`` probes of a training.

        Each probe may err with a chance of ``FALSE_STOPS`` / ``probes`` (Bonferroni). The probes of a training share
        their held-out patients and resemble each other; the sum of the chances is a bound all the same.
        """
        return self.p_value <= FALSE_STOPS / max(probes, 1)


@dataclass(frozen=True)
class Yardstick:
    """Training images to search, and how near to them held-out patients are."""

    search: Search
    null: NDArray[np.float64]
    """(n,): the score of one image of each held-out patient."""

    def read(self, samples: Tensor) -> Reading:
        """Score ``samples`` (B, C, *S) on the grid of the training images."""
        found = _nearest(self.search, samples)
        known = found[np.isfinite(found)]
        rank = rank_of(len(self.null))
        reached = conformal_p_values(known, self.null) * (len(self.null) + 1) <= rank + 0.5
        above = int(reached.sum())
        mean = float(known.mean()) if len(known) else None
        return Reading(len(known), above, mean, chance(above, len(known), rank, len(self.null)))


def yardstick(score: str, train: Tensor, patients: Sequence[str], held_out: Tensor) -> Yardstick:
    """Make ready to probe with the score of that name.

    ``train`` (M, C, *S) and ``patients`` (M); ``held_out`` (n, C, *S), one image of each held-out patient. They should
    have gone through what samples go through, such as a decoder: smooth images are nearer to everything.
    Raises ``AuditError`` for an unknown score, and where no held-out image can be compared.
    """
    import torch

    numbers = torch.from_numpy(np.unique(patients, return_inverse=True)[1].astype(np.int64))
    search = find_score(score).prepare(Pool(train, numbers))
    null = _nearest(search, held_out)
    null = null[np.isfinite(null)]
    if not len(null):
        raise AuditError("no held-out image can be compared, so nothing can be probed", fix="leave out --probe.every")
    return Yardstick(search, null)


def rank_of(patients: int, level: float = LEVEL) -> int:
    """How many of the nearest of n held-out patients count as near: j = floor(level (n + 1)), and at least 1."""
    return max(1, math.floor(level * (patients + 1) + 1e-9))


def chance(above: int, samples: int, rank: int, patients: int) -> float:
    """P(X >= ``above``) for the number X of ``samples`` above the ``rank``-th largest of ``patients``.

    If all are exchangeable and no two are equal, every order of the m samples among the n patients is as likely, so

        P(X = x) = C(x + j - 1, x) C(m - x + n - j, m - x) / C(m + n, m),

    the distribution of the number of exceedances (Gumbel and von Schelling, Annals of Mathematical Statistics 21,
    1950). Unlike a binomial test it knows that the patients are a sample too. Ties count against a rise.
    """
    orders = math.comb(samples + patients, samples)
    tail = sum(
        math.comb(x + rank - 1, x) * math.comb(samples - x + patients - rank, samples - x)
        for x in range(above, samples + 1)
    )
    return float(Fraction(tail, orders))


def _nearest(search: Search, images: Tensor) -> NDArray[np.float64]:
    """How much nearer the nearest training patient is than the next ones, for each of ``images``, (Q,)."""
    from lichen.audit.relative import relative_to_next  # loads torch, which the statistics above do not need

    found = relative_to_next(search(images, k=NEIGHBOURS, step=silent).similarity, NEIGHBOURS - 1)[:, 0]
    return np.asarray(found.double().cpu().numpy(), dtype=np.float64)
