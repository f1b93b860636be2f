"""How well a patient's loss tells training patients from held-out ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Membership:
    """Rates with intervals."""

    auc: float
    auc_low: float
    auc_high: float
    true_positive_rate: float
    tpr_low: float
    tpr_high: float
    at_false_positive_rate: float
    members: int
    held_out: int
