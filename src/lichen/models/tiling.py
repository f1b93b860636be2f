"""Encoding and decoding of images whose activations do not fit into memory: in tiles, equal to the whole.

Tiles that know nothing of each other would not do: group normalisation takes mean and variance over the whole volume,
and a tile of air has others than a tile of bone. So the statistics of the whole are gathered first, in passes over all
tiles, and each tile is then made with them, from an input that is as much larger as the convolutions reach
(``tile_plan`` chooses passes and tiles, ``tile_steps`` says what reaches how far).

Tiles overlap in what they read and not in what they write. Where two of them compute the same voxel, they compute it
from the same numbers; so there is no seam to blend, and averaging over a wider overlap would change nothing but the
time. The result differs from that of the network itself only by the order in which sums are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import cast

import torch
from torch import Tensor, nn

from lichen.models.identity import Identity
from lichen.models.layout import fast_layout
from lichen.models.tile_plan import Chain, Pass, cheapest, intervals, whole_bytes
from lichen.models.tile_steps import Conv, Fork, Join, Norm, Spans, Up, UpConv, cut, steps_of

MARGIN = 1.1
"""For what a network holds that no step accounts for, such as the input of a layer made of two."""


class TiledAutoencoder(nn.Module):
    """An autoencoder that encodes and decodes within a budget of memory; it holds the one it is given, unchanged."""

    def __init__(self, autoencoder: nn.Module, budget_bytes: int) -> None:
        super().__init__()
        self.whole = autoencoder
        self.budget_bytes = budget_bytes

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, *S) -> mean and standard deviation of their latents, both (B, L, *s)."""
        return encode_tiled(self.whole, images, self.budget_bytes)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, L, *s) -> images (B, C, *S), not clipped."""
        return decode_tiled(self.whole, latents, self.budget_bytes)


def within(autoencoder: nn.Module, budget_bytes: int | None) -> nn.Module:
    """``autoencoder``, held to a budget where there is one; the identity computes nothing that could be held to it."""
    if budget_bytes is None or isinstance(autoencoder, Identity):
        return autoencoder
    return TiledAutoencoder(autoencoder, budget_bytes)


@torch.no_grad()
def encode_tiled(autoencoder: nn.Module, images: Tensor, budget_bytes: int) -> tuple[Tensor, Tensor]:
    """Images (B, C, *S) -> mean and standard deviation of their latents, as ``AutoencoderKL.encode``.

    The tensors alive meanwhile, with weights, images and latents, stay below ``budget_bytes``. Images that fit together
    are encoded together by the network itself; one that does not fit alone is encoded in tiles.

    Raises:
        BudgetError: not even the smallest tiles fit; it says what would do.
    """
    features = _run(autoencoder, _blocks(autoencoder.encoder), images, budget_bytes)
    mean: Tensor = autoencoder.quant_conv_mu(features)  # type: ignore[operator]  # layers of MONAI's class
    log_variance: Tensor = autoencoder.quant_conv_log_sigma(features)  # type: ignore[operator]
    return mean, torch.exp(torch.clamp(log_variance, -30.0, 20.0) / 2)


@torch.no_grad()
def decode_tiled(autoencoder: nn.Module, latents: Tensor, budget_bytes: int) -> Tensor:
    """Latents (B, L, *s) -> images (B, C, *S), as ``AutoencoderKL.decode``; budget and errors as ``encode_tiled``."""
    features: Tensor = autoencoder.post_quant_conv(latents)  # type: ignore[operator]  # as above
    return _run(autoencoder, _blocks(autoencoder.decoder), features, budget_bytes, beside_bytes=_bytes(latents))


def _blocks(network: nn.Module | Tensor) -> Sequence[nn.Module]:
    return cast("Sequence[nn.Module]", cast("nn.Module", network).blocks)


def _run(
    autoencoder: nn.Module, blocks: Sequence[nn.Module], x: Tensor, budget_bytes: int, *, beside_bytes: int = 0
) -> Tensor:
    """``blocks`` of ``autoencoder`` one after the other on x (B, C, *S), in tiles where they must.

    ``beside_bytes`` are taken of the budget by what else is held.
    """
    chain = Chain.of(steps_of(blocks), x.shape[1], x.shape[2:])
    inputs, output = chain.bytes_at(0), chain.bytes_at(chain.last)
    fixed = sum(map(_bytes, autoencoder.parameters())) + len(x) * (inputs + output) + beside_bytes
    together = int((budget_bytes - fixed) // (MARGIN * whole_bytes(chain)))
    y = torch.empty(len(x), chain.channels[-1], *chain.sizes[-1], dtype=x.dtype, device=x.device)
    if together >= 1:
        for start in range(0, len(x), together):
            part = x[start : start + together]
            for block in blocks:
                part = block(part)
            y[start : start + together] = part
        return y
    passes = cheapest(chain, fixed, budget_bytes)
    for image in range(len(x)):
        _run_passes(chain, passes, x[image : image + 1], y[image : image + 1])
    return y


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _run_passes(chain: Chain, passes: Sequence[Pass], x: Tensor, y: Tensor) -> None:
    """Write into ``y`` what ``chain`` makes of ``x``."""
    kept, affines = x, dict[int, tuple[Tensor, Tensor]]()
    for each in passes:
        size = chain.sizes[each.stop]
        # "channels last" for volumes of any size: the statistics are exact here in every layout
        layout = torch.channels_last_3d if len(size) == 3 else fast_layout(size, x.device)
        moments, made = _Moments(), y
        if each.keeps and each.stop != chain.last:
            made = torch.empty(
                1, chain.channels[each.stop], *size, dtype=x.dtype, device=x.device, memory_format=layout
            )
        whole = tuple((0, side) for side in size)
        for box in product(*(intervals(side, tile) for side, tile in zip(size, each.tile, strict=True))):
            # a tile is given no name here: it would live on while the next is made
            if each.keeps:
                cut(made, whole, box).copy_(_run_tile(chain, each, kept, box, affines))
            else:
                moments.add(_run_tile(chain, each, kept, box, affines))
        if each.keeps:
            kept = made
        else:
            affines[each.stop] = moments.affine(cast("Norm", chain.steps[each.stop]).layer)


def _run_tile(chain: Chain, each: Pass, kept: Tensor, box: Spans, affines: dict[int, tuple[Tensor, Tensor]]) -> Tensor:
    """The ``box`` of the activation at the end of a pass, from the one ``kept`` at its start."""
    boxes = chain.trace(each.start, each.stop, box)
    x = cut(kept, tuple((0, side) for side in chain.sizes[each.start]), boxes[0])
    entered, entered_at = x, boxes[0]
    for place, have, want in zip(range(each.start, each.stop), boxes, boxes[1:], strict=False):
        match chain.steps[place]:
            case Conv() | Up() | UpConv() as step:
                x = step(x, have, want)
            case Norm() as step:
                x = step(x, affines[place])
            case Fork():
                entered, entered_at = x, have
            case Join() as step:
                x = step(x, cut(entered, entered_at, want), want)
    return x


class _Moments:
    """Mean and variance per channel over all tiles, by the update of Chan, Golub & LeVeque (1983), in float64."""

    def __init__(self) -> None:
        self._count = 0
        self._mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, x: Tensor) -> None:
        """Take in the voxels of a tile (1, C, *s)."""
        variance, mean = (each.double() for each in torch.var_mean(x, dim=(0, *range(2, x.ndim)), correction=0))
        count = x.numel() // x.shape[1]
        total = self._count + count
        apart = mean - self._mean.to(mean)
        self._squares = self._squares.to(mean) + variance * count + apart.square() * (self._count * count / total)
        self._mean = self._mean.to(mean) + apart * (count / total)
        self._count = total

    def affine(self, norm: nn.GroupNorm) -> tuple[Tensor, Tensor]:
        """Scale and shift of each channel, (C,), that do what ``norm`` does with these statistics."""
        mean, variance = (each.view(norm.num_groups, -1) for each in (self._mean, self._squares / self._count))
        middle = mean.mean(1, keepdim=True)
        spread = (variance + (mean - middle).square()).mean(1, keepdim=True)
        scale = norm.weight.double().view_as(mean) * (spread + norm.eps).rsqrt()
        shift = norm.bias.double().view_as(mean) - middle * scale
        return scale.flatten().to(norm.weight), shift.flatten().to(norm.weight)
