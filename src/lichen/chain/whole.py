"""The chain from end to end, and its first links alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lichen.chain.auditing import audit_samples, check_scores
from lichen.chain.begin import at_work, begin, holding
from lichen.chain.data import Data, read_images
from lichen.chain.expecting import look_ahead, look_ahead_of_samples
from lichen.chain.fitting import table_of_run, within_memory
from lichen.chain.judging import judge_quality, quality_steps
from lichen.chain.out_of_memory import explaining, sampling_does_not_fit, training_does_not_fit
from lichen.chain.training import train_generator
from lichen.config import MemoryConfig, RunConfig, SamplingConfig
from lichen.footprint import SYNTHESIS
from lichen.report import write_report
from lichen.runs import RunFolder
from lichen.samplers import check_sampling
from lichen.sampling import draw_samples, images_drawn, missing_samples
from lichen.summary import summarise
from lichen.team import ALONE, Team
from lichen.training.generator import Generator, load_generator
from lichen.training.specs import GeneratorSpec
from lichen.watch import Watch, watching


def run(
    config: RunConfig, folder: RunFolder, *, command: str, quiet: bool = False, team: Team = ALONE
) -> dict[str, Any]:
    """Train, sample, measure, audit and report in ``folder``; return the summary. Repeating it resumes.

    In a ``team`` the process that leads judges and reports.

    Raises:
        LichenError: something that was given cannot be used; what is in the folder stays as it was.
    """
    check_scores(config.audit)
    with holding(folder, team), at_work(config.training, team) as device:
        config = begin(config, folder, team)
        with watching(folder.path, config.carbon, quiet=quiet, team=team, budget=config.budget) as watch:
            data = read_images(config, watch)
            config = within_memory(config, data, folder, device, watch)
            generator = _trained(config, data, folder, device, watch)
            draw_missing(generator, config.sampling, folder.samples, watch)
            audited = audit_samples(config, data, folder, generator, watch)
            result, synthetic = audited.result, audited.synthetic
            if team.leads:
                with watch.phase("quality", quality_steps(generator, data, synthetic)) as step:
                    quality = judge_quality(generator, data, synthetic, step)
            team.wait()  # until the others' traces are whole but for their end
        if team.leads:
            folder.write_summary(summarise(config, folder, data, generator, result, quality, command))
            write_report(folder.path)
        team.wait()
    return folder.require_summary()


def train_only(config: RunConfig, folder: RunFolder, *, quiet: bool = False, team: Team = ALONE) -> Path:
    """Train the generator in ``folder`` and return the path of its checkpoint. Repeating it resumes."""
    with holding(folder, team), at_work(config.training, team) as device:
        config = begin(config, folder, team)
        with watching(folder.path, config.carbon, quiet=quiet, team=team, budget=config.budget) as watch:
            data = read_images(config, watch)
            config = within_memory(config, data, folder, device, watch)
            _trained(config, data, folder, device, watch, samples=False)
    return folder.generator


def _trained(
    config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch, *, samples: bool = True
) -> Generator:
    """The finished generator, with the forecast before it."""
    with explaining(lambda: training_does_not_fit(table_of_run(config, data, folder, device, watch))):
        look_ahead(config, data, folder, device, watch, samples=samples)
        return train_generator(config, data, folder, device, watch)


def sample_only(
    checkpoint: Path,
    config: SamplingConfig,
    folder: Path,
    device: torch.device,
    watch: Watch,
    memory: MemoryConfig = MemoryConfig(),  # noqa: B008 (frozen)
) -> tuple[GeneratorSpec, int]:
    """Draw the samples of ``checkpoint`` that ``folder`` lacks; return what it is, and how many that were.

    Raises ConfigError for settings that the checkpoint's kind of generator does not know.
    """
    generator = load_generator(checkpoint, device, memory.budget_bytes)
    check_sampling(config, generator.spec.objective)
    with explaining(lambda: sampling_does_not_fit(config, device)):
        look_ahead_of_samples(generator, config, memory, folder, device, watch)
    return generator.spec, draw_missing(generator, config, folder, watch)


def draw_missing(generator: Generator, config: SamplingConfig, folder: Path, watch: Watch) -> int:
    """Draw the samples that ``folder`` lacks, under one bar for both phases; return how many that were."""
    missing, team = missing_samples(folder, generator, config), watch.team
    team.wait()  # all have looked before one draws
    if missing:
        bar = watch.bar("sampling", images_drawn(missing, config, team), SYNTHESIS)
        with explaining(lambda: sampling_does_not_fit(config, generator.device)), bar as step:
            draw_samples(generator, missing, config, folder, phase=watch.trace.phase, step=step, team=team)
    team.wait()
    return len(missing)
