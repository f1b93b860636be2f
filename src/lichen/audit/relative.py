"""A similarity relative to the next nearest patients: how much nearer than its like is the nearest one?

A smooth, noisy or common-looking image resembles everybody more, or less, than a sharp one. What it has in common with
the next nearest patients says how much; what a copy has in common with its patient alone remains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def relative_to_next(similarity: Tensor) -> Tensor:
    """``similarity`` (Q, k), best first, less the mean of columns 1 to k - 1 of its row: (Q, k), the same order.

    Entries of -inf (fewer patients, nothing to compare) stay -inf and do not count in the mean; where no second patient
    is left, nothing is taken off.
    """
    following = similarity[:, 1:]
    there = following.isfinite()
    total = following.where(there, torch.zeros_like(following)).sum(1, keepdim=True)
    return similarity - total / there.sum(1, keepdim=True).clamp(min=1)
