"""From images to a StyleGAN2: its two networks trained against each other, and the averaged generator kept."""

from __future__ import annotations

from dataclasses import replace

import torch

from lichen.chain.augmenting import augmentation_of
from lichen.chain.data import Data
from lichen.chain.probing import make_probes
from lichen.chain.watched import recipe_for, watched
from lichen.config import RunConfig
from lichen.runs import RunFolder
from lichen.training.adversarial import train_against
from lichen.training.generator import StyleGAN2, save_stylegan2
from lichen.training.loop import Recipe
from lichen.training.specs import StyleGAN2Spec
from lichen.watch import Watch


def recipe_of_gan(config: RunConfig) -> Recipe:
    """How long and how fast the networks of a StyleGAN2 are trained."""
    return replace(recipe_for("gan", config.training, config.training), learning_rate=config.stylegan2.learning_rate)


def train_stylegan2(
    spec: StyleGAN2Spec, config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch
) -> None:
    """Train generator and discriminator, and keep the averaged generator in the run folder."""
    generator, discriminator = spec.build()
    recipe = recipe_of_gan(config)
    probes = make_probes(config, data, lambda average: StyleGAN2(spec, average, sha256=""), None, watch)
    average = watched(
        recipe,
        config.training.mirror,
        folder,
        watch,
        lambda state, log, step, stop: train_against(
            generator.to(device),
            discriminator.to(device),
            data.train.voxels,
            spec.stylegan2,
            recipe,
            state_path=state,
            log=log,
            step=step,
            stop=stop,
            team=watch.team,
            probing=probes.logging(log),
            move=augmentation_of(spec, config.training),
        ),
    )
    if watch.team.leads:
        save_stylegan2(folder.generator, spec, average)
