"""Quality and energy of the reversible denoiser beside the standard one, at equal images seen, on real images.

    python benchmarks/reversible_quality.py RUNS SCRATCH [--only chest] [--seeds 5] [--designs]

RUNS holds the run folders ``chest`` and ``hippo`` that ``lichen train`` made of chest-xray-pediatric and
mri-hippocampus with chest-xray.yaml and hippocampus.yaml: their images and autoencoders are used. About an hour on one
core, and half an hour more for ``--designs``, which compares other widths first, on other held-out patients and other
seeds. SCRATCH keeps what is measured of each network, so a repeated command goes on where it was cut off; with
``--only`` no table is written.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from paired_training import Data, images_to, measured, read
from report import write_results
from scipy.stats import t as student
from step_cost import StepCost, flops_of, step_costs, training_step
from torch import nn

from lichen.config import DenoiserConfig, DenoiserKind
from lichen.models import ReversibleUNet
from lichen.models.denoiser import build_denoiser
from lichen.runs import RunFolder
from lichen.seeds import mix_seed
from lichen.training.loop import Recipe

KINDS: tuple[DenoiserKind, ...] = ("standard", "reversible")
SEEDS, DESIGN_SEEDS = (20, 21, 22, 23, 24), (0, 1)


@dataclass(frozen=True)
class Design:
    """Widths of a reversible network as multiples of the standard one's."""

    name: str
    streams: tuple[float, ...]
    hidden: tuple[float, ...]


DESIGNS = (
    Design("hidden widths x 1, 1", (1, 1), (1, 1)),
    Design("hidden widths x 1, 1.25", (1, 1), (1, 1.25)),
    Design("hidden widths x 0.5, 1.25", (1, 1), (0.5, 1.25)),
    Design("streams x 0.5, 1; hidden widths x 1, 1.25", (0.5, 1), (1, 1.25)),
)


@dataclass(frozen=True)
class Task:
    """One kind of images and the training on them."""

    run: str
    title: str
    channels: tuple[int, ...]
    blocks: int
    images: int
    batch_size: int
    learning_rate: float
    draws: int
    """Noise levels at which each held-out image is met."""
    samples: int

    def recipe(self, seed: int, images: int) -> Recipe:
        return Recipe(
            phase="diffusion",
            images=images,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            ema_images=20_000,
            gradient_clip=1.0,
            precision="fp32",
            seed=seed,
            checkpoint_every_s=60.0,
        )

    def build(self, kind: DenoiserKind, data: Data, seed: int) -> nn.Module:
        """An untrained network of one kind, as ``lichen train`` builds it."""
        torch.manual_seed(mix_seed(seed, "weights"))
        config = DenoiserConfig(kind=kind, channels=self.channels, blocks=self.blocks)
        latents = data.latents.values
        return build_denoiser(config, spatial_dims=latents.ndim - 2, latent_channels=latents.shape[1])

    def design(self, design: Design, data: Data, seed: int) -> nn.Module:
        """An untrained reversible network of other widths."""
        torch.manual_seed(mix_seed(seed, "weights"))
        latents = data.latents.values
        return ReversibleUNet(
            spatial_dims=latents.ndim - 2,
            in_channels=latents.shape[1],
            out_channels=latents.shape[1],
            channels=_times(self.channels, design.streams),
            hidden_channels=_times(self.channels, design.hidden),
            num_res_blocks=self.blocks,
            attention_levels=(False,) * (len(self.channels) - 1) + (True,),
            num_head_channels=32,
        )


def _times(channels: Sequence[int], factors: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(width * factor) for width, factor in zip(channels, factors, strict=True))


TASKS = (
    Task(
        run="chest",
        title="chest X-ray 64 x 64, latents (4, 16, 16)",
        channels=(32, 64),
        blocks=2,
        images=5_000,
        batch_size=8,
        learning_rate=2e-3,
        draws=16,
        samples=128,
    ),
    Task(
        run="hippo",
        title="hippocampus 32 x 48 x 32, latents (4, 8, 12, 8)",
        channels=(32, 64),
        blocks=1,
        images=1_200,
        batch_size=4,
        learning_rate=2e-3,
        draws=32,
        samples=32,
    ),
)


@dataclass(frozen=True)
class Pair:
    """What is measured of both kinds for one seed."""

    standard: dict[str, Any]
    reversible: dict[str, Any]

    @property
    def loss_difference(self) -> float:
        """Of the held-out losses, as a share of the standard's."""
        standard, reversible = (statistics.fmean(side["losses"]) for side in (self.standard, self.reversible))
        return reversible / standard - 1

    @property
    def noise(self) -> float:
        """Standard error of ``loss_difference`` from the draws of levels and noise."""
        draws = zip(self.reversible["losses"], self.standard["losses"], strict=True)
        ratios: list[float] = [one / other for one, other in draws]
        return statistics.stdev(ratios) / math.sqrt(len(ratios))

    @property
    def kernel_distances(self) -> tuple[float, float]:
        """Of samples of the standard and of the reversible kind to held-out images."""
        standard, reversible = (side["kernel"]["synthetic"]["value"] for side in (self.standard, self.reversible))
        return standard, reversible

    @property
    def images_ratio(self) -> float:
        """Images that the reversible kind needs over those the standard needs, to the lowest loss that both reach."""
        curves = self.reversible["curve"], self.standard["curve"]
        reached = max(min(loss for _, loss in curve) for curve in curves)
        mine, others = (images_to(reached, curve) for curve in curves)
        return mine / others


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences and the ends of its 95 % interval by Student's t."""
    mean, count = statistics.fmean(differences), len(differences)
    half = float(student.ppf(0.975, count - 1)) * statistics.stdev(differences) / math.sqrt(count)
    return mean, mean - half, mean + half


def compared(
    task: Task, runs: Path, scratch: Path, seeds: int
) -> tuple[list[Pair], dict[str, StepCost], list[str], Data]:
    """What is measured of both kinds on the final part."""
    data = read(RunFolder(runs / task.run), "final")
    folder = scratch / task.run / "final"
    folder.mkdir(parents=True, exist_ok=True)

    def figures(kind: DenoiserKind, seed: int) -> dict[str, Any]:
        network, recipe = task.build(kind, data, seed), task.recipe(seed, task.images)
        own = folder / f"{kind}-{seed}"
        return measured(network, data, recipe, draws=task.draws, samples=task.samples, folder=own)

    pairs = [Pair(*(figures(kind, seed) for kind in KINDS)) for seed in SEEDS[:seeds]]
    networks: dict[str, nn.Module] = {kind: task.build(kind, data, 0) for kind in KINDS}
    costs, sources = step_costs(networks, data.latents.values[: task.batch_size], folder / "energy.jsonl")
    return pairs, costs, sources, data


HEADER = (
    "images",
    "parameters of the standard; ratio",
    "FLOPs of a step, ratio",
    "time of a step, ratio",
    "joules of a step of the standard; ratio",
    "joules to equal loss, ratio",
    "held-out loss of the standard",
    "difference of the reversible: mean (95 % interval)",
    "kernel distance of the standard; of the reversible",
    "difference: mean (95 % interval)",
)


def row(task: Task, pairs: Sequence[Pair], costs: dict[str, StepCost]) -> tuple[str, ...]:
    standard, reversible = (costs[kind] for kind in KINDS)
    joules = reversible.joules / standard.joules
    mean, low, high = interval([pair.loss_difference for pair in pairs])
    distances = [statistics.fmean(column) for column in zip(*(pair.kernel_distances for pair in pairs), strict=True)]
    further, least, most = interval([after - before for before, after in (pair.kernel_distances for pair in pairs)])
    return (
        task.title,
        f"{standard.parameters / 1e6:.2f} M; {reversible.parameters / standard.parameters:.2f}",
        f"{reversible.flops / standard.flops:.2f}",
        f"{reversible.seconds / standard.seconds:.2f}",
        f"{standard.joules:.2f} J; {joules:.2f}",
        f"{statistics.fmean(pair.images_ratio for pair in pairs) * joules:.2f}",
        f"{statistics.fmean(statistics.fmean(pair.standard['losses']) for pair in pairs):.4f}",
        f"{mean:+.1%} ({low:+.1%} to {high:+.1%})",
        f"{distances[0]:.3f}; {distances[1]:.3f}",
        f"{further:+.3f} ({least:+.3f} to {most:+.3f})",
    )


def design_rows(task: Task, runs: Path, scratch: Path) -> list[tuple[str, ...]]:
    """What was tried: the loss difference of each design on the development part, in a third of the training."""
    data = read(RunFolder(runs / task.run), "development")
    folder = scratch / task.run / "development"
    folder.mkdir(parents=True, exist_ok=True)
    batch = data.latents.values[: task.batch_size]

    def look(name: str, build: Callable[[int], nn.Module]) -> tuple[list[float], int, int]:
        losses = [
            statistics.fmean(
                measured(
                    build(seed),
                    data,
                    task.recipe(seed, task.images // 3),
                    draws=task.draws,
                    samples=0,
                    folder=folder / f"{name}-{seed}",
                )["losses"]
            )
            for seed in DESIGN_SEEDS
        ]
        network = build(0)
        return losses, sum(weight.numel() for weight in network.parameters()), flops_of(training_step(network, batch))

    plain, parameters, flops = look("standard", partial(task.build, "standard", data))
    builders: dict[str, Callable[[int], nn.Module]] = {"as lichen builds it": partial(task.build, "reversible", data)}
    builders |= {design.name: partial(task.design, design, data) for design in DESIGNS}
    rows: list[tuple[str, ...]] = []
    for name, build in builders.items():
        losses, its_parameters, its_flops = look(name, build)
        differences = ", ".join(f"{one / other - 1:+.1%}" for one, other in zip(losses, plain, strict=True))
        rows.append((task.title, name, f"{its_parameters / parameters:.2f}", f"{its_flops / flops:.2f}", differences))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--only", choices=[task.run for task in TASKS], help="measure this data set and write no table")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="pairs of networks; what is kept of others stays")
    parser.add_argument("--designs", action="store_true", help="compare other widths as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows, lines, tried = [], [], []
    for task in TASKS:
        if arguments.only not in {None, task.run}:
            continue
        if arguments.designs:
            tried += design_rows(task, arguments.runs, arguments.scratch)
        pairs, costs, sources, data = compared(task, arguments.runs, arguments.scratch, arguments.seeds)
        rows.append(row(task, pairs, costs))
        lines.append(sentence(task, pairs, sources, data))
    if arguments.only is None:
        write_results(__file__, HEADER, rows, "\n".join([NOTE, *lines, *(tried_table(tried) if tried else [])]))


def sentence(task: Task, pairs: Sequence[Pair], sources: Sequence[str], data: Data) -> str:
    """What else is to be said of a data set."""
    differences = ", ".join(f"{pair.loss_difference:+.1%}" for pair in pairs)
    real = pairs[0].standard["kernel"]["real"]
    # without a table of patients, the two hippocampi of a person may be on both sides of the split
    by = (
        "patients"
        if len(set(data.held_out.patients)) < len(data.held_out.names)
        else "images, each a patient of its own"
    )
    held_out = (
        f"{len(data.held_out.names)} held-out images of {len(set(data.held_out.patients))} patients (split by {by})"
    )
    return (
        f"- {task.title}: {task.images} images seen of {len(data.train.names)}, channels "
        f"{' '.join(map(str, task.channels))}, {task.blocks} blocks a level; {held_out}. Differences by seed: "
        f"{differences}; the draws of noise leave {max(pair.noise for pair in pairs):.2%} of standard error. Kernel "
        f"distance of training images: {real['value']:.3f}. Energy: {', '.join(sources)}."
    )


def tried_table(tried: Sequence[tuple[str, ...]]) -> list[str]:
    header = ("images", "design", "parameters, ratio", "FLOPs, ratio", "loss difference by seed")
    cells = [header, ("---",) * len(header), *tried]
    title = "Widths tried, on the development part, in trainings a third as long (the comparison follows below):"
    return ["", title, "", *(f"| {' | '.join(line)} |" for line in cells)]


NOTE = """\
Both kinds see the same training images in the same batches with the same levels of noise and the same noise, seed by
seed, on latents of one autoencoder; the averaged weights are judged by the mean squared error of v on latents of
held-out patients on whom nothing was settled, at levels and with noise that are the same for all. Ratios are reversible
/ standard; intervals are of paired differences over the seeds (Student's t). A step's cost was measured in short turns
within one process, and includes the recomputation in backward; its energy is estimated from CPU time where the source
says so, so that its ratio is that of times. Joules to equal loss: to the lowest loss that both reach in training.
Kernel distance: unipc in 20 calls against held-out images.
"""


if __name__ == "__main__":
    main()
