"""Candidates that draw label maps: ``lichen segment``, judged by Dice's coefficient on patients who chose nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from lichen.carbon import Range
from lichen.config import CarbonConfig, SegmentationConfig
from lichen.energy import NO_READING, Energy
from lichen.footprint import TRAINING
from lichen.outlook import LEAST_SHARE, Seen, expected_of_training
from lichen.processes import lichen_command
from lichen.runs import RunFolder, read_log
from lichen.searching.tasks import LEAST_S, NOTHING, Expected, Findings, energy_of, joules, of, phases_in, range_of
from lichen.selection.types import CurvePoint, Measured
from lichen.settings import fill

PHASE = "segmenter"


class Segmentation:
    """The task of drawing label maps."""

    default = SegmentationConfig()
    takes_budget = True

    def command(self, settings: Path, out: Path) -> list[str]:
        """See ``Task``."""
        return lichen_command(["segment", "--config", str(settings), "--out", str(out), "--quiet"])

    def begin(self, base: yaml.Node | None, path: Path, data: Path | None, carbon: CarbonConfig) -> SegmentationConfig:
        """See ``Task``."""
        config = self.default if base is None else fill(self.default, base, path)
        images = config.images if data is None else replace(config.images, path=data.absolute())
        return replace(config, images=images, carbon=carbon)

    def seeded(self, config: SegmentationConfig, seed: int) -> SegmentationConfig:
        """See ``Task``."""
        return replace(config, training=replace(config.training, seed=seed))

    def plan(self, config: SegmentationConfig) -> SegmentationConfig:
        """See ``Task``; which patients are where changes little, and how many does not change."""
        images = replace(config.images, split_seed=0)
        return replace(self.seeded(config, 0), images=images)

    def expect(self, config: SegmentationConfig, planned_images: int) -> Expected:
        """See ``Task``; the low end is that of a training that ends as early as its patience allows."""
        from lichen.chain.segmenting import forecast_segmentation

        del planned_images
        found = forecast_segmentation(config)
        whole = range_of(found.part(TRAINING).energy)
        least = _least_share(config)
        return Expected(
            training_j=None if whole is None else Range(least * whole.low, whole.estimate, whole.high),
            synthesis_j=None,
            duration_s=found.duration_s,
            peak_memory_bytes=found.peak_memory_bytes,
            parameters=None,
            training_flop=None,
        )

    def find(self, config: SegmentationConfig, folder: RunFolder, planned_images: int) -> Findings:
        """See ``Task``."""
        del planned_images
        summary = folder.read_summary()
        records = read_log(folder.log).get(PHASE, [])
        curve = tuple(_points(records))
        if summary is not None:
            with folder.summary_in_use():
                return _of_summary(summary, curve)
        phases = phases_in(folder)
        training, training_s = of(phases, TRAINING)
        seen = max((record["images_seen"] for record in records), default=0)
        return replace(
            NOTHING,
            training=training,
            rest=_rest(training, seen / config.training.images_seen) if training_s >= LEAST_S else NO_READING,
            training_s=training_s,
            spent_j=joules(of(phases, tuple(phases))[0]),
            curve=curve,
        )


def _of_summary(summary: Mapping[str, Any], curve: tuple[CurvePoint, ...]) -> Findings:
    phases, found = summary["energy"]["phases"], summary["segmentation"]
    mine = [phase for phase in phases if phase["phase"] in TRAINING]
    training, dice = energy_of(mine), found["dice"]
    measured = None
    if dice["estimate"] is not None:
        if not 0 <= dice["estimate"] <= 1:
            raise ValueError(f"its Dice is {dice['estimate']}")
        measured = Measured(dice["estimate"], dice["low"], dice["high"], joules(training))
    return Findings(
        state="finished" if summary["state"] == "finished" else "cut",
        training=training,
        rest=_rest(training, found["images_seen"] / found["planned_images_seen"]),
        training_s=sum(phase["duration_s"] for phase in mine),
        spent_j=joules(energy_of(phases)),
        synthesis_j=None,
        curve=curve,
        measured=measured,
        parameters=int(summary["model"]["parameters"]),
        training_flop=found["training_flop"],
        copy_rate=None,
        unmeasured="" if measured is not None else "no class is on the label maps of the patients of the test",
    )


def _points(records: Iterable[Mapping[str, Any]]) -> Iterator[CurvePoint]:
    """What the looks of a log say; without a meter they say no energy, and of a damaged log some say nothing."""
    for record in records:
        try:
            yield CurvePoint(record["spent_j"], record["validation_dice"])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue


def _rest(training: Energy, share: float) -> Energy:
    """What a training of which a ``share`` is done takes until its whole length; it may end at any moment before."""
    if not LEAST_SHARE <= share <= 1:
        return NO_READING
    whole = expected_of_training(training, Seen(share, 0.0), Seen(1.0, 0.0)).bounds_j()
    now = training.bounds_j()
    return NO_READING if whole is None or now is None else Energy(0.0, whole[1] - now[1], whole[2] - now[2])


def _least_share(config: SegmentationConfig) -> float:
    """Of the whole length: a first look, and as many as patience has without a better one."""
    from lichen.chain.parts import open_labelled, split_in_three

    every = config.training.validate_every or len(split_in_three(config, open_labelled(config))[0])
    return min(1.0, (config.training.patience + 1) * every / config.training.images_seen)
