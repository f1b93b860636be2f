"""The cheapest way to sample whose images are as near to the reference sampler's as another seed's: ``--tune``.

Everything is kept in memory: a synthetic image is a suspect until it is audited, and these are nobody's samples.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lichen.chain.forecasting import pace_of_calls
from lichen.chain.out_of_memory import explaining, is_out_of_memory, memory_of, sampling_does_not_fit
from lichen.config import MemoryConfig, SamplingConfig
from lichen.energy import NO_READING, Energy, Meter, Pace, Stopwatch, find_meters
from lichen.errors import CheckpointError, ConfigError, DependencyError, RunError
from lichen.measuring import synchronise
from lichen.memory import peak_memory
from lichen.quality.estimates import Estimate
from lichen.quality.paired import LEAST_IMAGES, is_within, paired_squared_mmd, scaling, seed_to_seed, upper_bound
from lichen.runs import now
from lichen.samplers import network_calls
from lichen.sampling import decode_images, draw_latents
from lichen.sampling.choice import Setting, candidates, cheapest, gets_worse, paid_back_after
from lichen.sampling.compiling import BreakEven
from lichen.sampling.draw import compile_denoiser
from lichen.sampling.tuned import Reference, Tuned, keep_tuned
from lichen.training.generator import Generator, load_generator
from lichen.watch import Watch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEVEL = 0.05
"""Chance of taking a setting that is further from the reference than the margin; shared among all that may be tried."""
CONTRAST_LOSSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""To say in terms of images what would have been noticed."""
MOST_BATCH = 64
LOOK_S = 5.0
"""Longest look at one batch size."""
WORTH_COMPILING_S = 120.0
"""Network calls that take less than this in all cannot pay: compiling takes a minute or more and saves half at most."""


@dataclass(frozen=True)
class Cost:
    """What one image, or one piece of work, takes."""

    s: float
    energy: Energy

    @staticmethod
    def of(pace: Pace, units: float = 1.0) -> Cost:
        """Of so many units of work at this pace."""
        seconds = units * pace.s_per_unit
        return Cost(seconds, pace.joules_per_s.scaled(seconds))

    def times(self, factor: float) -> Cost:
        """So many of it."""
        return Cost(factor * self.s, self.energy.scaled(factor))


@dataclass(frozen=True)
class Trial:
    """A setting that was tried: what an image costs, and how far it is from the reference."""

    setting: Setting
    cost: Cost
    """Of the network calls of an image."""
    distance: Estimate
    distance_high: float
    is_within: bool


@dataclass(frozen=True)
class Tuning:
    """What came of it."""

    tuned: Tuned
    reference: Setting
    reference_cost: Cost
    decode_cost: Cost
    trials: tuple[Trial, ...]
    """In the order in which they were tried; the last is the one that was taken, if any was within."""
    batches: tuple[tuple[int, Cost], ...]
    """Batch size, and the cost of an image with it."""
    compiling: BreakEven | None
    """Of network calls of a batch; None: not tried."""
    tuned_cost: Cost
    before: Setting
    before_cost: Cost
    """What an image costs with the settings that were there before."""
    spent: Cost
    sources: tuple[str, ...]

    @property
    def in_joules(self) -> bool:
        """Whether costs are compared in joules; in seconds where nothing could be read."""
        return self.reference_cost.energy.energy_j is not None

    def amount(self, cost: Cost) -> float:
        """``cost`` in the unit of the comparison."""
        return cost.energy.energy_j if self.in_joules and cost.energy.energy_j is not None else cost.s

    def paid_back_after(self, other: Cost) -> int | None:
        """Images after which the tuning has saved what it took, beside images at the ``other`` cost."""
        return paid_back_after(self.amount(self.spent), self.amount(other), self.amount(self.tuned_cost))


def tune(
    checkpoint: Path,
    before: SamplingConfig,
    reference: Reference,
    images: int,
    device: torch.device,
    watch: Watch,
    memory: MemoryConfig = MemoryConfig(),  # noqa: B008 (frozen)
) -> Tuning:
    """Find the cheapest setting that samples as ``reference`` does, and keep it in ``checkpoint``.

    Each setting draws ``images`` images of the same noise as the reference does, without writing one. ``before`` is
    what would be used otherwise; its ``count`` is how many images are planned, by which compiling has to pay. Decoding
    keeps within the budget of ``memory``.

    Raises:
        LichenError: the checkpoint cannot be read or written, or its images cannot be compared.
    """
    if images < LEAST_IMAGES:
        raise ConfigError(f"tune.images is {images}; it must be at least {LEAST_IMAGES}", fix="give --tune.images 64")
    if watch.team.size > 1:
        raise RunError("tuning compares timings of one process", fix="give the command without torchrun")
    if checkpoint.exists() and not os.access(checkpoint.parent, os.W_OK):
        raise CheckpointError(f"{checkpoint.parent} cannot be written", fix="copy the checkpoint to another folder")
    begun_s = time.perf_counter()
    generator = load_generator(checkpoint, device, memory.budget_bytes)
    with watch.trace.phase("tune"), explaining(lambda: sampling_does_not_fit(before, device)):
        found = _Search(generator, before, reference, images, find_meters(), watch).search()
        keep_tuned(checkpoint, found.tuned)
    return replace(found, spent=Cost(time.perf_counter() - begun_s, watch.trace.spent()))


class _Search:
    """One search, from the reference to the settings of least energy."""

    def __init__(
        self,
        generator: Generator,
        before: SamplingConfig,
        reference: Reference,
        images: int,
        meters: tuple[Meter, ...],
        watch: Watch,
    ) -> None:
        self._generator, self._before, self._images = generator, before, images
        self._meters, self._watch, self._name = meters, watch, reference
        self._device = next(generator.denoiser.parameters()).device
        self._reference = Setting("ddim", "time", int(reference.removeprefix("ddim-")))

    def search(self) -> Tuning:
        """Try settings from cheap to dear, then batch sizes, then compiling."""
        pictures, reference_cost, decode_cost = self._draw(self._reference, "reference")
        raw = self._features(pictures)
        scaled = scaling(raw)
        reference = scaled(raw)
        margin = seed_to_seed(reference, LEVEL)
        settings = candidates(self._reference.calls)

        def compared(images: Tensor) -> tuple[Estimate, float, bool]:
            found = paired_squared_mmd(scaled(self._features(images)), reference)
            tests = len(settings)
            return found, upper_bound(found, LEVEL, tests), is_within(found, margin, LEVEL, tests)

        trials: list[Trial] = []
        for setting in settings:
            images, cost, _ = self._draw(setting, str(setting))
            trials.append(Trial(setting, cost, *compared(images)))
            if trials[-1].is_within:
                break
        best = (
            trials[-1]
            if trials[-1].is_within
            else Trial(self._reference, reference_cost, Estimate(0.0, 0.0), 0.0, is_within=True)
        )
        losses = (loss for loss in CONTRAST_LOSSES if not compared(faded(pictures, loss))[2])
        batches = self._batches(best.setting)
        batch_size, tuned_cost = batches[cheapest([self._amount(cost, reference_cost) for _, cost in batches])]
        compiling = self._compiling(best.setting, batch_size, tuned_cost)
        compile_from = None
        if compiling is not None and compiling.calls is not None:
            compile_from = int(compiling.calls * batch_size / best.setting.calls) + 1
            if self._before.count >= compile_from:
                tuned_cost = tuned_cost.times(compiling.compiled_cost / compiling.eager_cost)
        calls_before = network_calls(self._before.sampler, self._before.steps)
        return Tuning(
            tuned=Tuned(
                best.setting.sampler,
                best.setting.schedule,
                best.setting.steps,
                batch_size,
                compile_from,
                self._name,
                self._images,
                best.distance.value,
                best.distance_high,
                margin,
                LEVEL,
                next(losses, None),
                now(),
            ),
            reference=self._reference,
            reference_cost=reference_cost,
            decode_cost=decode_cost,
            trials=tuple(trials),
            batches=tuple(batches),
            compiling=compiling,
            tuned_cost=tuned_cost,
            before=Setting(self._before.sampler, self._before.schedule, self._before.steps),
            before_cost=reference_cost.times(calls_before / self._reference.calls),
            spent=Cost(0.0, NO_READING),
            sources=tuple(sorted({reading.source for meter in self._meters for reading in meter.read()})),
        )

    def _draw(self, setting: Setting, title: str) -> tuple[Tensor, Cost, Cost]:
        """The images (n, C, *S) of ``setting``, and what the network calls and the decoding of one take."""
        config = self._with(setting, self._before.batch_size)
        size, latents, images = config.batch_size, [], []
        with self._watch.bar(title, self._images, ["tune"]) as step:
            denoising = self._stopwatch(self._images)
            for batch in range(-(-self._images // size)):
                latents.append(draw_latents(self._generator, batch, config))
                denoising(size)
                step(min(size, self._images - batch * size))
            cost = Cost.of(denoising.pace())
            decoding = self._stopwatch(self._images)
            for part in latents:
                images.append(decode_images(self._generator, part))
                decoding(size)
        return torch.cat(images)[: self._images], cost, Cost.of(decoding.pace())

    def _batches(self, setting: Setting) -> list[tuple[int, Cost]]:
        """The cost of an image in batches of 1, 2, 4 ... until that grows, or the memory would not suffice."""
        found: list[tuple[int, Cost]] = []
        size = 1
        while size <= MOST_BATCH:
            config = self._with(setting, size)
            try:
                with peak_memory(self._device) as peak:
                    pace = pace_of_calls(self._generator, config, self._look(setting))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                break
            found.append((size, Cost.of(pace, setting.calls)))
            costs = [self._amount(cost, found[0][1]) for _, cost in found]
            if gets_worse(costs) or 2 * (peak.bytes or 0) > memory_of(self._device):
                break
            size *= 2
        return found

    def _compiling(self, setting: Setting, batch_size: int, eager: Cost) -> BreakEven | None:
        """What compiling takes and saves for each batch's network call; None where it cannot pay or be done."""
        config = self._with(setting, batch_size)
        if self._before.count * eager.s < WORTH_COMPILING_S:
            return None
        watch = self._stopwatch(1)
        try:
            ready = compile_denoiser(self._generator, config)
        except DependencyError as error:
            self._watch.tell(f"{error.problem}, so that it is left out")
            return None
        watch(1)
        once = Cost.of(watch.pace())
        pace = pace_of_calls(ready, config, self._look(setting))
        compiled, called = Cost.of(pace, batch_size), eager.times(batch_size / setting.calls)
        return BreakEven(*(self._amount(cost, eager) for cost in (once, called, compiled)))

    def _features(self, images: Tensor) -> NDArray[np.float64]:
        from lichen.quality.features import random_features

        return random_features(images)

    def _with(self, setting: Setting, batch_size: int) -> SamplingConfig:
        return replace(
            self._before,
            preset=None,
            sampler=setting.sampler,
            schedule=setting.schedule,
            steps=setting.steps,
            batch_size=batch_size,
            compile=False,
        )

    def _look(self, setting: Setting) -> Stopwatch:
        """At the network calls of ``setting``; few images are not worth a long look."""
        return self._stopwatch(self._before.count * setting.calls, LOOK_S)

    def _stopwatch(self, planned: float, most_s: float = 1e9) -> Stopwatch:
        return Stopwatch(self._meters, planned, synchronise=synchronise, most_s=most_s)

    @staticmethod
    def _amount(cost: Cost, like: Cost) -> float:
        """Joules if ``like`` has them, else seconds: never one beside the other."""
        return cost.s if like.energy.energy_j is None or cost.energy.energy_j is None else cost.energy.energy_j


def faded(images: Tensor, loss: float) -> Tensor:
    """Images (n, C, *S) that lost the share ``loss`` of their contrast, each about its own mean."""
    mean = images.mean(dim=tuple(range(2, images.ndim)), keepdim=True)
    return mean + (1 - loss) * (images - mean)
