"""Block checkpointing: only what enters a block is kept, the rest is computed again in backward (arXiv 1604.06174)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(network: nn.Module, blocks: Iterable[nn.Module] | None = None) -> nn.Module:
    """Have ``network`` recompute its ``blocks`` in backward, in place; weights, their names and gradients stay as is.

    By default the blocks are the residual and attention blocks of MONAI's ``DiffusionModelUNet`` and
    ``AutoencoderKL``, and the former's last layers. Only training with gradients is changed. The blocks get a class of
    their own rather than a new ``forward``, which in a copy of the network would use the weights of the original.

    Raises:
        ValueError: there is no block to checkpoint.
    """
    found = list(_monai_blocks(network) if blocks is None else blocks)
    if not found:
        raise ValueError(f"{type(network).__name__} has no blocks of MONAI's; name those to checkpoint")
    for block in found:
        block.__class__ = _recomputing(type(block))  # type: ignore[arg-type]  # a class is hashable
    return network


def _monai_blocks(network: nn.Module) -> Iterator[nn.Module]:
    from monai.networks.blocks.spatialattention import SpatialAttentionBlock
    from monai.networks.nets.autoencoderkl import AEKLResBlock
    from monai.networks.nets.diffusion_model_unet import (
        DiffusionModelUNet,
        DiffusionUNetResnetBlock,
        SpatialTransformer,
    )

    kinds = (DiffusionUNetResnetBlock, SpatialAttentionBlock, SpatialTransformer, AEKLResBlock)
    for module in network.modules():
        if isinstance(module, kinds):
            yield module
        if isinstance(module, DiffusionModelUNet):
            yield module.out


@cache
def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    """``kind``, but recomputed in backward."""

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not (self.training and torch.is_grad_enabled()):
            return kind.forward(self, *args, **kwargs)
        return checkpoint(kind.forward, self, *args, use_reentrant=False, **kwargs)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
