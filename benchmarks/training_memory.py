"""The memory of a training step: estimate against measurement, each measure's saving, and how it grows with size.

A denoiser of volumes, batch 1, AdamW, no moving average, on the voxels themselves. Estimates are on fake tensors and
measurements on real ones: lifetimes of storages on a CPU, ``torch.cuda.max_memory_allocated`` on a GPU.

    python benchmarks/training_memory.py [--threads 1]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
from report import write_results
from torch import Tensor, nn
from torch.nn import functional

from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.memory import TrainingMemory, estimate_training_memory, measure_training_memory
from lichen.memory.training import Precision
from lichen.models.autoencoder import build_autoencoder, decode, encode
from lichen.models.denoiser import build_denoiser

MODEL = DenoiserConfig(channels=(32, 64, 128), blocks=2, attention_levels=1, head_channels=32)
"""10.3 million parameters in 3D; the reversible network has as many within 3 %."""
UNFUSED = "MONAI's default attention"
STANDARD = "SDPA"
CHECKPOINTED = "block checkpointing + bf16"
REVERSIBLE = "reversible"
WAYS: dict[str, tuple[Precision, DenoiserConfig]] = {
    UNFUSED: ("fp32", MODEL),
    STANDARD: ("fp32", MODEL),
    "SDPA + bf16": ("bf16", MODEL),
    CHECKPOINTED: ("bf16", replace(MODEL, checkpointing=True)),
    REVERSIBLE: ("fp32", replace(MODEL, kind="reversible")),
    "reversible + bf16": ("bf16", replace(MODEL, kind="reversible")),
}
BUDGETS_GB = (16, 24, 80)
ABOUT = """\
A 3D denoiser of 32, 64 and 128 channels, two blocks per level, attention at the bottom, on one channel of voxels; the
reversible network has the same number of parameters within 3 %. One training step: weights, gradients, AdamW's moments,
activations; no moving average. Activations are the most that all else takes at one time; the peak is less than the sum,
since gradients come while activations go. bf16 shows what a step keeps, not how fast a machine takes it.
"""
DIMENSIONALITY = """\
What a reversible network keeps is "independent of dimensionality" (arXiv 2504.10883) only in the sense of the table
before: it hardly grows with depth. With the number of voxels it grows as every network's does, in proportion, since the
state of one level and what one block computes must be held; what changes is the bytes per voxel.
"""
MEASURED = (
    "Peaks of one real step on the CPU, by storage lifetimes. bf16 cases are small, since a CPU takes minutes over "
    "larger ones: at 8^3 most of the peak is weights, so those in 2D and of the autoencoder say more."
)
Loss = Callable[[nn.Module, Tensor], Tensor]


def denoiser(way: str, blocks: int = 2) -> Callable[[], nn.Module]:
    config = replace(WAYS[way][1], blocks=blocks)

    def build() -> nn.Module:
        network = build_denoiser(config, spatial_dims=3, latent_channels=1)
        for module in network.modules():
            if way == UNFUSED and hasattr(module, "use_flash_attention"):
                setattr(module, "use_flash_attention", False)  # noqa: B010 (unknown to the type checker)
        return network

    return build


def denoising(network: nn.Module, batch: Tensor) -> Tensor:
    timesteps = torch.zeros(len(batch), dtype=torch.int64, device=batch.device)
    return functional.mse_loss(network(batch, timesteps).float(), batch)


def restoring(network: nn.Module, batch: Tensor) -> Tensor:
    mean, std = encode(network, batch)
    return functional.l1_loss(decode(network, mean + std).float(), batch)


def cube(side: int, device: str = "cpu") -> Callable[[], Tensor]:
    return lambda: torch.randn(1, 1, side, side, side, device=device)


@cache
def estimate(way: str, side: int, blocks: int = 2) -> TrainingMemory:
    return estimate_training_memory(denoiser(way, blocks), cube(side), denoising, precision=WAYS[way][0])


def agreement() -> list[list[str]]:
    """(a) estimate and measurement, on the CPU: each way at 32^3, and nets, sizes and depths beside them."""
    small = replace(MODEL, channels=(16, 32), head_channels=16)
    cases: list[tuple[str, Callable[[], nn.Module], Callable[[], Tensor], Loss, Precision]] = []
    for way, (precision, _) in WAYS.items():
        side = 32 if precision == "fp32" else 8  # without the instructions for it, a CPU takes minutes over bf16
        cases.append((f"{way}, {side}^3", denoiser(way), cube(side), denoising, precision))
        if precision == "fp32":
            cases.append((f"{way}, 16^3, four blocks", denoiser(way, 4), cube(16), denoising, precision))
    for precision in ("fp32", "bf16"):
        for config in (small, replace(small, checkpointing=True), replace(small, kind="reversible")):
            kind = "checkpointed" if config.checkpointing else config.kind
            build = _planar(config)
            cases.append((f"2D, 32^2, batch 4, {kind}, {precision}", build, _pictures, denoising, precision))
        for on in (False, True):
            name = f"autoencoder, 16^3, {'checkpointed, ' if on else ''}{precision}"
            cases.append((name, _autoencoder(on), cube(16), restoring, precision))
    rows = []
    for name, build, batch, loss, precision in cases:
        expected = estimate_training_memory(build, batch, loss, precision=precision)
        came = measure_training_memory(build(), batch, loss, precision=precision)
        error = expected.peak_bytes / came.peak_bytes - 1
        rows.append([name, megabytes(expected.peak_bytes), megabytes(came.peak_bytes), f"{error:+.2%}"])
    return rows


def _planar(config: DenoiserConfig) -> Callable[[], nn.Module]:
    return lambda: build_denoiser(config, spatial_dims=2, latent_channels=1)


def _pictures() -> Tensor:
    return torch.randn(4, 1, 32, 32)


def _autoencoder(checkpointing: bool) -> Callable[[], nn.Module]:
    config = AutoencoderConfig(channels=(16, 32, 32), checkpointing=checkpointing)
    return lambda: build_autoencoder(config, spatial_dims=3, image_channels=1)


def parts(side: int) -> list[list[str]]:
    """(b) what each way takes at one size, by part, against the standard network."""
    standard, checkpointed = estimate(STANDARD, side), estimate(CHECKPOINTED, side)
    rows = []
    for way in WAYS:
        if way == UNFUSED and side > 64:
            continue
        found = estimate(way, side)
        sizes = (found.weights_bytes, found.gradients_bytes, found.optimizer_bytes, found.activations_bytes)
        rows.append(
            [
                way,
                *map(megabytes, sizes),
                megabytes(found.peak_bytes),
                f"{found.peak_bytes / standard.peak_bytes - 1:+.0%}",
                f"{found.activations_bytes / checkpointed.activations_bytes - 1:+.0%}",
                f"{found.flops / standard.flops:.2f}",
                on_gpu(way, side),
            ]
        )
    return rows


def on_gpu(way: str, side: int) -> str:
    """The peak that PyTorch counts on a GPU."""
    if not torch.cuda.is_available():
        return "not measured: no GPU"
    network = denoiser(way)().to("cuda")
    try:
        found = measure_training_memory(network, cube(side, "cuda"), denoising, precision=WAYS[way][0])
    except torch.OutOfMemoryError:
        return "does not fit"
    finally:
        del network
        torch.cuda.empty_cache()
    return megabytes(found.peak_bytes)


def depth(side: int = 64) -> list[list[str]]:
    """MB for each further block per level, from two blocks to four."""
    slopes = {
        way: (estimate(way, side, 4).activations_bytes - estimate(way, side).activations_bytes) / 2
        for way in WAYS
        if way != UNFUSED
    }
    return [[way, megabytes(slope), f"{slope / slopes[STANDARD]:.1%}"] for way, slope in slopes.items()]


def growth(sides: tuple[int, ...] = (32, 64, 128, 256)) -> list[list[str]]:
    """Activations by size, and the exponent e of voxels^e that fits them."""
    rows = []
    for way in WAYS:
        if way == UNFUSED:
            continue
        sizes = [estimate(way, side).activations_bytes for side in sides]
        rows.append([way, *map(megabytes, sizes), f"{exponent(sides, sizes):.2f}", f"{sizes[-1] / sides[-1] ** 3:.0f}"])
    return rows


def exponent(sides: tuple[int, ...], sizes: list[int]) -> float:
    """The least-squares slope of log size over log voxels."""
    x = [3 * math.log(side) for side in sides]
    y = [math.log(size) for size in sizes]
    middle_x, middle_y = sum(x) / len(x), sum(y) / len(y)
    rise = sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True))
    return rise / sum((a - middle_x) ** 2 for a in x)


def largest() -> list[list[str]]:
    """The largest cube, in steps of 16 voxels, whose training fits; the estimate at that size is in brackets."""
    rows = []
    for way in WAYS:
        if way == UNFUSED:
            continue
        peaks = {side: estimate(way, side).peak_bytes for side in (128, 256)}
        slope = (peaks[256] - peaks[128]) / (256**3 - 128**3)
        cells = []
        for budget_gb in BUDGETS_GB:
            voxels = (budget_gb * 1e9 - peaks[128]) / slope + 128**3
            side = 16 * int(voxels ** (1 / 3) / 16)
            while estimate(way, side).peak_bytes > budget_gb * 1e9:
                side -= 16
            cells.append(f"{side}^3 ({estimate(way, side).peak_bytes / 1e9:.1f} GB)")
        rows.append([way, *cells, _largest_on_gpu()])
    return rows


def _largest_on_gpu() -> str:
    return "see the sizes above" if torch.cuda.is_available() else "not measured: no GPU"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.0f}" if count >= 1e7 else f"{count / 1e6:.1f}"


def table(title: str, header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join([f"## {title}", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    by_part = ["MB, batch 1", "weights", "gradients", "Adam", "activations", "peak", "peak against SDPA"]
    by_part += ["activations against checkpointing + bf16", "FLOPs against SDPA", "peak on the GPU"]
    agreed = agreement()
    worst = max(agreed, key=lambda row: abs(float(row[-1].rstrip("%"))))
    note = "\n".join(
        [
            ABOUT,
            "",
            table("64^3, by estimate", by_part, parts(64)),
            table("128^3, by estimate", by_part, parts(128)),
            table("Each further block per level, 64^3", ["by", "MB", "against SDPA"], depth()),
            table(
                "Activations by size, MB",
                ["by", "32^3", "64^3", "128^3", "256^3", "exponent of voxels", "bytes per voxel at 256^3"],
                growth(),
            ),
            DIMENSIONALITY,
            "",
            table(
                "Largest volume, by estimate",
                ["by", *(f"{budget} GB" for budget in BUDGETS_GB), "trained on a GPU"],
                largest(),
            ),
            "## Estimate against measurement",
            "",
            f"{MEASURED} The largest error is {worst[-1]} ({worst[0]}); the aim is 10 %.",
        ]
    )
    write_results(__file__, ("case", "estimate, MB", "measured, MB", "error of the estimate"), agreed, note)


if __name__ == "__main__":
    main()
