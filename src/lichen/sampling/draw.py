"""From seeds to images, in fixed batches: through latents, or in one pass of a StyleGAN2.

Batch b is always the images b * B ... b * B + B - 1, computed whole even if some of them are there already or not
wanted, because a matrix product of another size may round differently. So image i has the same bytes in one run, in an
interrupted one, and in one that asked for more images.
"""

from __future__ import annotations

from collections import Counter
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
from lichen.models.stylegan2 import truncated
from lichen.progress import Step, silent
from lichen.samplers import check_sampler
from lichen.sampling.compiling import compiled
from lichen.sampling.folder import sample_identity, sample_name
from lichen.seeds import mix_seed
from lichen.team import ALONE, Team
from lichen.training.autoencoder import decode_latents
from lichen.training.generator import Diffusion, Generator, StyleGAN2

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

    ``phase`` surrounds the kinds of work, so that a caller can measure them: "synthesise" of a StyleGAN2; of a
    diffusion model "compile" if that is asked for, "denoise" and "decode". In a ``team`` the processes take turns by
    the number of the batch, and ``step`` counts those of this process that are kept.
    """
    wanted, batches = set(indices), own_batches(indices, config.batch_size, team)
    kept = Counter(index // config.batch_size for index in wanted)

    def write(images: Tensor, batch: int) -> None:
        write_images(generator, images, batch, wanted, config, folder)

    if isinstance(generator, Diffusion):
        _through_latents(generator, batches, config, write, phase, lambda batch: step(kept[batch]))
    elif batches:
        with phase("synthesise"):
            for batch in batches:
                write(draw_styled(generator, batch, config), batch)
                step(kept[batch])


def _through_latents(
    generator: Diffusion,
    batches: Sequence[int],
    config: SamplingConfig,
    write: Callable[[Tensor, int], None],
    phase: Callable[[str], AbstractContextManager[object]],
    drawn: Callable[[int], None],
) -> None:
    if config.compile and batches:
        with phase("compile"):
            generator = compile_denoiser(generator, config)
    ahead = max(1, LATENTS_AHEAD // config.batch_size)
    for start in range(0, len(batches), ahead):
        latents = []
        with phase("denoise"):
            for batch in batches[start : start + ahead]:
                latents.append(draw_latents(generator, batch, config))
                drawn(batch)
        with phase("decode"):
            for batch, part in zip(batches[start : start + ahead], latents, strict=True):
                write(decode_images(generator, part), batch)


def draw_images(generator: Generator, batch: int, config: SamplingConfig) -> Tensor:
    """Batch number ``batch`` as images (B, C, *S) float32 in [-1, 1] on the CPU, of whatever kind of generator."""
    if isinstance(generator, StyleGAN2):
        return draw_styled(generator, batch, config)
    return decode_images(generator, draw_latents(generator, batch, config))


def compile_denoiser(generator: Diffusion, config: SamplingConfig) -> Diffusion:
    """The ``generator`` with its denoiser compiled for the batches of ``config``; DependencyError where that fails."""
    short = replace(config, steps=FIRST_STEPS)
    return compiled(generator, lambda ready: draw_latents(ready, 0, short))


def write_images(
    generator: Generator, images: Tensor, batch: int, wanted: Container[int], config: SamplingConfig, folder: Path
) -> None:
    """Write those images (B, C, *S) of batch number ``batch`` that are ``wanted``, each with its sidecar."""
    affine = np.array(generator.spec.affine, dtype=np.float64)
    for index, image in enumerate(images, start=batch * config.batch_size):
        if index in wanted:
            path = folder / sample_name(index, generator.spec)
            identity = sample_identity(generator, config, index)
            spec = generator.spec
            write_sample(path, image.numpy(), affine, identity, window=spec.window, classes=spec.classes)


def images_drawn(indices: Sequence[int], config: SamplingConfig, team: Team = ALONE) -> int:
    """How many of ``indices`` this process draws and its bar counts; whole batches are computed to get them."""
    batches = set(own_batches(indices, config.batch_size, team))
    return sum(index // config.batch_size in batches for index in set(indices))


def own_batches(indices: Sequence[int], batch_size: int, team: Team) -> list[int]:
    """The numbers of the fixed batches that hold ``indices`` and are this process's to draw, sorted."""
    batches = {index // batch_size for index in indices}
    return sorted(batch for batch in batches if batch % team.size == team.rank)


@torch.inference_mode()
def draw_latents(generator: Diffusion, batch: int, config: SamplingConfig) -> Tensor:
    """Batch number ``batch`` as normalised latents (B, L, *s).

    Raises ConfigError for a sampler that the generator's objective does not support.
    """
    objective = generator.spec.objective
    check_sampler(config.sampler, objective)
    shape = generator.spec.latent_shape

    def noise(step: int) -> Tensor:
        return noise_of(batch, shape, config, step).to(generator.device)

    sigmas = noise_levels(config.schedule, config.steps, process_of(objective))
    denoise = denoiser_of(generator.denoiser, objective)
    start = noise(-1) * float(sigmas[0])
    return SAMPLERS[config.sampler](denoise, start, sigmas, noise=noise)


@torch.inference_mode()
def decode_images(generator: Diffusion, latents: Tensor) -> Tensor:
    """Normalised latents (B, L, *s) -> images (B, C, *S) float32 in [-1, 1] on the CPU."""
    return decode_latents(generator.autoencoder, latents, generator.latent_shift, generator.latent_scale).cpu()


@torch.inference_mode()
def draw_styled(generator: StyleGAN2, batch: int, config: SamplingConfig) -> Tensor:
    """Batch number ``batch`` of a StyleGAN2 as images (B, C, H, W) float32 in [-1, 1] on the CPU.

    Every image has a z and noise at each layer of its own; w is truncated at all layers alike (Karras et al.,
    arXiv 1812.04948, appendix B).
    """
    network, device = generator.network, generator.device
    z = noise_of(batch, (generator.spec.stylegan2.latent_dim,), config, step=-1).to(device)
    w = truncated(network.map(z), network.mean_w, config.truncation)
    noise = [
        noise_of(batch, (1, *shape), config, step=layer).to(device) for layer, shape in enumerate(network.noise_shapes)
    ]
    images = network.synthesise(w[:, None].expand(-1, network.layers, -1), noise)
    return images.float().clamp(-1, 1).cpu()


def noise_of(batch: int, shape: Sequence[int], config: SamplingConfig, step: int) -> Tensor:
    """Standard normal numbers (B, *shape) at ``step`` (-1: the start), a function of each image's own number.

    They are drawn on the CPU, so that devices agree.
    """
    images = range(batch * config.batch_size, (batch + 1) * config.batch_size)
    sources = (torch.Generator().manual_seed(mix_seed(config.seed, "sample", image, step)) for image in images)
    return torch.stack([torch.randn(tuple(shape), generator=source) for source in sources])
