"""How each flagged image differs from the training image that it copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lichen.audit.result import Transform
from lichen.audit.scores import NEIGHBOURS

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.aligned import Pairs

BLOCK = 64
"""Images aligned at once."""


def transforms_of(align: Callable[..., Pairs], images: Tensor, nearest: list[int]) -> list[Transform | None]:
    """What takes the training image ``nearest`` (Q,) to each of ``images`` (Q, C, *S); None where it was not aligned.

    ``align`` is that of an ``AlignedSearch``. Its nearest training image may be another one than that of the score
    which decided; one that is not among its ``NEIGHBOURS`` nearest patients has no transformation.
    """
    found: list[Transform | None] = []
    for start in range(0, len(nearest), BLOCK):
        block = slice(start, start + BLOCK)
        pairs = align(images[block], k=NEIGHBOURS)
        rows = zip(pairs.index.tolist(), pairs.transform.tolist(), pairs.mirror.tolist(), nearest[block], strict=True)
        for index, numbers, mirror, wanted in rows:
            place = index.index(wanted) if wanted in index else None
            found.append(None if place is None else Transform.of(numbers[place], mirror=mirror[place]))
    return found
