"""Denoisers trained on equal latents with equal batches and noise, and measured on the latents of held-out patients."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.config import RunConfig
from lichen.diffusion import SAMPLERS, add_noise, denoiser_of, noise_levels, process_of, target
from lichen.images import ImageSet, load_set, open_source, split_by_patient
from lichen.quality import kernel_distance
from lichen.runs import RunFolder
from lichen.seeds import mix_seed
from lichen.settings import load_settings
from lichen.training.autoencoder import Latents, decode_latents, encode_images, encode_set
from lichen.training.denoiser import denoiser_loss
from lichen.training.generator import Diffusion, load_diffusion
from lichen.training.loop import Probing, Recipe, train

Part = Literal["development", "final"]
PARTS: dict[Part, int] = {"development": 0, "final": 1}
"""Remainder of the first byte of a held-out patient's hash."""
MARKS = 16
"""How often in training the loss on held-out patients is looked at."""
CALLS = 20
ENCODED, TOGETHER = 8, 16
"""Images encoded, and latents denoised, in one call."""


@dataclass(frozen=True)
class Data:
    """The latents of the training images and of one part of the held-out patients, with the images of both."""

    train: ImageSet
    held_out: ImageSet
    latents: Latents
    held_out_latents: Tensor
    generator: Diffusion
    """Of the run; its autoencoder is used, its denoiser is not."""


def read(run: RunFolder, part: Part) -> Data:
    """The images of ``run``, split by patient as there, and their latents by its autoencoder."""
    config = load_settings(run.config, RunConfig()).images
    generator = load_diffusion(run.generator, torch.device("cpu"))
    size = generator.spec.image_shape[1:]
    learned, others = split_by_patient(open_source(config), config.held_out_fraction, config.split_seed)
    chosen = [item for item in others if hashlib.sha256(item.patient.encode()).digest()[0] % 2 == PARTS[part]]
    train_set, held_out = load_set(learned, size), load_set(chosen, size)
    latents = encode_set(generator.autoencoder, train_set.voxels, ENCODED)
    encoded = [
        encode_images(generator.autoencoder, batch, latents.shift, latents.scale)
        for batch in held_out.voxels.split(ENCODED)
    ]
    return Data(train_set, held_out, latents, torch.cat(encoded), generator)


def measured(
    network: nn.Module, data: Data, recipe: Recipe, *, draws: int, samples: int, folder: Path
) -> dict[str, Any]:
    """What is measured of ``network`` after training, kept in ``folder`` or found by training it.

    ``losses`` are those of ``held_out_losses``; ``curve`` has (images seen, loss) of the averaged network in training;
    ``kernel`` is the kernel distance of ``samples`` images, none asked for: None.
    """
    path = folder / "measured.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        curve_file, state = folder / "curve.jsonl", folder / "state.safetensors"
        average = trained(network, data, recipe, max(1, draws // MARKS), state, curve_file)
        losses = held_out_losses(average, data.held_out_latents, draws)
        curve = dict(json.loads(line) for line in curve_file.read_text(encoding="utf-8").splitlines())
        found = {"losses": losses, "curve": sorted(curve.items()), "kernel": None}
        if samples:
            distance = kernel_distance(sampled(average, data, samples, recipe.seed), data.held_out, data.train)
            found["kernel"] = distance.as_json()
        path.write_text(json.dumps(found), encoding="utf-8")
        print(folder.name, f"held-out loss {statistics.fmean(losses):.5f}", flush=True)
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def trained(
    network: nn.Module, data: Data, recipe: Recipe, draws: int, state_path: Path, curve_file: Path
) -> nn.Module:
    """The averaged network; its held-out loss is added to ``curve_file`` at every mark."""

    def look(images_seen: int, average: nn.Module) -> bool:
        loss = statistics.fmean(held_out_losses(average, data.held_out_latents, draws))
        with curve_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([images_seen, loss]) + "\n")
        return False

    return train(
        network,
        data.latents.values,
        denoiser_loss("v", torch.device("cpu")),
        recipe,
        state_path=state_path,
        log=lambda _: None,
        probing=Probing(look, every=recipe.images // MARKS, stops=False),
    )


@torch.inference_mode()
def held_out_losses(network: nn.Module, latents: Tensor, draws: int) -> list[float]:
    """Mean squared error of v over latents (N, L, *s), once for each draw of levels and noise.

    Levels are stratified over the N images, and draw k is the same for every network.
    """
    schedule, count, losses = process_of("v").levels, len(latents), []
    for number in range(draws):
        generator = torch.Generator().manual_seed(mix_seed("held out", number))
        strata = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
        timesteps = (strata * len(schedule) / count).long().clamp_max(len(schedule) - 1)
        noise = torch.randn(latents.shape, generator=generator)
        total = 0.0
        for rows in torch.arange(count).split(TOGETHER):
            level = schedule[timesteps[rows]]
            output = network(add_noise(latents[rows], noise[rows], level), timesteps[rows])
            wanted = target("v", latents[rows], noise[rows], level)
            total += functional.mse_loss(output, wanted).item() * len(rows)
        losses.append(total / count)
    return losses


@torch.inference_mode()
def sampled(network: nn.Module, data: Data, count: int, seed: int) -> ImageSet:
    """``count`` images by unipc in 20 calls, from the same noise for every network of a seed."""
    sigmas = noise_levels("lu", CALLS, process_of("v"))
    denoise = denoiser_of(network, "v")
    noise = torch.randn(
        (count, *data.latents.values.shape[1:]), generator=torch.Generator().manual_seed(mix_seed(seed, "samples"))
    )
    latents = [SAMPLERS["unipc"](denoise, start * float(sigmas[0]), sigmas) for start in noise.split(TOGETHER)]
    decoder, shift, scale = data.generator.autoencoder, data.latents.shift, data.latents.scale
    voxels = torch.cat([decode_latents(decoder, part, shift, scale) for part in latents])
    names = tuple(f"sample {number}" for number in range(count))
    return ImageSet(voxels, names, names, data.train.affine)


def images_to(loss: float, curve: Sequence[tuple[int, float]]) -> float:
    """After how many images ``curve`` first is as low as ``loss``, interpolated; inf where it never is."""
    before, higher = 0, float("inf")
    for images, value in curve:
        if value <= loss:
            share = (higher - loss) / (higher - value) if higher < float("inf") else 1.0
            return before + share * (images - before)
        before, higher = images, value
    return float("inf")
