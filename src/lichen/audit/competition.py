"""Training images against as many withheld ones: which of the two is a synthetic image nearer to?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Competition:
    """The outcome for m synthetic images."""

    wins: NDArray[np.float64]
    threshold: float | None
    flagged: NDArray[np.bool_]
    least_discoveries: int
