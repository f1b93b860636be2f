"""Quality and energy of the reversible denoiser beside the standard one, at equal images seen, on real images.

    python benchmarks/reversible_quality.py SHARED_DATA RUNS SCRATCH [--only chest] [--seeds 20 21 22 23 24]

Needs chest-xray-pediatric and mri-hippocampus, and in RUNS the folders ``chest`` and ``hippo`` that ``lichen train``
made of them with chest-xray.yaml and hippocampus.yaml: their autoencoders are used. About an hour on one idle core.
SCRATCH keeps the trained networks and their figures, so a repeated command goes on where it was cut off, and the table
is written once both data sets are done.

Both kinds see the same batches, levels and noise. Held-out patients whose hash is odd are the final part: nothing was
settled on them.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from report import write_results
from scipy.stats import t as student
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lichen.config import DenoiserConfig, DenoiserKind, RunConfig
from lichen.diffusion import SAMPLERS, add_noise, make_alphas_cumprod, noise_levels, target, vp_denoiser
from lichen.energy import Trace, find_meters, read_traces
from lichen.images import ImageSet, load_set, open_source, split_by_patient
from lichen.models.denoiser import build_denoiser
from lichen.quality import kernel_distance
from lichen.seeds import mix_seed
from lichen.settings import load_settings
from lichen.training.autoencoder import Latents, decode_latents, encode_images, encode_set
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.ema import ema_decay, update_ema
from lichen.training.generator import load_generator
from lichen.training.loop import Probing, Recipe, train

KINDS: tuple[DenoiserKind, ...] = ("standard", "reversible")
PART = {"development": 0, "final": 1}
"""Remainder of the first byte of a held-out patient's hash."""
MARKS = 16
"""How often in training the loss on held-out patients is looked at."""
CALLS = 20
BURSTS, BURST_STEPS = 12, 8
"""Turns of each kind in which energy is measured, and steps in each."""


@dataclass(frozen=True)
class Task:
    """One kind of images and the training on them."""

    run: str
    title: str
    folder: str
    settings: str
    channels: tuple[int, ...]
    blocks: int
    images: int
    batch_size: int
    learning_rate: float
    draws: int
    """Noise levels at which the final loss meets each held-out image."""
    samples: int

    def denoiser(self, kind: DenoiserKind) -> DenoiserConfig:
        return DenoiserConfig(kind=kind, channels=self.channels, blocks=self.blocks)

    def recipe(self, seed: int) -> Recipe:
        return Recipe(
            phase="diffusion",
            images=self.images,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            ema_images=20_000,
            gradient_clip=1.0,
            precision="fp32",
            seed=seed,
            checkpoint_every_s=60.0,
        )


TASKS = (
    Task(
        run="chest",
        title="chest X-ray 64 x 64, latents (4, 16, 16)",
        folder="chest-xray-pediatric",
        settings="chest-xray.yaml",
        channels=(32, 64),
        blocks=2,
        images=12_000,
        batch_size=8,
        learning_rate=1e-3,
        draws=16,
        samples=128,
    ),
    Task(
        run="hippo",
        title="hippocampus 32 x 48 x 32, latents (4, 8, 12, 8)",
        folder="mri-hippocampus/images",
        settings="hippocampus.yaml",
        channels=(32, 64),
        blocks=1,
        images=4_000,
        batch_size=4,
        learning_rate=1e-3,
        draws=64,
        samples=64,
    ),
)


@dataclass(frozen=True)
class Data:
    """Latents of the training images and of one part of the held-out patients, with the images of both."""

    train: ImageSet
    held_out: ImageSet
    latents: Latents
    held_out_latents: Tensor
    autoencoder: nn.Module


def read(task: Task, shared: Path, run: Path, part: str) -> Data:
    """The images, split by patient as in ``run``, and their latents by its autoencoder."""
    config = load_settings(Path(__file__).with_name(task.settings), RunConfig()).images
    config = dataclasses.replace(config, path=shared / task.folder, patient_column=PATIENT[task.run])
    assert config.size is not None
    learned, held_out = split_by_patient(open_source(config), config.held_out_fraction, config.split_seed)
    chosen = [item for item in held_out if hashlib.sha256(item.patient.encode()).digest()[0] % 2 == PART[part]]
    sets = load_set(learned, config.size), load_set(chosen, config.size)
    autoencoder = load_generator(run / "checkpoints" / "generator.safetensors", torch.device("cpu")).autoencoder
    latents = encode_set(autoencoder, sets[0].voxels, 8)
    parts = [encode_images(autoencoder, batch, latents.shift, latents.scale) for batch in sets[1].voxels.split(8)]
    return Data(*sets, latents, torch.cat(parts), autoencoder)


PATIENT = {"chest": "group", "hippo": None}
"""The column that names the patient, where it is none of the usual ones."""


def held_out_losses(network: nn.Module, latents: Tensor, draws: int) -> list[float]:
    """Mean squared error of v over latents (N, L, *s), once for each draw of levels and noise.

    Levels are stratified over the N images, and draw k is the same for every network.
    """
    schedule = make_alphas_cumprod()
    losses = []
    for number in range(draws):
        generator = torch.Generator().manual_seed(mix_seed("held out", number))
        strata = (
            torch.randperm(len(latents), generator=generator) + torch.rand(len(latents), generator=generator)
        ) / len(latents)
        timesteps = (strata * len(schedule)).long()
        noise = torch.randn(latents.shape, generator=generator)
        total = 0.0
        with torch.inference_mode():
            for rows in torch.arange(len(latents)).split(16):
                level = schedule[timesteps[rows]]
                output = network(add_noise(latents[rows], noise[rows], level), timesteps[rows])
                wanted = target("v", latents[rows], noise[rows], level)
                total += functional.mse_loss(output, wanted).item() * len(rows)
        losses.append(total / len(latents))
    return losses


def build(task: Task, kind: DenoiserKind, data: Data, seed: int) -> nn.Module:
    torch.manual_seed(mix_seed(seed, "weights"))
    latents = data.latents.values
    return build_denoiser(task.denoiser(kind), spatial_dims=latents.ndim - 2, latent_channels=latents.shape[1])


def trained(
    task: Task, network: nn.Module, data: Data, seed: int, stem: Path
) -> tuple[nn.Module, list[tuple[int, float]]]:
    """The averaged network and its (images seen, held-out loss), kept under ``stem``."""
    curve_file = stem.with_suffix(".curve.jsonl")

    def look(images_seen: int, average: nn.Module) -> bool:
        loss = statistics.fmean(held_out_losses(average, data.held_out_latents, max(1, task.draws // 8)))
        with curve_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([images_seen, loss]) + "\n")
        return False

    probing = Probing(look, every=task.images // MARKS, stops=False)
    loss = denoiser_loss("v", make_alphas_cumprod())
    average = train(
        network,
        data.latents.values,
        loss,
        task.recipe(seed),
        state_path=stem.with_suffix(".safetensors"),
        log=lambda _: None,
        probing=probing,
    )
    points = dict(json.loads(line) for line in curve_file.read_text(encoding="utf-8").splitlines())
    return average, sorted(points.items())


@torch.inference_mode()
def samples(task: Task, network: nn.Module, data: Data, seed: int) -> ImageSet:
    """Images by unipc in 20 calls; the same starting noise for every network of a seed."""
    schedule = make_alphas_cumprod()
    sigmas = noise_levels("lu", CALLS, schedule)
    denoise = vp_denoiser(network, schedule, "v")
    generator = torch.Generator().manual_seed(mix_seed(seed, "samples"))
    noise = torch.randn((task.samples, *data.latents.values.shape[1:]), generator=generator)
    parts = [
        decode_latents(
            data.autoencoder,
            SAMPLERS["unipc"](denoise, start * float(sigmas[0]), sigmas),
            data.latents.shift,
            data.latents.scale,
        )
        for start in noise.split(16)
    ]
    names = tuple(f"sample {number}" for number in range(task.samples))
    return ImageSet(torch.cat(parts), names, names, data.train.affine)


def figures_of(task: Task, kind: DenoiserKind, seed: int, data: Data, scratch: Path) -> dict[str, Any]:
    """What is measured of one trained network, from ``scratch`` or by training it."""
    stem = scratch / f"{kind}-{seed}"
    path = stem.with_suffix(".json")
    if not path.exists():
        network, curve = trained(task, build(task, kind, data, seed), data, seed, stem)
        losses = held_out_losses(network, data.held_out_latents, task.draws)
        distance = kernel_distance(samples(task, network, data, seed), data.held_out, data.train)
        found = {"curve": curve, "losses": losses, "kernel": distance.as_json()}
        path.write_text(json.dumps(found), encoding="utf-8")
        print(task.run, kind, seed, f"{statistics.fmean(losses):.5f}", f"{distance.synthetic.value:.4f}", flush=True)
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def training_step(task: Task, network: nn.Module, data: Data) -> Callable[[], None]:
    """A step of training as the loop takes it, on the first batch."""
    average = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=1e-4, fused=True)
    loss_of = denoiser_loss("v", make_alphas_cumprod())
    size = task.batch_size
    draws = Draws(torch.Generator().manual_seed(0), size, slice(0, size))

    def step() -> None:
        loss = loss_of(network.train(), data.latents.values[:size], draws)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        update_ema(average, network, ema_decay(task.images, size, 20_000))

    return step


def cost(task: Task, data: Data, scratch: Path) -> dict[str, Any]:
    """Parameters, FLOPs, seconds and joules of a training step of each kind, in short turns within one process."""
    path = scratch / "cost.json"
    if not path.exists():
        networks = {kind: build(task, kind, data, 0) for kind in KINDS}
        steps = {kind: training_step(task, network, data) for kind, network in networks.items()}
        found: dict[str, Any] = {kind: {"parameters": parameters(network)} for kind, network in networks.items()}
        for kind, step in steps.items():
            with Flops() as counter:
                step()
            found[kind]["flops"] = counter.total
        trace_file = scratch / "energy.jsonl"
        trace_file.unlink(missing_ok=True)
        with Trace(trace_file, find_meters()) as trace:
            for _ in range(BURSTS):
                for kind, step in steps.items():
                    with trace.phase(kind):
                        for _ in range(BURST_STEPS):
                            step()
        for phase in read_traces([trace_file]):
            if phase.phase in steps and phase.total.energy_j is not None:
                counts = BURSTS * BURST_STEPS
                found[phase.phase] |= {"joules": phase.total.energy_j / counts, "seconds": phase.duration_s / counts}
                found["source"] = sorted({part.source for part in phase.components})
        path.write_text(json.dumps(found), encoding="utf-8")
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


class Flops(TorchDispatchMode):
    """Adds up the FLOPs of all operators; torch's own counter watches modules too, and trips over a nested backward."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=out) if count else 0
        return out


def parameters(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def images_to(loss: float, curve: Sequence[tuple[int, float]]) -> float:
    """After how many images ``curve`` first is as low as ``loss``, interpolated; inf where it never is."""
    before, higher = 0, float("inf")
    for images, value in curve:
        if value <= loss:
            share = (higher - loss) / (higher - value) if higher < float("inf") else 1.0
            return before + share * (images - before)
        before, higher = images, value
    return float("inf")


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean of paired differences and the ends of its 95 % interval by Student's t."""
    mean = statistics.fmean(differences)
    half = float(student.ppf(0.975, len(differences) - 1)) * statistics.stdev(differences) / len(differences) ** 0.5
    return mean, mean - half, mean + half


def percent(differences: Sequence[float]) -> str:
    mean, low, high = interval(differences)
    return f"{mean:+.1%} ({low:+.1%} to {high:+.1%})"


@dataclass(frozen=True)
class Pair:
    """The figures of both kinds for one seed."""

    standard: dict[str, Any]
    reversible: dict[str, Any]

    @property
    def loss_difference(self) -> float:
        """Of the reversible kind's held-out loss from the standard's, as a share of the standard's."""
        return statistics.fmean(self.reversible["losses"]) / statistics.fmean(self.standard["losses"]) - 1

    @property
    def noise(self) -> float:
        """Standard error of ``loss_difference`` from the draws of levels and noise."""
        losses = zip(self.reversible["losses"], self.standard["losses"], strict=True)
        ratios = [one / other for one, other in losses]
        return statistics.stdev(ratios) / len(ratios) ** 0.5

    @property
    def kernel_difference(self) -> float:
        """Of the kernel distances to held-out images, reversible minus standard."""
        return float(self.reversible["kernel"]["synthetic"]["value"] - self.standard["kernel"]["synthetic"]["value"])

    @property
    def images_ratio(self) -> float:
        """Images that the reversible kind needs over those the standard needs, to the lowest loss that both reach."""
        curves = self.reversible["curve"], self.standard["curve"]
        reached = max(min(loss for _, loss in curve) for curve in curves)
        mine, others = (images_to(reached, curve) for curve in curves)
        return mine / others


def row(task: Task, pairs: Sequence[Pair], costs: dict[str, Any]) -> tuple[str, ...]:
    ratio = {key: costs["reversible"][key] / costs["standard"][key] for key in costs["standard"]}
    kernel, low, high = interval([pair.kernel_difference for pair in pairs])
    distances = [[side["kernel"]["synthetic"]["value"] for side in (p.standard, p.reversible)] for p in pairs]
    standard, reversible = (statistics.fmean(column) for column in zip(*distances, strict=True))
    return (
        task.title,
        f"{costs['standard']['parameters'] / 1e6:.2f} M, {ratio['parameters']:.2f}",
        f"{ratio['flops']:.2f}",
        f"{ratio['seconds']:.2f}",
        f"{costs['standard']['joules']:.2f}, {ratio['joules']:.2f}",
        f"{statistics.fmean(statistics.fmean(pair.standard['losses']) for pair in pairs):.4f}",
        percent([pair.loss_difference for pair in pairs]),
        f"{standard:.4f}, {reversible:.4f}; {kernel:+.4f} ({low:+.4f} to {high:+.4f})",
        f"{statistics.fmean(pair.images_ratio for pair in pairs) * ratio['joules']:.2f}",
    )


HEADER = (
    "images",
    "parameters of the standard, ratio",
    "FLOPs of a step, ratio",
    "time of a step, ratio",
    "joules of a step of the standard, ratio",
    "held-out loss of the standard",
    "difference of the reversible",
    "kernel distance of standard and reversible; difference",
    "joules to equal loss, ratio",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("shared", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--only", choices=[task.run for task in TASKS], help="do this data set and write no table")
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22, 23, 24])
    parser.add_argument("--part", choices=list(PART), default="final")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for task in TASKS:
        if arguments.only not in (None, task.run):
            continue
        scratch = arguments.scratch / f"{task.run}-{arguments.part}"
        scratch.mkdir(parents=True, exist_ok=True)
        data = read(task, arguments.shared, arguments.runs / task.run, arguments.part)
        figures = [{kind: figures_of(task, kind, seed, data, scratch) for kind in KINDS} for seed in arguments.seeds]
        pairs = [Pair(**both) for both in figures]
        rows.append(row(task, pairs, cost(task, data, scratch)))
        print(rows[-1], flush=True)
    if arguments.only is None:
        write_results(__file__, HEADER, rows, NOTE)


NOTE = ""


if __name__ == "__main__":
    main()
