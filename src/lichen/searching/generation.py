"""Candidates that make images: ``lichen run``, judged by the kernel distance to held-out images, and by the audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from lichen.carbon import Plan, Range, synthesis_j
from lichen.config import CarbonConfig, RunConfig
from lichen.energy import NO_READING, Energy, Interval, PhaseEnergy, total
from lichen.errors import CarbonError, ConfigError
from lichen.footprint import SYNTHESIS, TRAINING
from lichen.outlook import LEAST_SHARE, Seen, expected_of_training
from lichen.plans import plan_of
from lichen.plurals import plural
from lichen.presets import PresetName, load_preset
from lichen.processes import lichen_command
from lichen.quality.estimates import LEAST_COMPARED, LEAST_PATIENTS, Estimate
from lichen.runs import RunFolder, read_log
from lichen.searching.tasks import LEAST_S, NOTHING, Expected, Findings, energy_of, joules, of, phases_in, range_of
from lichen.selection.types import CurvePoint, Measured
from lichen.settings import fill
from lichen.whatif import footprint_in

PRESET: PresetName = "standard"
Log = Mapping[str, list[dict[str, Any]]]


class Generation:
    """The task of making images."""

    default = RunConfig()
    takes_budget = False

    def command(self, settings: Path, out: Path) -> list[str]:
        """See ``Task``."""
        return lichen_command(["run", "--config", str(settings), "--out", str(out), "--quiet"])

    def begin(self, base: yaml.Node | None, path: Path, data: Path | None, carbon: CarbonConfig) -> RunConfig:
        """See ``Task``; a preset comes first, chosen by the images, which ``base`` may name."""

        def filled(config: RunConfig) -> RunConfig:
            config = config if base is None else fill(config, base, path)
            images = config.images if data is None else replace(config.images, path=data.absolute())
            return replace(config, images=images, carbon=carbon)

        return filled(load_preset(PRESET, _axes(filled(self.default))))

    def seeded(self, config: RunConfig, seed: int) -> RunConfig:
        """See ``Task``."""
        return replace(
            config, training=replace(config.training, seed=seed), sampling=replace(config.sampling, seed=seed)
        )

    def plan(self, config: RunConfig) -> RunConfig:
        """See ``Task``."""
        return plan_of(config)

    def expect(self, config: RunConfig, planned_images: int) -> Expected:
        """See ``Task``."""
        from lichen.chain.counting import on_paper
        from lichen.chain.predicting import predict
        from lichen.training.specs import DiffusionSpec

        _check_patients(config)
        found = predict(config, samples=planned_images)
        spec, paper = found.work.spec, None
        if isinstance(spec, DiffusionSpec):
            channels, *size = spec.image_shape
            paper = on_paper(replace(found.config, images=replace(config.images, size=tuple(size))), channels)
        drawn = config.sampling.count / planned_images  # of the planned images, to be judged by
        training, synthesis = found.found.part(TRAINING), found.found.part(SYNTHESIS)
        ends = (synthesis.duration_s.low, synthesis.duration_s.estimate, synthesis.duration_s.high)
        return Expected(
            training_j=range_of(training.energy),
            synthesis_j=range_of(synthesis.energy),
            duration_s=training.duration_s + Interval(*(drawn * end for end in ends)),
            peak_memory_bytes=found.peak_memory_bytes,
            parameters=None if paper is None else paper.parameters,
            training_flop=None if paper is None else paper.training_flop,
        )

    def find(self, config: RunConfig, folder: RunFolder, planned_images: int) -> Findings:
        """See ``Task``."""
        summary, log = folder.read_summary(), read_log(folder.log)
        if summary is not None and summary.get("state") == "finished":
            with folder.summary_in_use():
                return _of_summary(summary, config, folder, planned_images, log)
        phases = phases_in(folder)
        training, training_s = of(phases, TRAINING)
        return replace(
            NOTHING,
            training=training,
            rest=_rest(phases, log, config),
            training_s=training_s,
            spent_j=joules(of(phases, tuple(phases))[0]),
            curve=_curve(log, config, {name: joules(phase.total) for name, phase in phases.items()}),
        )


def _check_patients(config: RunConfig) -> None:
    """Raise ConfigError where candidates could be trained and not be judged."""
    from lichen.images import open_source, split_by_patient

    images = config.images
    sides = split_by_patient(open_source(images), images.held_out_fraction, images.split_seed, images.patients)
    train, held_out = (len({item.patient for item in side}) for side in sides)
    if min(train, held_out) < LEAST_PATIENTS:
        raise ConfigError(
            f"candidates would be judged by {plural(held_out, 'held-out patient')} beside {train} of training, and a "
            f"kernel distance takes {LEAST_PATIENTS} of each",
            fix="give images of more patients, or another images.held_out_fraction in 'base'",
        )


def _of_summary(
    summary: Mapping[str, Any], config: RunConfig, folder: RunFolder, planned_images: int, log: Log
) -> Findings:
    phases = summary["energy"]["phases"]
    mine = [phase for phase in phases if phase["phase"] in TRAINING]
    training = energy_of(mine)
    distance, copies = summary["quality"]["kernel_distance"], summary["audit"]["copy_rate"]
    measured = None
    if distance is not None:
        found = Estimate(**distance["synthetic"])
        measured = Measured(found.value, found.low, found.high, joules(training))
    return Findings(
        state="finished",
        training=training,
        rest=Energy(0.0, 0.0, 0.0),
        training_s=sum(phase["duration_s"] for phase in mine),
        spent_j=joules(energy_of(phases)),
        synthesis_j=_planned(folder, config, planned_images),
        curve=_curve(log, config, {phase["phase"]: phase["energy_j"] or 0.0 for phase in mine}),
        measured=measured,
        parameters=None,
        training_flop=None,
        copy_rate=None if copies is None else copies["high"],
        unmeasured="" if measured is not None else _unmeasured(summary["images"], config.sampling.count),
    )


def _unmeasured(images: Mapping[str, Any], drawn: int) -> str:
    """Why there is no kernel distance."""
    have = ((images["train_patients"], "training"), (images["held_out_patients"], "held-out"))
    few = [plural(count, f"{which} patient") for count, which in have if count < LEAST_PATIENTS]
    few += [plural(drawn, "image") + " drawn"] if drawn < LEAST_COMPARED else []
    return (
        f"a kernel distance takes {LEAST_PATIENTS} training and as many held-out patients, and {LEAST_COMPARED} images "
        f"drawn; there are {' and '.join(few) or 'fewer'}"
    )


def _planned(folder: RunFolder, config: RunConfig, planned_images: int) -> Range | None:
    """The planned images, by the energy of those that were drawn."""
    try:
        return synthesis_j(footprint_in(folder, config), Plan(images=planned_images))
    except CarbonError:  # nothing was measured
        return None


def _curve(log: Log, config: RunConfig, spent_j: Mapping[str, float]) -> tuple[CurvePoint, ...]:
    """Quality by what was spent, from the probes of the last training; its energy grows with the images it saw."""
    last, planned = list(config.trainings.items())[-1]
    before_j = sum(spent_j.get(phase, 0.0) for phase in TRAINING if phase != last)
    seen = max((record["images_seen"] for record in log.get(last, [])), default=planned)
    return tuple(
        CurvePoint(before_j + spent_j.get(last, 0.0) * min(1.0, record["images_seen"] / seen), record["distance"])
        for record in log.get("probe", [])
        if "distance" in record
    )


def _rest(phases: Mapping[str, PhaseEnergy], log: Log, config: RunConfig) -> Energy:
    """What is left of training: each of them by its own pace; no reading while one is too new, or did not begin."""
    rest = []
    for phase, planned in config.trainings.items():
        seen = max((record["images_seen"] for record in log.get(phase, [])), default=0)
        share = min(1.0, seen / planned)
        spent = phases[phase].total if phase in phases else NO_READING
        now = spent.bounds_j()
        if share < LEAST_SHARE or now is None or phases[phase].duration_s < LEAST_S:
            return NO_READING
        whole = expected_of_training(spent, Seen(share, 0.0), Seen(1.0, 0.0)).bounds_j()
        assert whole is not None
        rest.append(Energy(*(max(0.0, end - begun) for end, begun in zip(whole, now, strict=True))))
    return total(rest)


def _axes(config: RunConfig) -> int:
    if config.images.path is None:
        return int(config.images.phantoms[0])
    from lichen.images import open_source

    return open_source(config.images).spatial_dims
