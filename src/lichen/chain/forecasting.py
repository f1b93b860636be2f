"""What a run will take, before it is run: probes of its real training step, network call and decoder, on this machine.

The networks are those of the run, untrained; the images are noise of the right shape, since no step's time depends on
what is in them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from lichen.chain.augmenting import loss_of_autoencoder, loss_of_denoiser, shape_shown
from lichen.chain.training import recipe_for
from lichen.config import RunConfig, SamplingConfig
from lichen.energy import NO_READING, Energy, Forecast, Meter, Pace, PhaseForecast, Stopwatch, expect
from lichen.memory import peak_memory
from lichen.models.layout import fast_layout, set_layout
from lichen.models.tiling import within
from lichen.samplers import network_calls
from lichen.sampling.draw import compile_denoiser, draw_latents, write_images
from lichen.stopping import Stopped, deferred
from lichen.team import ALONE, Team
from lichen.training.autoencoder import encode_set
from lichen.training.generator import Generator, GeneratorSpec
from lichen.training.loop import Loss, Recipe, train


@dataclass(frozen=True)
class Work:
    """How much of what a run is to do."""

    spec: GeneratorSpec
    config: RunConfig
    train_images: int
    """Images to train on; 0: the generator is there already."""
    count: int
    """Samples to draw."""

    def units(self) -> dict[str, int]:
        """Images by phase; of compiling, once."""
        config, drawn = self.config, 0
        if self.count:
            drawn = math.ceil(self.count / config.sampling.batch_size) * config.sampling.batch_size
        training = {"diffusion": config.training.images_seen}
        if config.autoencoder.kind != "none":
            training = {"autoencoder": config.autoencoder.images_seen, "encode": self.train_images, **training}
        synthesis = {**({"compile": 1} if config.sampling.compile else {}), "denoise": drawn, "decode": drawn}
        return {**(training if self.train_images else {}), **(synthesis if drawn else {})}


class _Enough(Exception):  # noqa: N818 (no error: it ends a probe inside a sampler)
    pass


def forecast(
    work: Work,
    device: torch.device,
    meters: tuple[Meter, ...],
    team: Team = ALONE,
    *,
    after: Callable[[], None] = lambda: None,
) -> Forecast:
    """Time, energy and memory of ``work``, each with its interval, from probes of some seconds each.

    Random numbers drawn afterwards are as if nothing had been probed. In a ``team`` each process probes its part of the
    training, without exchanging gradients, and its share of the samples; the energy is that of all of them. ``after``
    is called after each piece of work, and may end the probe by an exception.
    """
    units = work.units()
    begun_s = time.perf_counter()
    with _as_if_nothing_happened(device), peak_memory(device) as peak, TemporaryDirectory(prefix="lichen-") as scratch:
        probes = _Probes(work, device, meters, team, Path(scratch), after)
        phases = _of_all(tuple(probes.phases(units)), team)
    sources = sorted({reading.source for meter in meters for reading in meter.read()})
    return Forecast(phases, time.perf_counter() - begun_s, peak.bytes, probes.save_s, tuple(sources))


class _Probes:
    """The probes of one forecast, in the order of the run, sharing its networks."""

    def __init__(
        self,
        work: Work,
        device: torch.device,
        meters: tuple[Meter, ...],
        team: Team,
        scratch: Path,
        after: Callable[[], None],
    ) -> None:
        self._work, self._device, self._meters, self._team, self._scratch = work, device, meters, team, scratch
        self._after = after
        self._autoencoder, self._denoiser = (network.to(device) for network in work.spec.build())
        self._saves_s: dict[str, float] = {}

    def phases(self, units: dict[str, int]) -> Iterator[PhaseForecast]:
        """A forecast for each phase with something to do."""
        spec, config, team = self._work.spec, self._work.config, self._team
        found: dict[str, Pace] = {}
        if "autoencoder" in units:
            recipe = recipe_for("autoencoder", config.autoencoder, config.training)
            loss = loss_of_autoencoder(spec, config)
            found["autoencoder"] = self._training(self._autoencoder, spec.image_shape, loss, recipe)
            found["encode"] = self._encoding()
        if "diffusion" in units:
            recipe = recipe_for("diffusion", config.training, config.training)
            coder = within(self._autoencoder.eval(), config.memory.budget_bytes)
            loss = loss_of_denoiser(spec, config, self._device, coder, *_normalisation(spec))
            found["diffusion"] = self._training(self._denoiser, shape_shown(spec, config.training), loss, recipe)
        if "denoise" in units:
            generator = self._generator()
            if "compile" in units:
                generator, found["compile"] = self._compiling(generator)
            found["denoise"], found["decode"] = self._denoising(generator), self._decoding(generator)
        calls = network_calls(config.sampling.sampler, config.sampling.steps)
        for phase, count in units.items():
            if phase == "denoise":
                yield expect(phase, count * calls / team.size, "network call", found[phase])
            elif phase == "compile":  # every process does it
                yield expect(phase, count, "network", found[phase])
            else:  # a training step of a team is done by all of its processes at once; other work is shared out
                share = count if phase in {"autoencoder", "diffusion"} else count / team.size
                saves_s = self._all_saves_s(phase, share * found[phase].s_per_unit)
                yield expect(phase, share, "image", found[phase], saves_s)

    @property
    def save_s(self) -> float:
        """How long it took to write the larger of the two training states."""
        return max(self._saves_s.values(), default=0.0)

    def _all_saves_s(self, phase: str, duration_s: float) -> float:
        save_s = self._saves_s.get(phase, 0.0)
        return save_s * (1 + duration_s // self._work.config.training.checkpoint_every_s) if save_s else 0.0

    def _training(self, network: nn.Module, shape: tuple[int, ...], loss: Loss, recipe: Recipe) -> Pace:
        examples = torch.randn(2 * recipe.batch_size, *shape).clamp_(-1, 1)
        watch = self._watch(recipe.images)
        part = self._team.part(recipe.batch_size)
        alone = Recipe(**{**vars(recipe), "batch_size": max(1, part.stop - part.start)})

        def step(images: int) -> None:
            watch(images * recipe.batch_size / alone.batch_size)

        state = self._scratch / f"{recipe.phase}.safetensors"

        with deferred() as asked, suppress(Stopped):  # a signal's own exception would look like the end of the probe

            def stop() -> bool:
                return watch.enough() or asked()

            train(network, examples, loss, alone, state_path=state, log=_nowhere, step=step, stop=stop)
        self._saves_s[recipe.phase] = watch.since_end_s()
        return watch.pace()

    def _encoding(self) -> Pace:
        batch_size = self._work.config.autoencoder.batch_size
        images = torch.randn(batch_size, *self._work.spec.image_shape).clamp_(-1, 1)
        watch = self._watch(self._work.train_images)
        autoencoder = within(self._autoencoder.eval(), self._work.config.memory.budget_bytes)
        while not watch.enough():
            encode_set(autoencoder, images, batch_size, step=watch)
        return watch.pace()

    def _compiling(self, generator: Generator) -> tuple[Generator, Pace]:
        """The compiled generator, and what compiling takes once PyTorch's cache is filled, which it is here."""
        sampling = self._work.config.sampling
        compile_denoiser(generator, sampling)
        torch.compiler.reset()
        watch = self._watch(1)
        ready = compile_denoiser(generator, sampling)
        watch(1)
        return ready, watch.pace()

    def _denoising(self, generator: Generator) -> Pace:
        sampling = self._work.config.sampling
        watch = self._watch(self._work.count * network_calls(sampling.sampler, sampling.steps))
        try:
            return pace_of_calls(generator, sampling, watch)
        finally:
            if sampling.compile:
                torch.compiler.reset()  # the run compiles for itself

    def _decoding(self, generator: Generator) -> Pace:
        sampling = self._work.config.sampling
        watch = self._watch(self._work.count)
        latents = torch.randn(sampling.batch_size, *self._work.spec.latent_shape, device=self._device)
        while not watch.enough():
            write_images(generator, latents, 0, range(sampling.batch_size), sampling, self._scratch)
            watch(sampling.batch_size)
        return watch.pace()

    def _generator(self) -> Generator:
        networks = [network.eval().requires_grad_(False) for network in (self._autoencoder, self._denoiser)]
        for network, shape in zip(networks, (self._work.spec.image_shape, self._work.spec.latent_shape), strict=True):
            set_layout(network, fast_layout(shape[1:], self._device))
        autoencoder = within(networks[0], self._work.config.memory.budget_bytes)
        return Generator(self._work.spec, autoencoder, networks[1], *_normalisation(self._work.spec), "")

    def _watch(self, planned: float) -> Stopwatch:
        return Stopwatch(self._meters, planned, synchronise=_synchronise(self._device), after=self._after)


def _normalisation(spec: GeneratorSpec) -> tuple[Tensor, Tensor]:
    """A shift and a scale (L,) of latents that are not known yet."""
    one = torch.ones(spec.latent_shape[0])
    return 0 * one, one


def pace_of_calls(generator: Generator, sampling: SamplingConfig, watch: Stopwatch) -> Pace:
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


def _of_all(phases: tuple[PhaseForecast, ...], team: Team) -> tuple[PhaseForecast, ...]:
    """The phases with the energy of all processes: each has its own meters, and that of the first covers the machine's.

    The energy of a process without readings is not known and not in the sum.
    """
    own = [phase.energy.bounds_j() for phase in phases]
    joules = torch.tensor([found or (0.0, 0.0, 0.0) for found in own], dtype=torch.float64)
    known = torch.tensor([float(found is not None) for found in own])
    team.add_up([joules, known])
    sums = zip(phases, joules.tolist(), known.tolist(), strict=True)
    return tuple(replace(phase, energy=Energy(*ends) if count else NO_READING) for phase, ends, count in sums)


@contextmanager
def _as_if_nothing_happened(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _synchronise(device: torch.device) -> Callable[[], None]:
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _nowhere(record: object) -> None:
    del record
