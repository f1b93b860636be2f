"""Dropout whose random numbers are a function of seeds, so that a step can be repeated and recomputed to the bit.

PyTorch's own draws from a global state, which a resumed training does not have, and a recomputed block not again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lichen.seeds import mix_seed


class Dropout(nn.Module):
    """Sets a ``share`` of features to zero while training, and scales the others up to the same mean.

    Srivastava et al. (JMLR 2014). In a residual block it comes before the last convolution, as in Ho et al. (arXiv
    2006.11239, appendix B). It has no weights, and does nothing in evaluation.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.seeds: tuple[int, ...] = ()
        """One for each image, as ``seed_dropout`` gives them; in force until the next, for backward too."""

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, *S) -> (B, C, *S); what image i loses depends on its seed and shape, and not on the other images."""
        if not (self.training and self.share):
            return x
        if len(self.seeds) != len(x):
            raise ValueError(f"dropout of {len(x)} images has {len(self.seeds)} seeds; call seed_dropout before")
        generator = torch.Generator(x.device)
        keep = torch.empty(x.shape, dtype=torch.bool, device=x.device)  # in the order of axes, whatever that of x is
        for image, seed in zip(keep, self.seeds, strict=True):
            image.bernoulli_(1 - self.share, generator=generator.manual_seed(seed))
        return x * keep / (1 - self.share)


def seed_dropout(network: nn.Module, seeds: Callable[[], Sequence[int]]) -> None:
    """Have each ``Dropout`` of ``network`` drop, from now on, by itself and by the ``seeds`` (B,) of images.

    Where none drops anything, no seeds are asked for.
    """
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    if not any(layer.share for layer in layers):
        return
    of_images = seeds()
    for number, layer in enumerate(layers):
        layer.seeds = tuple(mix_seed(seed, "dropout", number) for seed in of_images)
