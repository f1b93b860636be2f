"""What a number of held-out patients can and cannot show.

The smallest conformal p-value is 1/(n + 1). If only copies reach it, Benjamini-Hochberg at level q rejects them only
where their share among the synthetic images is at least 1/((n + 1) q). Below that share, finding nothing means nothing.
Computed in fractions of the decimals given, so that 99 patients at q = 0.1 reach exactly 10 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Resolution:
    """The finest statement that the held-out patients allow."""

    patients: int
    """Held-out patients that calibrate the p-values."""
    smallest_p: float
    """The smallest p-value that an image can get."""
    detectable_share: float
    """Smallest share of copies among the synthetic images that would be found; above 1: no share would."""
    patients_needed: int
    """How many more held-out patients make ``detectable_share`` as small as was asked for; 0: enough are there."""

    @property
    def is_enough(self) -> bool:
        """Whether finding no copy allows the verdict 'clean'."""
        return self.patients_needed == 0


def resolution(patients: int, scores: int, false_discovery_rate: float, wanted_share: float) -> Resolution:
    """The resolution of ``patients`` held-out patients for p-values of ``scores`` scores joined by Bonferroni.

    ``wanted_share``: the share of copies that must be found for the verdict 'clean'.
    """
    q, wanted = Fraction(str(false_discovery_rate)), Fraction(str(wanted_share))
    smallest_p = min(Fraction(1), Fraction(scores, patients + 1))
    return Resolution(
        patients=patients,
        smallest_p=float(smallest_p),
        detectable_share=float(smallest_p / q),
        patients_needed=max(0, math.ceil(scores / (q * wanted)) - 1 - patients),
    )
