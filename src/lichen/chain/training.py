"""From images to a generator: autoencoder, latents, denoiser, each resumed where it stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lichen.chain.augmenting import loss_of_autoencoder, loss_of_denoiser
from lichen.chain.data import Data, bind_images
from lichen.chain.probing import Probes, make_probes
from lichen.config import AutoencoderConfig, MirrorName, RunConfig, TrainingConfig
from lichen.images import Source
from lichen.mirror import mirroring
from lichen.models.tiling import within
from lichen.runs import RunFolder
from lichen.seeds import mix_seed
from lichen.stopping import Stopped, deferred
from lichen.training.autoencoder import encode_set, normalised
from lichen.training.generator import Generator, GeneratorSpec, load_generator, save_generator
from lichen.training.loop import Loss, Recipe, images_seen, train
from lichen.watch import Watch


def train_generator(config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch) -> Generator:
    """The finished generator of the run folder; trained first if it is not there yet."""
    team = watch.team
    if team.leads:
        bind_images(data.train, folder)
    if team.any(not folder.generator.exists()):
        spec = spec_of(config, tuple(data.train.voxels.shape[1:]), data.train.affine, data.source, data.train.classes)
        torch.manual_seed(mix_seed(config.training.seed, "weights"))
        autoencoder, denoiser = (network.to(device) for network in spec.build())
        if config.autoencoder.kind == "none":
            coder, latents = autoencoder, normalised(data.train.voxels)
        else:
            loss = loss_of_autoencoder(spec, config)
            autoencoder = train_autoencoder(autoencoder, config, data.train.voxels, loss, folder, watch)
            coder = within(autoencoder, config.memory.budget_bytes)
            with watch.phase("encode", len(data.train.voxels)) as step:
                batch_size = config.autoencoder.batch_size
                latents = encode_set(coder, data.train.voxels, batch_size, step=step, team=team)
        looks = make_probes(config, data, spec, coder, latents, watch)
        loss = loss_of_denoiser(spec, config, device, coder, latents.shift, latents.scale)
        examples = latents.values if config.training.augmentation == "none" else data.train.voxels
        denoiser = train_denoiser(denoiser, config, examples, loss, folder, watch, looks)
        if team.leads:
            save_generator(folder.generator, spec, autoencoder, denoiser, latents.shift, latents.scale)
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
    return GeneratorSpec(
        image_shape=image_shape,
        affine=tuple(tuple(float(x) for x in row) for row in affine),
        autoencoder=config.autoencoder,
        denoiser=config.denoiser,
        objective=config.training.objective,
        is_phantom=source.is_phantom,
        window=config.images.window or (),
        classes=classes,
    )


def recipe_for(phase: str, own: AutoencoderConfig | TrainingConfig, common: TrainingConfig) -> Recipe:
    """The recipe of a phase: length and speed are its ``own``, the rest is ``common`` to both."""
    return Recipe(
        phase=phase,
        images=own.images_seen,
        batch_size=own.batch_size,
        learning_rate=own.learning_rate,
        ema_images=common.ema_images,
        gradient_clip=common.gradient_clip,
        precision=common.precision,
        seed=common.seed,
        checkpoint_every_s=common.checkpoint_every_s,
    )


def train_autoencoder(
    network: torch.nn.Module, config: RunConfig, images: torch.Tensor, loss: Loss, folder: RunFolder, watch: Watch
) -> torch.nn.Module:
    """The averaged autoencoder, trained on images (N, C, *S)."""
    recipe = recipe_for("autoencoder", config.autoencoder, config.training)
    state = folder.training_state("autoencoder")
    return train_watched(network, images, loss, recipe, state, folder, watch, config.training.mirror)


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
    state = folder.training_state("diffusion")
    return train_watched(network, examples, loss, recipe, state, folder, watch, config.training.mirror, probes)


def train_watched(
    network: torch.nn.Module,
    examples: torch.Tensor,
    loss: Loss,
    recipe: Recipe,
    state: Path,
    folder: RunFolder,
    watch: Watch,
    mirrors: Sequence[MirrorName],
    probes: Probes | None = None,
) -> torch.nn.Module:
    """Train with energy, progress and log; asked to stop, the process ends after its step, and its state is saved.

    Raises:
        BudgetError: the budget is spent; the state is saved.
    """
    names = mirrors if watch.team.leads else ()
    bar = watch.phase(recipe.phase, recipe.images, done=min(images_seen(state), recipe.images), may_stop=False)
    with deferred() as stop, mirroring(names, folder) as mirror, bar as step:

        def log(record: Mapping[str, float | int | str]) -> None:
            folder.append_log(record)
            mirror(record)

        try:
            return train(
                network,
                examples,
                loss,
                recipe,
                state_path=state,
                log=log,
                step=step,
                stop=watch.asked(stop),
                team=watch.team,
                probing=None if probes is None else probes.logging(log),
            )
        except Stopped:
            if not stop() and (spent := watch.over_budget()) is not None:
                raise spent from None
            raise
