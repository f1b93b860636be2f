"""What a run will take, before it is run: probes of its real work, on this machine.

The images are noise of the right shape, since no step's time depends on what is in them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lichen.chain.bench import Bench
from lichen.chain.paces import paces_of_diffusion, paces_of_gan
from lichen.config import RunConfig
from lichen.energy import NO_READING, Energy, Forecast, Meter, PhaseForecast, expect
from lichen.memory import peak_memory
from lichen.team import ALONE, Team
from lichen.training.specs import GeneratorSpec, StyleGAN2Spec


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
        training, synthesis = dict(config.trainings), {"synthesise": drawn}
        if "autoencoder" in training:
            training = {"autoencoder": training["autoencoder"], "encode": self.train_images, **training}
        if "diffusion" in training:
            synthesis = {**({"compile": 1} if config.sampling.compile else {}), "denoise": drawn, "decode": drawn}
        return {**(training if self.train_images else {}), **(synthesis if drawn else {})}


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
    return probed(lambda bench: _phases(work, work.units(), bench), device, meters, team, after=after)


def probed(
    look: Callable[[Bench], Iterable[PhaseForecast]],
    device: torch.device,
    meters: tuple[Meter, ...],
    team: Team = ALONE,
    *,
    after: Callable[[], None] = lambda: None,
) -> Forecast:
    """The forecast of the phases that ``look`` finds on a bench; for the rest see ``forecast``."""
    begun_s = time.perf_counter()
    with _as_if_nothing_happened(device), peak_memory(device) as peak, TemporaryDirectory(prefix="lichen-") as scratch:
        bench = Bench(device, meters, team, Path(scratch), after)
        phases = _of_all(tuple(look(bench)), team)
    sources = sorted({reading.source for meter in meters for reading in meter.read()})
    save_s = max(bench.saves_s.values(), default=0.0)
    return Forecast(phases, time.perf_counter() - begun_s, peak.bytes, save_s, tuple(sources))


def _phases(work: Work, units: Mapping[str, int], bench: Bench) -> Iterator[PhaseForecast]:
    """A forecast for each phase with something to do."""
    config, processes = work.config, bench.team.size
    if isinstance(work.spec, StyleGAN2Spec):
        found = paces_of_gan(work.spec, config, units, bench)
    else:
        found = paces_of_diffusion(work.spec, config, units, bench)
    for phase, count in units.items():
        if phase == "denoise":
            yield expect(phase, count * config.network_calls / processes, "network call", found[phase])
        elif phase == "compile":  # every process does it
            yield expect(phase, count, "network", found[phase])
        else:  # a training step of a team is done by all of its processes at once; other work is shared out
            share = count if phase in config.trainings else count / processes
            duration_s = share * found[phase].s_per_unit
            saves_s = bench.all_saves_s(phase, duration_s, config.training.checkpoint_every_s)
            yield expect(phase, share, "image", found[phase], saves_s)


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
