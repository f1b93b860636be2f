"""Probes while a generator is trained: samples of the averaged network, scored against training patients.

The energy of probes is in the trace under the training's own phase: they are a part of what that training costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from lichen.audit.probe import Reading, Yardstick, yardstick
from lichen.chain.data import Data
from lichen.config import RunConfig, SamplingConfig
from lichen.errors import AuditError
from lichen.images import one_of_each
from lichen.quality import LEAST_PATIENTS, KernelRuler
from lichen.sampling import draw_images
from lichen.seeds import mix_seed
from lichen.training.autoencoder import reconstruct
from lichen.training.generator import Generator
from lichen.training.loop import Log, Probing
from lichen.watch import Watch

Measure = Callable[[Tensor], dict[str, float]]
"""Samples (B, C, *S) -> how far they are from held-out images, for ``log.jsonl``."""

SCORE = "pearson"
"""Exact and cheap, and an over-trained model repeats its images unmoved; see the score's own blind spots."""
STEPS = 20
"""Of the sampler: enough for recognisable images."""
BATCH_SIZE = 8
MOST_HELD_OUT = 256
"""Held-out patients on which probes are calibrated: more make a finer threshold than a few samples can tell apart."""


@dataclass(frozen=True)
class Probes:
    """Makes of the settings what the training loop asks."""

    config: RunConfig
    draw: Callable[[Any], Tensor]
    """Averaged network -> ``probe.samples`` synthetic images (B, C, *S), without label maps."""
    ready: Callable[[], tuple[Yardstick, Measure | None]]
    """Called once, before the first probe; a measure of quality where one is asked for."""
    watch: Watch

    def logging(self, log: Log) -> Probing | None:
        """What the loop takes, with the curve going to ``log``; None where no probe is asked for."""
        settings, planned = self.config.probe, probes_planned(self.config)
        if settings.every is None:
            return None
        made_ready = cache(self.ready)

        def probe(images_seen: int, average: nn.Module) -> bool:
            (ruler, measure), samples = made_ready(), self.draw(average)
            found = ruler.read(samples)
            rises = found.rises(planned)
            log({**record(images_seen, found, rises=rises), **(measure(samples) if measure else {})})
            if rises and settings.stop:
                self.watch.tell(_in_words(images_seen, found))
            return rises and settings.stop

        return Probing(probe, settings.every, settings.stop)


def record(images_seen: int, found: Reading, *, rises: bool) -> dict[str, float | int | str]:
    """A point of the curve, for ``log.jsonl``; what there is not is left out."""
    known = {"share": found.share, "mean_score": found.mean_score}
    return {
        "phase": "probe",
        "images_seen": images_seen,
        "n": found.samples,
        "above": found.above,
        **{name: value for name, value in known.items() if value is not None},
        "p_value": found.p_value,
        "rises": int(rises),
    }


def _in_words(images_seen: int, found: Reading) -> str:
    return (
        f"after {images_seen} images {found.above} of {found.samples} samples of the probe are nearer to a "
        "training image than new patients are: copying has begun. Training ends, with the weights of the probe before"
    )


def probes_planned(config: RunConfig) -> int:
    """How many probes a whole training has at most."""
    if config.probe.every is None:
        return 0
    steps = math.ceil(config.training.images_seen / config.training.batch_size)
    return min(steps, steps * config.training.batch_size // config.probe.every)


def make_probes(
    config: RunConfig, data: Data, made: Callable[[Any], Generator], bottleneck: nn.Module | None, watch: Watch
) -> Probes:
    """Probes with the images of a run: calibrated on held-out patients who went through the ``bottleneck``, if any.

    ``made`` makes a generator of the averaged network of the training.

    Raises:
        AuditError: quality is asked for, and there are too few patients to measure it.
    """
    settings = config.probe
    if settings.quality and min(len(set(images.patients)) for images in (data.train, data.held_out)) < LEAST_PATIENTS:
        raise AuditError(
            f"probes of quality take {LEAST_PATIENTS} training and as many held-out patients",
            fix="leave out --probe.quality",
        )
    sampling = SamplingConfig(
        count=settings.samples, steps=STEPS, batch_size=BATCH_SIZE, seed=mix_seed(config.training.seed, "probe")
    )
    images = data.train.voxels.shape[1] - bool(data.train.classes)  # label maps take no part, as in the audit

    def draw(average: nn.Module) -> Tensor:
        generator, batches = made(average), range(math.ceil(settings.samples / BATCH_SIZE))
        drawn = torch.cat([draw_images(generator, batch, sampling) for batch in batches])
        return drawn[: settings.samples, :images]

    def ready() -> tuple[Yardstick, Measure | None]:
        learned, held_out = (one_of_each(part).voxels[:MOST_HELD_OUT] for part in (data.train, data.held_out))
        learned, fresh = learned[:, :images], held_out[:, :images]
        measure = measure_of(fresh, learned, settings.samples) if settings.quality else None
        if bottleneck is not None:
            held_out = reconstruct(bottleneck, held_out, config.autoencoder.batch_size)
        return yardstick(SCORE, data.train.voxels[:, :images], data.train.patients, held_out[:, :images]), measure

    return Probes(config, draw, ready, watch)


def measure_of(held_out: Tensor, train: Tensor, samples: int) -> Measure:
    """The kernel distance to ``held_out`` (n, C, *S), beside that of so many images of ``train`` (m, C, *S).

    Unlike the scores above it takes the images as they are: blur that an autoencoder leaves is a lack of quality.
    """
    ruler = KernelRuler.of(held_out)
    real = ruler.distance(train[:samples])

    def measure(samples: Tensor) -> dict[str, float]:
        found = ruler.distance(samples)
        return {"distance": found.value, "distance_error": found.standard_error, "distance_real_high": real.high}

    return measure
