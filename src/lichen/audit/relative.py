"""A similarity relative to the next nearest patients: how much nearer than its like is the nearest one?

A smooth, noisy or common-looking image resembles everybody more, or less, than a sharp one. What it has in common with
the next nearest patients says how much; what it shares with its nearest patient alone remains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def relative_to_next(correlation: Tensor, following: int) -> Tensor:
    """(r - m) / (1 - m) for correlations r (Q, k), best first, and m the mean of columns 1 to ``following``: (Q, k).

    1 is a perfect match, 0 as near as the next nearest patients are; the order within a row stays. Entries of -inf
    (fewer patients, nothing to compare) stay -inf and do not count in m; where no second patient is left, m is 0.
    """
    others = correlation[:, 1 : 1 + following]
    there = others.isfinite()
    total = others.where(there, torch.zeros_like(others)).sum(1, keepdim=True)
    mean = total / there.sum(1, keepdim=True).clamp(min=1)
    # Patients who all match perfectly (duplicates) leave 0 / 0: none of them is nearer than the others.
    return (correlation - mean) / (1 - mean).clamp(min=1e-6)


def tempered(relative: Tensor, strictness: Tensor) -> Tensor:
    """Relative scores above 0 to the power ``strictness``: 0 and 1 stay what they mean, what lies between is lowered.

    Increasing and the same for every query, so that ranks, and the p-values made of them, stay valid.
    """
    return relative.clamp(min=0) ** strictness + relative.clamp(max=0)
