"""A training of a run, watched: its energy goes to the trace, its losses to the log, and it may be stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from lichen.config import AutoencoderConfig, MirrorName, TrainingConfig
from lichen.mirror import mirroring
from lichen.outlook import LEAST_SHARE
from lichen.progress import Step
from lichen.runs import RunFolder
from lichen.stopping import Asked, Stopped, deferred
from lichen.training.loop import Log, Recipe
from lichen.training.state import images_seen
from lichen.watch import Watch

T = TypeVar("T")


def recipe_for(phase: str, own: AutoencoderConfig | TrainingConfig, common: TrainingConfig) -> Recipe:
    """The recipe of a phase: length and speed are its ``own``, the rest is ``common`` to both."""
    return Recipe(
        phase=phase,
        images=own.images_seen,
        batch_size=own.batch_size,
        learning_rate=own.learning_rate,
        ema_images=common.ema_images,
        gradient_clip=common.gradient_clip,
        precision=common.precision,
        seed=common.seed,
        checkpoint_every_s=common.checkpoint_every_s,
    )


def watched(
    recipe: Recipe,
    mirrors: tuple[MirrorName, ...],
    folder: RunFolder,
    watch: Watch,
    training: Callable[[Path, Log, Step, Asked], T],
    *,
    also: Sequence[str] = (),
    own_pace_from: float = LEAST_SHARE,
) -> T:
    """What ``training`` (state, log, step, stop) returns; asked to stop, it ends after its step and saves its state.

    The losses also go to the ``mirrors``. ``also`` names phases within, and from a share ``own_pace_from`` on the bar
    believes the pace of the training at hand.

    Raises:
        BudgetError: the budget is spent; the state is saved.
    """
    names = mirrors if watch.team.leads else ()
    state = folder.training_state(recipe.phase)
    done = min(images_seen(state), recipe.images)
    load_optimizers()
    bar = watch.phase(recipe.phase, recipe.images, done=done, may_stop=False, also=also, own_pace_from=own_pace_from)
    with deferred() as stop, mirroring(names, folder) as mirror, bar as step:

        def log(record: Mapping[str, float | int | str]) -> None:
            folder.append_log(record)
            mirror(record)

        try:
            return training(state, log, step, watch.asked(stop))
        except Stopped:
            if not stop() and (spent := watch.over_budget()) is not None:
                raise spent from None
            raise


def load_optimizers() -> None:
    """PyTorch compiles nothing here, but its first optimiser loads what could: no part of the training, and counted as
    one where a training is resumed and nothing was probed before.
    """
    import torch

    torch.optim.Adam([torch.zeros(1, requires_grad=True)])
