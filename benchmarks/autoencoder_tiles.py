"""Encoding and decoding a CT volume in tiles against the whole: difference, memory and time.

Networks with random weights, since neither memory nor time nor rounding depends much on what they learned; the volume
is resampled to each size. Time is that of the processor, so that other work on the machine does not count.

    python benchmarks/autoencoder_tiles.py CT.nii.gz [--sizes 64 128 256]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from report import write_results
from torch import Tensor, nn
from torch.nn import functional

from lichen.config import AutoencoderConfig
from lichen.errors import BudgetError
from lichen.memory import measure_peak_memory, peak_memory
from lichen.models.autoencoder import build_autoencoder, decode, encode
from lichen.models.layout import set_layout
from lichen.models.tile_plan import Chain, least_bytes, whole_bytes
from lichen.models.tile_steps import steps_of
from lichen.models.tiling import within

CPU = torch.device("cpu")
SMALL, STANDARD = (8, 16, 32), (32, 64, 64)
SHARES = (0.25, 0.1)
"""Budgets, as shares of what the whole takes; above ``SIDE`` the last alone."""
SIDE = 128
STANDARD_SIDE = 64
"""The side up to which the standard network is run."""


def measured(work: Callable[[], Tensor]) -> tuple[Tensor, int, int, float]:
    """(result, peak of tensors alive in bytes, peak resident bytes, processor seconds)."""
    made: list[Tensor] = []
    with peak_memory(CPU) as resident:
        start_s = time.process_time()
        alive = measure_peak_memory(lambda: made.append(work()), CPU)
        spent_s = time.process_time() - start_s
    return made[0], alive, resident.bytes or 0, spent_s


def rows_of(channels: tuple[int, ...], volume: Tensor) -> list[tuple[str, ...]]:
    """Whole against tiles, for one network and one volume (1, 1, *S)."""
    torch.manual_seed(0)
    size = tuple(volume.shape[2:])
    network = build_autoencoder(AutoencoderConfig(channels=channels), spatial_dims=3, image_channels=1)
    network.eval().requires_grad_(False)
    fast = set_layout(copy.deepcopy(network), torch.channels_last_3d)
    rows: list[tuple[str, ...]] = []
    latents = encode(network, volume)[0]
    work: dict[str, Callable[[nn.Module], Tensor]] = {
        "encode": lambda net: encode(net, volume)[0],
        "decode": lambda net: decode(net, latents),
    }
    for name, whole in work.items():
        wanted = whole(network)
        made, alive, resident, whole_s = measured(lambda: whole(fast))  # noqa: B023 (called at once)
        for share in SHARES if size[0] <= SIDE else SHARES[-1:]:
            bounded = within(fast, int(share * alive))
            try:
                found, tiled, tiled_resident, tiled_s = measured(lambda: whole(bounded))  # noqa: B023 (as above)
            except BudgetError:
                continue  # so small a volume has no such small tiles
            row = (
                f"{size[0]}^3",
                " ".join(map(str, channels)),
                name,
                f"{alive / 1e9:.3f}",
                f"{share * alive / 1e9:.3f}",
                f"{tiled / 1e9:.3f}",
                f"{resident / 1e9:.2f} and {tiled_resident / 1e9:.2f}",
                f"{(found - wanted).abs().max().item():.1e}",
                f"{(made - wanted).abs().max().item():.1e}",
                f"{tiled_s / whole_s:.2f}",
            )
            print(row, flush=True)
            rows.append(row)
    return rows


def smallest(channels: tuple[int, ...], side: int) -> str:
    """What whole and smallest tiles would take at ``side``^3, as a sentence."""
    network: Any = build_autoencoder(AutoencoderConfig(channels=channels), spatial_dims=3, image_channels=1)
    figures = []
    for name, blocks, width, grid in (("encode", network.encoder, 1, side), ("decode", network.decoder, 4, side // 4)):
        chain = Chain.of(steps_of(blocks.blocks), width, (grid,) * 3)
        ends = chain.bytes_at(0) + chain.bytes_at(chain.last)
        whole_gb, least_gb = (each / 1e9 for each in (whole_bytes(chain) + ends, least_bytes(chain) + ends))
        figures.append(f"{name} {whole_gb:.1f} GB whole, {least_gb:.2f} GB in the smallest tiles")
    return f"By the plan, not run: {' '.join(map(str, channels))} at {side}^3, {'; '.join(figures)}."


def convolving() -> str:
    """How much longer PyTorch takes for a tile by its own choice of convolution, as a sentence."""
    layer = nn.Conv3d(32, 32, 3)
    tile = torch.randn(1, 32, 20, 20, 20)
    none, one = (0,) * 3, (1,) * 3
    spent: dict[str, float] = {}
    for name, work in (
        ("chosen", lambda: layer(tile)),
        ("named", lambda: torch.mkldnn_convolution(tile, layer.weight, layer.bias, none, one, one, 1)),
        ("two", lambda: layer(torch.cat([tile, tile]))),
    ):
        work()
        start_s = time.process_time()
        for _ in range(20):
            work()
        spent[name] = time.process_time() - start_s
    return (
        "A convolution of 32 to 32 channels on one tile of 20^3 takes "
        f"{spent['chosen'] / spent['named']:.1f} times as long as PyTorch chooses to do it as by oneDNN, and "
        f"{2 * spent['chosen'] / spent['two']:.1f} times as long as per tile in a batch of two."
    )


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("volume", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    hounsfield = np.asarray(nibabel.load(arguments.volume).dataobj, dtype=np.float32)
    volume = torch.from_numpy(np.clip(hounsfield / 1000, -1, 1))[None, None]
    rows: list[tuple[str, ...]] = []
    for side in arguments.sizes:
        resampled = functional.interpolate(volume, size=(side,) * 3, mode="trilinear")
        for channels in (SMALL, STANDARD) if side <= STANDARD_SIDE else (SMALL,):
            rows += rows_of(channels, resampled)
    note = (
        "One thread, fp32, random weights, one image of one channel. Budgets are a quarter and a tenth of the tensors "
        "alive at the peak of the whole. Resident memory is that of the process, PyTorch and the convolutions' own "
        "workspace included. Tiles and whole have their weights in the layout that is fast on a CPU (channels last); "
        "differences are those from the whole in the other layout, in which PyTorch's group normalisation rounds less. "
        f"{smallest(STANDARD, 256)} {convolving()}"
    )
    header = (
        "size",
        "channels",
        "work",
        "whole, GB",
        "budget, GB",
        "in tiles, GB",
        "resident, GB, whole and tiles",
        "largest difference, tiles",
        "largest difference, whole",
        "time against whole",
    )
    write_results(__file__, header, rows, note)


if __name__ == "__main__":
    main()
