"""The random numbers of one training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lichen.seeds import mix_seed


@dataclass(frozen=True)
class Draws:
    """Random numbers for the images of a batch.

    They are drawn for the whole batch, of which a process takes what belongs to its ``part``: so an image meets the
    same noise however many processes share the batch.
    """

    generator: torch.Generator
    batch_size: int
    part: slice

    @classmethod
    def of_step(
        cls, seed: int, phase: str, images_seen: int, batch_size: int, part: slice, device: torch.device
    ) -> Draws:
        """Those of the step that follows ``images_seen`` images."""
        generator = torch.Generator(device)
        generator.manual_seed(mix_seed(seed, phase, images_seen))
        return cls(generator, batch_size, part)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers (b, *shape) for the b images of the part."""
        whole = torch.randn((self.batch_size, *shape), generator=self.generator, device=self.generator.device)
        return whole[self.part]

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Numbers (b, *shape), uniform in [0, 1), for the b images of the part."""
        whole = torch.rand((self.batch_size, *shape), generator=self.generator, device=self.generator.device)
        return whole[self.part]

    def starts(self, most: Sequence[int]) -> Tensor:
        """Whole numbers (b, axes) for the b images of the part, each uniform from 0 to the one in ``most``."""
        device = self.generator.device
        uniform = torch.rand((self.batch_size, len(most)), generator=self.generator, device=device)
        ends = torch.tensor(most, device=device)
        return (uniform * (ends + 1)).long().minimum(ends)[self.part]

    def strata(self) -> Tensor:
        """A number in [0, 1) for each image of the part, (b,): one of the batch in each of its B equal parts."""
        device = self.generator.device
        offset = torch.rand((), generator=self.generator, device=device)
        return ((torch.arange(self.batch_size, device=device) / self.batch_size + offset) % 1)[self.part]

    def seeds(self) -> list[int]:
        """A seed for each of the b images of the part, whatever else is drawn and in which order."""
        return [mix_seed(self.generator.initial_seed(), place) for place in range(self.batch_size)[self.part]]
