"""A segmentation from end to end: train until it improves no more, then test, with the energy of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from lichen.chain.begin import at_work, holding, keep_config
from lichen.chain.data import bind_images, load_few
from lichen.chain.expecting import tell_ahead
from lichen.chain.lesson import lesson, score
from lichen.chain.out_of_memory import explaining, segmenting_does_not_fit
from lichen.chain.parts import Parts, grid_of, open_labelled, read_parts, split_in_three
from lichen.chain.segmenting_ahead import PHASE, TEST, VALIDATE, SegmentationWork, work_of
from lichen.chain.segmenting_summary import Outcome, summarise
from lichen.chain.watched import watched
from lichen.config import SegmentationConfig
from lichen.energy import Forecast, find_meters, read_traces, total
from lichen.errors import BudgetError
from lichen.outlook import LEAST_SHARE
from lichen.progress import Step
from lichen.report import write_report
from lichen.runs import RunFolder
from lichen.stopping import Asked
from lichen.team import ALONE
from lichen.training.loop import Log
from lichen.training.segmenter import (
    EndedBy,
    Trained,
    ended_by,
    state_of,
)
from lichen.training.segmenter_file import Segmenter, save_segmenter
from lichen.training.state import images_seen
from lichen.watch import Watch, watching


def segment(config: SegmentationConfig, folder: RunFolder, *, command: str, quiet: bool = False) -> dict[str, Any]:
    """Train a segmenter in ``folder``, test it, and report; return the summary. Repeating it resumes.

    A budget that is reached ends the training: the best weights so far are tested, and the summary's state is "cut".
    The same with a larger budget goes on from there.

    Raises:
        LichenError: something that was given cannot be used; what is in the folder stays as it was.
        BudgetError: the budget was spent before training.
    """
    with (
        holding(folder, ALONE),
        at_work(config.training, ALONE) as device,
        explaining(lambda: segmenting_does_not_fit(config, device)),
    ):
        keep_config(config, folder)
        with watching(folder.path, config.carbon, quiet=quiet, budget=config.budget) as watch:
            parts = read_parts(config, watch)
            bind_images(folder, *parts.each.values())
            work = work_of(config, parts.train, [len(part.names) for part in parts.each.values()])
            done = work.done(images_seen(folder.training_state(PHASE)))
            tell_ahead(work.plan(device), done, folder.forecasts, device, watch, may_end_early=True)
            segmenter, outcome = _trained(work, parts, folder, device, watch)
            save_segmenter(folder.segmenter, segmenter)
            with watch.phase(TEST, len(parts.test.names), may_stop=False) as step:
                scores = score(segmenter.network, parts.test, config.training, step=step)
        folder.write_summary(summarise(work, folder, parts, segmenter, outcome, scores, command))
        write_report(folder.path)
    return folder.require_summary()


def forecast_segmentation(config: SegmentationConfig) -> Forecast:
    """Time, energy and memory of a segmentation with these settings, trained to its whole length.

    One image is decoded, for its channels, or a few where some may be bad; of all others only number and size are used.

    Raises:
        LichenError: a setting or an image cannot be used.
    """
    with at_work(config.training, ALONE) as device, explaining(lambda: segmenting_does_not_fit(config, device)):
        source = open_labelled(config)
        parts = split_in_three(config, source)
        few = load_few(config.images, source, grid_of(config, source), parts[0])
        return work_of(config, few, list(map(len, parts))).forecast(device, find_meters(whole_machine=True))


def _trained(
    work: SegmentationWork, parts: Parts, folder: RunFolder, device: torch.device, watch: Watch
) -> tuple[Segmenter, Outcome]:
    """The segmenter with its best weights, trained as long as patience, length and budget allow."""
    recipe, learner = work.recipe, lesson(work, parts.train, parts.validation, device, watch)

    def learn(state: Path, log: Log, step: Step, stop: Asked) -> Trained:
        spent = _spent_on_training(folder, watch)

        def log_with_energy(record: Mapping[str, float | int | str]) -> None:
            joules = spent()
            log(record if joules is None else {**record, "spent_j": joules})

        return learner.learn(state, log_with_energy, step, stop)

    own_pace_from = min(1.0, max(LEAST_SHARE, work.every / recipe.images))
    try:
        stood = watched(recipe, (), folder, watch, learn, also=[VALIDATE], own_pace_from=own_pace_from)
        end: EndedBy | Literal["budget"] = ended_by(stood.images_seen, stood.best, recipe, learner.looking) or "length"
    except BudgetError as spent:
        watch.tell(f"{spent.problem}; what was learned so far is tested")
        stood, end = state_of(folder.training_state(PHASE), learner.network, recipe), "budget"
    best = learner.take_best(stood)
    outcome = Outcome(min(stood.images_seen, recipe.images), best.kept.images_seen, best.dice, end)
    return Segmenter(work.spec, learner.network), outcome


def _spent_on_training(folder: RunFolder, watch: Watch) -> Callable[[], float | None]:
    """What tells the joules of the training so far, by all its processes; begun within it. None without a meter."""
    phases = [phase.total for phase in read_traces(folder.traces) if phase.phase in {PHASE, VALIDATE}]
    earlier_j, begun_j = total(phases).energy_j or 0.0, watch.trace.spent().energy_j or 0.0

    def spent() -> float | None:
        now_j = watch.trace.spent().energy_j
        return None if now_j is None else earlier_j + now_j - begun_j

    return spent
