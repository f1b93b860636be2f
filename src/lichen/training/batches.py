"""Which images come next: a pure function of the seed and of how many were seen."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from lichen.seeds import mix_seed


def batch_indices(seed: int, images_seen: int, batch_size: int, count: int) -> Tensor:
    """Indices (batch_size,) of the images at positions images_seen, images_seen + 1, ...

    Position p is image ``p mod count`` of the permutation of epoch ``p div count``: every image once per epoch, and a
    resumed run goes on where it stopped without any saved state.
    """
    positions = range(images_seen, images_seen + batch_size)
    return torch.stack([_permutation(seed, p // count, count)[p % count] for p in positions])


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(mix_seed(seed, "order", epoch))
    return torch.randperm(count, generator=generator)
