"""Where the real work of a run is timed and its energy read before the run: a stopwatch, and a training cut short."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch

from lichen.energy import Meter, Pace, Stopwatch
from lichen.progress import Step
from lichen.stopping import Asked, Stopped, deferred
from lichen.team import Team
from lichen.training.loop import Recipe

CutShort = Callable[[Recipe, Path, Step, Asked], object]
"""A training by (recipe, state, step, stop)."""


class Bench:
    """What the probes of one forecast share. ``after`` is called after each piece of work, and may end it."""

    def __init__(
        self, device: torch.device, meters: tuple[Meter, ...], team: Team, scratch: Path, after: Callable[[], None]
    ) -> None:
        self.device, self.team, self.scratch = device, team, scratch
        self._meters, self._after = meters, after
        self.saves_s: dict[str, float] = {}
        """How long it took to write the state of each training, by its phase."""

    def stopwatch(self, planned: float) -> Stopwatch:
        """What times pieces of work of which so many are ``planned``."""
        synchronise = torch.cuda.synchronize if self.device.type == "cuda" else _at_once
        return Stopwatch(self._meters, planned, synchronise=synchronise, after=self._after)

    def training(self, recipe: Recipe, train: CutShort, *, cycle: int = 1) -> Pace:
        """The pace of ``train`` at this process's part of each batch; ended once it is known, and its state saved.

        Of steps that differ, ``cycle`` after each other are all that there are, and are timed together.
        """
        # the first optimiser of a process loads a large part of PyTorch, for seconds that are no step's
        torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
        watch, part = self.stopwatch(recipe.images), self.team.part(recipe.batch_size)
        alone = replace(recipe, batch_size=max(1, part.stop - part.start))

        done: list[float] = []

        def step(images: int) -> None:
            done.append(images * recipe.batch_size / alone.batch_size)
            if len(done) == cycle:
                watch(sum(done))
                done.clear()

        with deferred() as asked, suppress(Stopped):  # a signal's own exception would look like the end of the probe

            def stop() -> bool:
                return watch.enough() or asked()

            train(alone, self.scratch / f"{recipe.phase}.safetensors", step, stop)
        watch(sum(done))  # of a training that ended before a cycle did
        self.saves_s[recipe.phase] = watch.since_end_s()
        return watch.pace()

    def noise(self, recipe: Recipe, shape: tuple[int, ...]) -> torch.Tensor:
        """Examples (N, *shape) to train on: no step's time depends on what is in them."""
        return torch.randn(2 * recipe.batch_size, *shape).clamp_(-1, 1)

    def all_saves_s(self, phase: str, duration_s: float, every_s: float) -> float:
        """What saving takes in a phase of ``duration_s``, once in ``every_s`` and at the end."""
        save_s = self.saves_s.get(phase, 0.0)
        return save_s * (1 + math.floor(duration_s / every_s)) if save_s else 0.0


def _at_once() -> None:
    """A CPU has done its work when it says so."""
