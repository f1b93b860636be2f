"""How fast each kind of work of a run goes on this machine: its real steps, network calls, decoder and generator.

The networks are those of the run, untrained.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from lichen.chain.adversarial import recipe_of_gan
from lichen.chain.augmenting import augmentation_of, loss_of_autoencoder, loss_of_denoiser, shape_shown
from lichen.chain.bench import Bench
from lichen.chain.watched import recipe_for
from lichen.config import RunConfig, SamplingConfig
from lichen.energy import Pace, Stopwatch
from lichen.models.layout import fast_layout, set_layout
from lichen.models.tiling import within
from lichen.sampling import decode_images, draw_images, draw_latents
from lichen.sampling.draw import compile_denoiser, write_images
from lichen.training.adversarial import CYCLE, train_against
from lichen.training.autoencoder import encode_set
from lichen.training.generator import Diffusion, StyleGAN2
from lichen.training.loop import Loss, Recipe, train
from lichen.training.specs import DiffusionSpec, StyleGAN2Spec


class _Enough(Exception):  # noqa: N818 (no error: it ends a probe inside a sampler)
    pass


def paces_of_gan(spec: StyleGAN2Spec, config: RunConfig, units: Mapping[str, int], bench: Bench) -> dict[str, Pace]:
    """The pace of each phase in ``units`` of a StyleGAN2."""
    generator, discriminator = spec.build()
    generator.to(bench.device)
    found: dict[str, Pace] = {}
    if "gan" in units:
        recipe = recipe_of_gan(config)
        examples = bench.noise(recipe, spec.image_shape)
        found["gan"] = bench.training(
            recipe,
            lambda alone, state, step, stop: train_against(
                generator,
                discriminator.to(bench.device),
                examples,
                spec.stylegan2,
                alone,
                state_path=state,
                log=_nowhere,
                step=step,
                stop=stop,
                move=augmentation_of(spec, config.training),
            ),
            cycle=CYCLE,
        )
    if "synthesise" in units:
        ready = StyleGAN2(spec, generator.eval().requires_grad_(False), "")
        sampling, watch = config.sampling, bench.stopwatch(units["synthesise"])
        while not watch.enough():
            images = draw_images(ready, 0, sampling)
            write_images(ready, images, 0, range(sampling.batch_size), sampling, bench.scratch)
            watch(sampling.batch_size)
        found["synthesise"] = watch.pace()
    return found


def paces_of_diffusion(
    spec: DiffusionSpec, config: RunConfig, units: Mapping[str, int], bench: Bench
) -> dict[str, Pace]:
    """The pace of each phase in ``units`` of a diffusion model, in the order of the run, sharing its networks."""
    autoencoder, denoiser = (network.to(bench.device) for network in spec.build())
    found: dict[str, Pace] = {}
    if "autoencoder" in units:
        recipe = recipe_for("autoencoder", config.autoencoder, config.training)
        loss = loss_of_autoencoder(spec, config)
        found["autoencoder"] = _training(autoencoder, spec.image_shape, loss, recipe, bench)
        found["encode"] = _encoding(autoencoder, spec, config, units["encode"], bench)
    if "diffusion" in units:
        recipe = recipe_for("diffusion", config.training, config.training)
        coder = within(autoencoder.eval(), config.memory.budget_bytes)
        loss = loss_of_denoiser(spec, config, bench.device, coder, *_normalisation(spec))
        found["diffusion"] = _training(denoiser, shape_shown(spec, config.training), loss, recipe, bench)
    if "denoise" in units:
        generator = _generator(spec, autoencoder, denoiser, config.memory.budget_bytes, bench.device)
        found |= _synthesis(generator, config, units, bench)
    return found


def _training(network: nn.Module, shape: tuple[int, ...], loss: Loss, recipe: Recipe, bench: Bench) -> Pace:
    examples = bench.noise(recipe, shape)
    return bench.training(
        recipe,
        lambda alone, state, step, stop: train(
            network, examples, loss, alone, state_path=state, log=_nowhere, step=step, stop=stop
        ),
    )


def _encoding(autoencoder: nn.Module, spec: DiffusionSpec, config: RunConfig, planned: int, bench: Bench) -> Pace:
    batch_size = config.autoencoder.batch_size
    images = torch.randn(batch_size, *spec.image_shape).clamp_(-1, 1)
    watch = bench.stopwatch(planned)
    bounded = within(autoencoder.eval(), config.memory.budget_bytes)
    while not watch.enough():
        encode_set(bounded, images, batch_size, step=watch)
    return watch.pace()


def _generator(
    spec: DiffusionSpec,
    autoencoder: nn.Module,
    denoiser: nn.Module,
    budget_bytes: int | None,
    device: torch.device,
) -> Diffusion:
    for network, shape in ((autoencoder, spec.image_shape), (denoiser, spec.latent_shape)):
        set_layout(network.eval().requires_grad_(False), fast_layout(shape[1:], device))
    return Diffusion(spec, within(autoencoder, budget_bytes), denoiser, *_normalisation(spec), "")


def _normalisation(spec: DiffusionSpec) -> tuple[Tensor, Tensor]:
    """A shift and a scale (L,) of latents that are not known yet."""
    one = torch.ones(spec.latent_shape[0])
    return 0 * one, one


def _synthesis(generator: Diffusion, config: RunConfig, units: Collection[str], bench: Bench) -> dict[str, Pace]:
    sampling, found = config.sampling, dict[str, Pace]()
    if "compile" in units:
        generator, found["compile"] = _compiling(generator, sampling, bench)
    try:
        watch = bench.stopwatch(sampling.count * config.network_calls)
        found["denoise"] = pace_of_calls(generator, sampling, watch)
    finally:
        if sampling.compile:
            torch.compiler.reset()  # the run compiles for itself
    watch = bench.stopwatch(sampling.count)
    latents = torch.randn(sampling.batch_size, *generator.spec.latent_shape, device=bench.device)
    while not watch.enough():
        images = decode_images(generator, latents)
        write_images(generator, images, 0, range(sampling.batch_size), sampling, bench.scratch)
        watch(sampling.batch_size)
    found["decode"] = watch.pace()
    return found


def _compiling(generator: Diffusion, sampling: SamplingConfig, bench: Bench) -> tuple[Diffusion, Pace]:
    """The compiled generator, and what compiling takes once PyTorch's cache is filled, which it is here."""
    compile_denoiser(generator, sampling)
    torch.compiler.reset()
    watch = bench.stopwatch(1)
    ready = compile_denoiser(generator, sampling)
    watch(1)
    return ready, watch.pace()


def pace_of_calls(generator: Diffusion, sampling: SamplingConfig, watch: Stopwatch) -> Pace:
    """The pace of network calls while ``generator`` samples, each counted as often as it has images."""

    def count(_: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        del arguments
        watch(len(output))
        if watch.enough():
            raise _Enough

    hook = generator.denoiser.register_forward_hook(count)
    try:
        while True:
            draw_latents(generator, 0, sampling)
    except _Enough:
        return watch.pace()
    finally:
        hook.remove()


def _nowhere(record: object) -> None:
    del record
