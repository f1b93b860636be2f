"""From images to a generator, resumed where it stopped: autoencoder, latents, denoiser, or the two of a StyleGAN2."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from lichen.chain.adversarial import train_stylegan2
from lichen.chain.augmenting import loss_of_autoencoder, loss_of_denoiser
from lichen.chain.data import Data, bind_images
from lichen.chain.probing import Probes, make_probes
from lichen.chain.watched import recipe_for, watched
from lichen.config import RunConfig
from lichen.images import Source
from lichen.models.tiling import within
from lichen.runs import RunFolder
from lichen.seeds import mix_seed
from lichen.training.autoencoder import encode_set, normalised
from lichen.training.generator import Diffusion, Generator, load_generator, save_diffusion
from lichen.training.loop import Loss, train
from lichen.training.specs import DiffusionSpec, GeneratorSpec, StyleGAN2Spec
from lichen.watch import Watch


def train_generator(config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch) -> Generator:
    """The finished generator of the run folder; trained first if it is not there yet."""
    team = watch.team
    if team.leads:
        bind_images(folder, data.train)
    if team.any(not folder.generator.exists()):
        spec = spec_of(config, tuple(data.train.voxels.shape[1:]), data.train.affine, data.source, data.train.classes)
        torch.manual_seed(mix_seed(config.training.seed, "weights"))
        if isinstance(spec, StyleGAN2Spec):
            train_stylegan2(spec, config, data, folder, device, watch)
        else:
            train_diffusion(spec, config, data, folder, device, watch)
        team.wait()
    return load_generator(folder.generator, device, config.memory.budget_bytes)


def spec_of(
    config: RunConfig,
    image_shape: tuple[int, ...],
    affine: NDArray[np.float64],
    source: Source,
    classes: tuple[int, ...] = (),
) -> GeneratorSpec:
    """What kind of generator the settings make of images (C, *S) from ``source``; ``classes`` of their label maps."""
    rows = tuple(tuple(float(x) for x in row) for row in affine)
    is_phantom, window = source.is_phantom, config.images.window or ()
    if config.model.kind == "stylegan2":
        return StyleGAN2Spec(image_shape, rows, config.stylegan2, is_phantom=is_phantom, window=window, classes=classes)
    networks = config.autoencoder, config.denoiser, config.training.objective
    return DiffusionSpec(image_shape, rows, *networks, is_phantom=is_phantom, window=window, classes=classes)


def train_diffusion(
    spec: DiffusionSpec, config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch
) -> None:
    """Train autoencoder and denoiser, and keep both in the run folder."""
    autoencoder, denoiser = (network.to(device) for network in spec.build())
    if config.autoencoder.kind == "none":
        coder, latents = autoencoder, normalised(data.train.voxels)
    else:
        loss = loss_of_autoencoder(spec, config)
        autoencoder = train_autoencoder(autoencoder, config, data.train.voxels, loss, folder, watch)
        coder = within(autoencoder, config.memory.budget_bytes)
        with watch.phase("encode", len(data.train.voxels)) as step:
            batch_size = config.autoencoder.batch_size
            latents = encode_set(coder, data.train.voxels, batch_size, step=step, team=watch.team)

    def made(average: torch.nn.Module) -> Diffusion:
        return Diffusion(spec, coder, average, latents.shift, latents.scale, sha256="")

    looks = make_probes(config, data, made, None if config.autoencoder.kind == "none" else coder, watch)
    loss = loss_of_denoiser(spec, config, device, coder, latents.shift, latents.scale)
    examples = latents.values if config.training.augmentation == "none" else data.train.voxels
    denoiser = train_denoiser(denoiser, config, examples, loss, folder, watch, looks)
    if watch.team.leads:
        save_diffusion(folder.generator, spec, autoencoder, denoiser, latents.shift, latents.scale)


def train_autoencoder(
    network: torch.nn.Module, config: RunConfig, images: torch.Tensor, loss: Loss, folder: RunFolder, watch: Watch
) -> torch.nn.Module:
    """The averaged autoencoder, trained on images (N, C, *S)."""
    recipe = recipe_for("autoencoder", config.autoencoder, config.training)
    return watched(
        recipe,
        config.training.mirror,
        folder,
        watch,
        lambda state, log, step, stop: train(
            network, images, loss, recipe, state_path=state, log=log, step=step, stop=stop, team=watch.team
        ),
    )


def train_denoiser(
    network: torch.nn.Module,
    config: RunConfig,
    examples: torch.Tensor,
    loss: Loss,
    folder: RunFolder,
    watch: Watch,
    probes: Probes | None = None,
) -> torch.nn.Module:
    """The averaged denoiser, trained on ``examples`` by ``loss``, with a look at it where ``probes`` ask."""
    recipe = recipe_for("diffusion", config.training, config.training)
    return watched(
        recipe,
        config.training.mirror,
        folder,
        watch,
        lambda state, log, step, stop: train(
            network,
            examples,
            loss,
            recipe,
            state_path=state,
            log=log,
            step=step,
            stop=stop,
            team=watch.team,
            probing=None if probes is None else probes.logging(log),
        ),
    )
