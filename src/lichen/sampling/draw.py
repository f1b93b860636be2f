"""From seeds to latents to images, in fixed batches.

Batch b is always the images b * B ... b * B + B - 1, computed whole even if some of them are there already or not
wanted, because a matrix product of another size may round differently. So image i has the same bytes in one run, in an
interrupted one, and in one that asked for more images.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lichen.config import SamplingConfig
from lichen.diffusion import SAMPLERS, denoiser_of, noise_levels, process_of
from lichen.images import write_sample
from lichen.progress import Step, silent
from lichen.samplers import check_sampler
from lichen.sampling.compiling import compiled
from lichen.sampling.folder import sample_identity, sample_name
from lichen.seeds import mix_seed
from lichen.team import ALONE, Team
from lichen.training.autoencoder import decode_latents
from lichen.training.generator import Generator

LATENTS_AHEAD = 64
"""Images whose latents are drawn before they are decoded, so that each phase is long enough to be measured."""
FIRST_STEPS = 3
"""Of the sampling that compiles: the network's own output comes back to it in the second, in another memory layout."""


def draw_samples(
    generator: Generator,
    indices: Sequence[int],
    config: SamplingConfig,
    folder: Path,
    *,
    phase: Callable[[str], AbstractContextManager[object]] = nullcontext,
    step: Step = silent,
    team: Team = ALONE,
) -> None:
    """Draw the samples ``indices`` and write each with its sidecar into ``folder``.

    ``phase`` surrounds the kinds of work, "compile" if that is asked for, "denoise" and "decode", so that a caller can
    measure them. In a ``team`` the processes take turns by the number of the batch, and ``step`` counts those of this
    process.
    """
    wanted, size = set(indices), config.batch_size
    batches = own_batches(indices, size, team)
    if config.compile and batches:
        with phase("compile"):
            generator = compile_denoiser(generator, config)
    ahead = max(1, LATENTS_AHEAD // size)
    for start in range(0, len(batches), ahead):
        latents = []
        with phase("denoise"):
            for batch in batches[start : start + ahead]:
                latents.append(draw_latents(generator, batch, config))
                step(size)
        with phase("decode"):
            for batch, part in zip(batches[start : start + ahead], latents, strict=True):
                write_images(generator, part, batch, wanted, config, folder)


def compile_denoiser(generator: Generator, config: SamplingConfig) -> Generator:
    """The ``generator`` with its denoiser compiled for the batches of ``config``; DependencyError where that fails."""
    short = replace(config, steps=FIRST_STEPS)
    return compiled(generator, lambda ready: draw_latents(ready, 0, short))


def write_images(
    generator: Generator, latents: Tensor, batch: int, wanted: Container[int], config: SamplingConfig, folder: Path
) -> None:
    """Decode batch number ``batch`` and write those of its images that are ``wanted``, each with its sidecar."""
    affine = np.array(generator.spec.affine, dtype=np.float64)
    for index, image in enumerate(decode_images(generator, latents), start=batch * config.batch_size):
        if index in wanted:
            path = folder / sample_name(index, generator.spec)
            identity = sample_identity(generator, config, index)
            spec = generator.spec
            write_sample(path, image.numpy(), affine, identity, window=spec.window, classes=spec.classes)


def images_drawn(indices: Sequence[int], config: SamplingConfig, team: Team = ALONE) -> int:
    """How many images this process computes to get ``indices``: whole batches."""
    return len(own_batches(indices, config.batch_size, team)) * config.batch_size


def own_batches(indices: Sequence[int], batch_size: int, team: Team) -> list[int]:
    """The numbers of the fixed batches that hold ``indices`` and are this process's to draw, sorted."""
    batches = {index // batch_size for index in indices}
    return sorted(batch for batch in batches if batch % team.size == team.rank)


@torch.inference_mode()
def draw_latents(generator: Generator, batch: int, config: SamplingConfig) -> Tensor:
    """Batch number ``batch`` as normalised latents (B, L, *s).

    Raises ConfigError for a sampler that the generator's objective does not support.
    """
    objective = generator.spec.objective
    check_sampler(config.sampler, objective)
    device = next(generator.denoiser.parameters()).device
    images = range(batch * config.batch_size, (batch + 1) * config.batch_size)
    shape = generator.spec.latent_shape

    def noise(step: int) -> Tensor:
        drawn = [torch.randn(shape, generator=_source(config.seed, image, step)) for image in images]
        return torch.stack(drawn).to(device)

    sigmas = noise_levels(config.schedule, config.steps, process_of(objective))
    denoise = denoiser_of(generator.denoiser, objective)
    start = noise(-1) * float(sigmas[0])
    return SAMPLERS[config.sampler](denoise, start, sigmas, noise=noise)


@torch.inference_mode()
def decode_images(generator: Generator, latents: Tensor) -> Tensor:
    """Normalised latents (B, L, *s) -> images (B, C, *S) float32 in [-1, 1] on the CPU."""
    return decode_latents(generator.autoencoder, latents, generator.latent_shift, generator.latent_scale).cpu()


def _source(seed: int, image: int, step: int) -> torch.Generator:
    """The generator for image ``image`` at ``step`` (-1: the start), on the CPU so that devices agree."""
    return torch.Generator().manual_seed(mix_seed(seed, "sample", image, step))
