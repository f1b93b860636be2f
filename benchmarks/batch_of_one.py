"""What one image in a batch costs on a CPU, beside two: forward and backward of a convolution, per image.

Each shape is timed in turns, batches of one and of two, in one run; the ratio is of the medians. Which of PyTorch's
convolutions was taken is read off its profiler. One thread.

    python benchmarks/batch_of_one.py
"""

from __future__ import annotations

import time

import numpy as np
import torch
from report import write_results
from torch import nn
from torch.profiler import ProfilerActivity, profile

TURNS = 15
SHAPES = ((2, 16, 64), (2, 32, 64), (3, 8, 16), (3, 8, 32), (3, 16, 16), (3, 32, 16), (3, 32, 32))
"""Dimensions, channels, side of the image."""


def step_of(dimensions: int, channels: int, side: int, batch: int) -> tuple[nn.Module, torch.Tensor]:
    """A convolution of 3 voxels a side, and an input (N, C, *S)."""
    kind = nn.Conv2d if dimensions == 2 else nn.Conv3d
    x = torch.randn(batch, channels, *[side] * dimensions, requires_grad=True)
    return kind(channels, channels, 3, padding=1), x


def timed(network: nn.Module, x: torch.Tensor) -> float:
    """Seconds of a forward and backward pass, per image."""
    begun = time.perf_counter()
    network(x).sum().backward()
    return (time.perf_counter() - begun) / len(x)


def taken(network: nn.Module, x: torch.Tensor) -> str:
    """The convolution that PyTorch takes."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        network(x)
    names = {event.key for event in seen.key_averages()}
    return "slow_conv3d" if any("slow_conv" in name for name in names) else "oneDNN"


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    for dimensions, channels, side in SHAPES:
        pairs = [step_of(dimensions, channels, side, batch) for batch in (1, 2)]
        kernels = [taken(*pair) for pair in pairs]
        seconds = np.array([[timed(*pair) for pair in pairs] for _ in range(TURNS)])
        one, two = np.median(seconds, axis=0)
        shape = f"{channels} channels, " + " x ".join([str(side)] * dimensions)
        rows.append((shape, kernels[0], kernels[1], f"{1e3 * one:.2f} ms", f"{1e3 * two:.2f} ms", f"{one / two:.2f}"))
    header = ("a convolution of", "batch of one", "batch of two", "an image: of one", "of two", "ratio")
    write_results(__file__, header, rows, f"Medians of {TURNS} turns; forward and backward; one thread.")


if __name__ == "__main__":
    main()
