"""What the audit found of copies that were planted, and whom it accused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Tested:
    """One transformation of planted copies, and of new patients' images."""

    name: str
    words: str
    power: float | None
    false_positive_rate: float | None
    copies: int
    new: int


@dataclass(frozen=True, eq=False)
class SelfTest:
    """The power and the false-positive rate of an audit at one level."""

    level: float
    tested: tuple[Tested, ...]
    planted: NDArray[np.float64]
    planted_patients: tuple[str, ...]
