"""What a segmentation will take, before it is run: probes of real steps and of real looks, on this machine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from lichen.chain.bench import Bench
from lichen.chain.expecting import Plan
from lichen.chain.forecasting import probed
from lichen.config import SegmentationConfig
from lichen.energy import Forecast, Meter, PhaseForecast, expect
from lichen.images import ImageSet
from lichen.settings import dump_settings
from lichen.training.loop import Recipe
from lichen.training.segmenter import Looking, looks, segment_images, train_segmenter
from lichen.training.segmenter_file import SegmenterSpec

PHASE = "segmenter"
VALIDATE = "validate"
TEST = "test"


@dataclass(frozen=True)
class SegmentationWork:
    """How much a segmentation does, trained to its whole length."""

    spec: SegmenterSpec
    config: SegmentationConfig
    train_images: int
    validation_images: int
    test_images: int

    @property
    def every(self) -> int:
        """Images seen between two looks."""
        return self.config.training.validate_every or self.train_images

    @property
    def recipe(self) -> Recipe:
        """Everything about the training but network, data, loss and looks."""
        training = self.config.training
        return Recipe(
            phase=PHASE,
            images=training.images_seen,
            batch_size=training.batch_size,
            learning_rate=training.learning_rate,
            ema_images=0,
            gradient_clip=math.inf,
            precision=training.precision,
            seed=training.seed,
            checkpoint_every_s=training.checkpoint_every_s,
        )

    def units(self) -> dict[str, int]:
        """Images by phase."""
        return {**self.done(self.config.training.images_seen), TEST: self.test_images}

    def done(self, images_seen: int) -> dict[str, int]:
        """Images by phase that a training has seen and looked at, once it saw so many and ended or was stopped."""
        looked = looks(images_seen, self.config.training.batch_size, self.every)
        return {PHASE: images_seen, VALIDATE: looked * self.validation_images}

    def plan(self, device: torch.device) -> Plan:
        """What ``tell_ahead`` takes."""
        no_part = {name: getattr(SegmentationConfig(), name) for name in ("images", "carbon", "budget", "labels")}
        depends_on = (dump_settings(replace(self.config, **no_part)), self.spec)
        return Plan(self.units(), depends_on, partial(self.forecast, device))

    def forecast(
        self, device: torch.device, meters: tuple[Meter, ...], *, after: Callable[[], None] = lambda: None
    ) -> Forecast:
        """Time, energy and memory, each with its interval; ``after`` is called after each piece of a probe."""
        return probed(partial(self._phases, device), device, meters, after=after)

    def _phases(self, device: torch.device, bench: Bench) -> Iterator[PhaseForecast]:
        units, recipe, shape = self.units(), self.recipe, self.spec.image_shape
        network = self.spec.build().to(device)
        images = bench.noise(recipe, (shape[0] - 1, *shape[1:]))
        maps = torch.randint(len(self.spec.classes), (len(images), *shape[1:]), dtype=torch.uint8)
        never = Looking(lambda _: 0.0, every=recipe.images, patience=1)
        step = bench.training(
            recipe,
            lambda alone, state, step, stop: train_segmenter(
                network, images, maps, 0, alone, never, state_path=state, log=_nowhere, step=step, stop=stop
            ),
        )
        saves_s = bench.all_saves_s(PHASE, units[PHASE] * step.s_per_unit, recipe.checkpoint_every_s)
        yield expect(PHASE, units[PHASE], "image", step, saves_s)
        watch = bench.stopwatch(units[VALIDATE] + units[TEST])
        network.eval()
        while not watch.enough():
            segment_images(network, images[: recipe.batch_size], recipe.batch_size, recipe.precision, step=watch)
        for phase in (VALIDATE, TEST):
            yield expect(phase, units[phase], "image", watch.pace())


def work_of(config: SegmentationConfig, images: ImageSet, counts: Sequence[int]) -> SegmentationWork:
    """The work on images of the kind of ``images``, so many to train on, to choose by and to test on."""
    rows = tuple(tuple(float(x) for x in row) for row in images.affine)
    spec = SegmenterSpec(
        tuple(images.voxels.shape[1:]),
        rows,
        config.segmenter,
        is_phantom=False,
        window=config.images.window or (),
        classes=images.classes,
    )
    return SegmentationWork(spec, config, *counts)


def _nowhere(record: object) -> None:
    del record
