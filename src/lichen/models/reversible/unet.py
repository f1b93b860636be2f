"""An invertible U-Net for diffusion, in the manner of iUNet (arXiv 2005.05220) and of arXiv 2504.10883."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress, pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.errors import ConfigError
from lichen.models.reversible.branches import AttentionBranch, ConvolutionBranch, Head
from lichen.models.reversible.chain import Chain, Coupling, State, Step, run_reversibly, snap
from lichen.models.reversible.convolution import CONVOLUTIONS
from lichen.models.reversible.resampling import Descent


class ReversibleUNet(nn.Module):
    """A U-Net between whose two ends every step is invertible, so that memory hardly grows with its depth.

    Two streams of ``channels[0]`` features each pass through additive couplings whose branches are those of MONAI's
    ``DiffusionModelUNet``: convolutions, and attention where ``attention_levels`` says so and in the middle. At each
    level a part of every stream is set aside, the rest goes down by space-to-depth, and comes back to it. Backward
    recomputes what went in from what came out, so a training step costs a forward pass more than it would otherwise.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of what is denoised.
        out_channels: channels of the prediction.
        channels: features of each stream, per level; each level after the first halves every axis.
        hidden_channels: features inside the convolution branches, per level; default: as ``channels``.
        num_res_blocks: convolution couplings per level on the way down, one more on the way up; or one for each level.
        attention_levels: on which levels each of them is followed by attention.
        num_head_channels: features per attention head.
        norm_num_groups: groups of the normalisations at most.
        dropout: share of features set to zero in the convolution branches while training, by ``seed_dropout``.
        grid: rounds the streams to multiples of it, a power of two such as 2**-12: gradients are then bitwise those of
            ordinary autograd, in fp32 and with bf16 branches. The streams are to be fp32, so use autocast for bf16 and
            not ``.bfloat16()``, in which no inversion is exact.
        invert: whether backward recomputes; False keeps all activations, as in ordinary networks.

    Raises:
        ConfigError: widths that do not fit together, or a grid that is no power of two.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 64, 64),
        hidden_channels: Sequence[int] | None = None,
        num_res_blocks: int | Sequence[int] = 2,
        attention_levels: Sequence[bool] = (False, False, True, True),
        num_head_channels: int = 8,
        norm_num_groups: int = 32,
        *,
        dropout: float = 0.0,
        grid: float | None = None,
        invert: bool = True,
    ) -> None:
        super().__init__()
        hidden_channels = tuple(hidden_channels or channels)
        blocks = (num_res_blocks,) * len(channels) if isinstance(num_res_blocks, int) else tuple(num_res_blocks)
        _levels_fit(
            spatial_dims,
            channels=channels,
            hidden_channels=hidden_channels,
            num_res_blocks=blocks,
            attention_levels=attention_levels,
        )
        if grid is not None and not (0 < grid < math.inf and math.frexp(grid)[0] == 0.5):
            raise ConfigError(f"grid is {grid}, on which sums are not exact", fix="give a power of two, e.g. 2**-12")
        _widths_fit(spatial_dims, channels)
        _heads_fit([*compress(channels, attention_levels), channels[-1]], num_head_channels)
        self.spatial_dims = spatial_dims
        self.stride = 2 ** (len(channels) - 1)
        self.grid = grid
        self.invert = invert
        width, embedding = channels[0], 4 * channels[0]
        convolution = CONVOLUTIONS[spatial_dims]

        def block(level: int, *, attends: bool) -> list[Step]:
            """A convolution coupling and, where asked for, an attention coupling."""
            steps = [
                Coupling(
                    ConvolutionBranch(
                        spatial_dims, channels[level], hidden_channels[level], embedding, norm_num_groups, dropout
                    ),
                    grid,
                )
            ]
            if attends:
                attention = AttentionBranch(channels[level], num_head_channels, embedding, norm_num_groups)
                steps.append(Coupling(attention, grid))
            return [*steps]

        def build(level: int) -> Chain:
            """All steps at this level and below it."""
            attends = attention_levels[level]
            down = [step for _ in range(blocks[level]) for step in block(level, attends=attends)]
            up = [step for _ in range(blocks[level] + 1) for step in block(level, attends=attends)]
            if level + 1 == len(channels):
                middle = [*block(level, attends=True), *block(level, attends=False)]
            else:
                middle = [Descent(channels[level + 1] // 2**spatial_dims, build(level + 1))]
            return Chain([*down, *middle, *up])

        self.time_width = width
        self.time_embed = nn.Sequential(
            nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.conv_in = convolution(in_channels, 2 * width, 3, padding=1)
        self.chain = build(0)
        self.heads = nn.ModuleList(
            Head(spatial_dims, width, out_channels, norm_num_groups, bias=first) for first in (True, False)
        )

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        context: Tensor | None = None,
        class_labels: Tensor | None = None,
        down_block_additional_residuals: tuple[Tensor, ...] | None = None,
        mid_block_additional_residual: Tensor | None = None,
    ) -> Tensor:
        """x (B, in_channels, *S) at timesteps (B,), integers or not -> (B, out_channels, *S).

        Sizes that the levels cannot divide are padded at their ends with their last voxels, and the result is cropped.

        Raises:
            ConfigError: another argument is given: this network is conditioned on the time step alone.
        """
        unserved = {
            "context": context,
            "class_labels": class_labels,
            "down_block_additional_residuals": down_block_additional_residuals,
            "mid_block_additional_residual": mid_block_additional_residual,
        }
        for name, value in unserved.items():
            if value is not None:
                raise ConfigError(
                    f"the reversible U-Net is conditioned on the time step alone, and was given {name}",
                    fix=f"leave {name} out, or use MONAI's DiffusionModelUNet (--denoiser.kind standard)",
                )
        size = x.shape[2:]
        embedding = self.time_embed(_sinusoids(timesteps, self.time_width).to(x.dtype))
        streams = self._streams_through(self.conv_in(_padded(x, self.stride)).to(x.dtype), embedding)
        a, b = (head(stream) for head, stream in zip(self.heads, streams, strict=True))
        return _cropped(a + b, size)

    def _streams_through(self, features: Tensor, embedding: Tensor) -> State:
        if self.grid is not None:
            features = snap(features, self.grid)
        a, b = features.chunk(2, dim=1)
        if self.invert:
            return run_reversibly(self.chain, (a, b), embedding, private=True)  # one head each, with a fresh gradient
        return self.chain((a, b), embedding)  # type: ignore[no-any-return]  # nn.Module's call is untyped


def _sinusoids(timesteps: Tensor, width: int) -> Tensor:
    """timesteps (B,) -> cosines and sines (B, width) of wavelengths from 2 pi to 20,000 pi (arXiv 1706.03762)."""
    half = width // 2
    frequencies = torch.exp(torch.arange(half, device=timesteps.device) * (-math.log(10_000) / half))
    phases = timesteps[:, None].float() * frequencies
    return functional.pad(torch.cat((phases.cos(), phases.sin()), dim=1), (0, width % 2))


def _padded(x: Tensor, stride: int) -> Tensor:
    """x (B, C, *S) with every axis prolonged to a multiple of ``stride``."""
    missing = [(0, -size % stride) for size in reversed(x.shape[2:])]
    if not any(after for _, after in missing):
        return x
    return functional.pad(x, [length for pair in missing for length in pair], mode="replicate")


def _cropped(x: Tensor, size: Sequence[int]) -> Tensor:
    """The first ``size`` voxels of x (B, C, *S)."""
    for axis, length in enumerate(size, start=2):
        x = x.narrow(axis, 0, length)
    return x


def _levels_fit(spatial_dims: int, **per_level: Sequence[object]) -> None:
    """Raise where there are no such axes, or not all is said of every level."""
    if spatial_dims not in CONVOLUTIONS:
        raise ConfigError(f"spatial_dims is {spatial_dims}", fix="give 2 or 3")
    counts = {name: len(values) for name, values in per_level.items()}
    if len(set(counts.values())) > 1 or not all(counts.values()):
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise ConfigError(
            f"not all is said of the same number of levels: {said}",
            fix="give each as many entries as there are levels, at least one",
        )


def _heads_fit(attended: Sequence[int], num_head_channels: int) -> None:
    """Raise where attention cannot be shared out among its heads; the middle of the network always attends."""
    if num_head_channels < 1 or any(width % num_head_channels for width in attended):
        raise ConfigError(
            f"num_head_channels is {num_head_channels}, which does not divide the attended channels "
            f"{' '.join(map(str, attended))}",
            fix=f"give a divisor of {math.gcd(*attended)}",
        )


def _widths_fit(spatial_dims: int, channels: Sequence[int]) -> None:
    """Raise where a level's width is no share of the level above, or too large a one."""
    fold = 2**spatial_dims
    for above, below in pairwise(channels):
        if below % fold or below > above * fold:
            raise ConfigError(
                f"a reversible level of {below} channels does not follow one of {above} in {spatial_dims}-D",
                fix=f"choose a multiple of {fold} up to {above * fold}",
            )
