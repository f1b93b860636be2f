"""What a coupling adds to a stream: functions of the other stream (B, C, *S) and of an embedding (B, E)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}


class NormSiLU(nn.GroupNorm):
    """Group normalisation and SiLU, cheap enough to compute again in backward rather than to store what is between."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(math.gcd(groups, channels), channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, *S) -> (B, C, *S)."""
        if not torch.is_grad_enabled():
            return self._activated(x)
        activated: Tensor = checkpoint(self._activated, x, use_reentrant=False, preserve_rng_state=False)
        return activated

    def _activated(self, x: Tensor) -> Tensor:
        return functional.silu(super().forward(x).to(arithmetic(x)))


class ConvolutionBranch(nn.Module):
    """Norm, SiLU, convolution to ``hidden`` channels, the embedding added, norm, SiLU, convolution back.

    The residual part of a block of DDPM's U-Net (arXiv 2006.11239); zero at first, as there.
    """

    def __init__(self, spatial_dims: int, channels: int, hidden: int, embedding: int, groups: int) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims]
        self.norm_in = NormSiLU(channels, groups)
        self.widen = convolution(channels, hidden, 3, padding=1)
        self.condition = nn.Linear(embedding, hidden)
        self.norm_hidden = NormSiLU(hidden, groups)
        self.narrow = zeroed(convolution(hidden, channels, 3, padding=1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, C, *S), embedding (B, E) -> (B, C, *S)."""
        h = self.widen(self.norm_in(x))
        h = h + _everywhere(self.condition(embedding), h)
        out: Tensor = self.narrow(self.norm_hidden(h))
        return out


class AttentionBranch(nn.Module):
    """Self-attention between all voxels, with the embedding added to what attends; zero at first."""

    def __init__(self, channels: int, head_channels: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.norm = nn.GroupNorm(math.gcd(groups, channels), channels, eps=1e-6)
        self.condition = nn.Linear(embedding, channels)
        self.projections = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, C, *S), embedding (B, E) -> (B, C, *S)."""
        h = self.norm(x)
        h = h + _everywhere(self.condition(embedding), h)
        tokens = self.projections(h.flatten(2).transpose(1, 2))  # (B, voxels, 3 C)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in tokens.chunk(3, dim=2))
        attended = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        out: Tensor = self.out(attended).transpose(1, 2).unflatten(2, x.shape[2:])
        return out


def arithmetic(x: Tensor) -> torch.dtype:
    """The precision in which a convolution of x is computed: autocast's, where it is on."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device) and x.dtype == torch.float32:
        return torch.get_autocast_dtype(device)
    return x.dtype


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all its parameters zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _everywhere(vector: Tensor, x: Tensor) -> Tensor:
    """(B, C) with as many axes as x."""
    return vector.view(*vector.shape, *(1,) * (x.ndim - 2))
