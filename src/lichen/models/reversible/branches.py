"""What a coupling adds to a stream: functions of the other stream (B, C, *S) and of an embedding (B, E)."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from lichen.models.dropout import Dropout
from lichen.models.reversible.convolution import CONVOLUTIONS, convolve_activated


class ConvolutionBranch(nn.Module):
    """Norm, SiLU, convolution to ``hidden`` channels, the embedding added, norm, SiLU, dropout, convolution back.

    The residual part of a block of DDPM's U-Net (arXiv 2006.11239); zero at first, as there.
    """

    def __init__(
        self, spatial_dims: int, channels: int, hidden: int, embedding: int, groups: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[spatial_dims]
        self.norm_in = group_norm(channels, groups)
        self.widen = convolution(channels, hidden, 3, padding=1)
        self.condition = nn.Linear(embedding, hidden)
        self.norm_hidden = group_norm(hidden, groups)
        self.dropout = Dropout(dropout)
        self.narrow = zeroed(convolution(hidden, channels, 3, padding=1))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (B, C, *S), embedding (B, E) -> (B, C, *S)."""
        h = convolve_activated(x, self.norm_in, self.widen)
        h = h + _everywhere(self.condition(embedding), h)
        return convolve_activated(h, self.norm_hidden, self.narrow, self.dropout)


class AttentionBranch(nn.Module):
    """Self-attention between all voxels, with the embedding added to what attends; zero at first."""

    def __init__(self, channels: int, head_channels: int, embedding: int, groups: int) -> None:
        super().__init__()
        self.heads = channels // head_channels
        self.norm = group_norm(channels, groups)
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


class Head(nn.Sequential):
    """Norm, SiLU and a convolution from a stream to the prediction; zero at first."""

    def __init__(self, spatial_dims: int, channels: int, out_channels: int, groups: int, *, bias: bool) -> None:
        convolution = CONVOLUTIONS[spatial_dims]
        super().__init__(
            group_norm(channels, groups), zeroed(convolution(channels, out_channels, 3, padding=1, bias=bias))
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, *S) -> (B, out_channels, *S)."""
        norm, convolution = self
        assert isinstance(norm, nn.GroupNorm)
        return convolve_activated(x, norm, convolution)


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """A group normalisation in at most ``groups`` groups, as many as divide ``channels``."""
    return nn.GroupNorm(math.gcd(groups, channels), channels, eps=1e-6)


def zeroed(layer: nn.Module) -> nn.Module:
    """The layer with all its parameters zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _everywhere(vector: Tensor, x: Tensor) -> Tensor:
    """(B, C) with as many axes as x."""
    return vector.view(*vector.shape, *(1,) * (x.ndim - 2))
