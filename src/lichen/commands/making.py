"""From images to a generator to samples: init, images, run, train, sample."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from lichen.arguments import parse
from lichen.commands.common import as_typed, preset_for, say, settings_of, settings_of_run, show
from lichen.plurals import plural
from lichen.team import joined

if TYPE_CHECKING:
    from lichen.options import SampleOptions


def init(arguments: list[str]) -> int:
    """Write a file with every setting, its default and its reason."""
    from lichen.options import InitOptions

    options = parse(InitOptions, "init", arguments)
    from lichen.config import ImagesConfig
    from lichen.errors import ConfigError
    from lichen.files import write_text
    from lichen.settings import dump_settings

    if options.path.exists():
        raise ConfigError(f"{options.path} exists already", fix="give another name, e.g. lichen init mine.yaml")
    images = ImagesConfig(path=options.images, phantoms=options.phantoms)
    preset = preset_for(options.preset, images)
    images = dataclasses.replace(preset.images, path=options.images, phantoms=options.phantoms)
    write_text(options.path, dump_settings(dataclasses.replace(preset, images=images), comments=True))
    say(f"wrote {options.path}\nnext:  lichen run --config {shlex.quote(str(options.path))}")
    return 0


def images(arguments: list[str]) -> int:
    """Say what would be read of a folder of images."""
    from lichen.options import ImagesOptions

    options = parse(ImagesOptions, "images", arguments)
    from lichen.images import check_name, open_source, survey, write_montage
    from lichen.progress import Progress
    from lichen.words import survey_lines

    if options.montage is not None:
        check_name(options.montage)
    config = dataclasses.replace(options.images, path=options.path, skip_bad=True)
    source = open_source(config)
    with Progress("read", len(source.items), quiet=options.quiet) as step:
        found = survey(source, config, step=step)
    shown = 0
    if options.montage is not None and found.images:
        classes = tuple(label for label, _ in found.classes)
        shown = write_montage(options.montage, source.items, config.window, classes)
    lines = survey_lines(found, options.montage if shown else None)
    show(options.json, {**found.as_json(), "montage": str(options.montage) if shown else None}, lines)
    return 0 if found.images else 2


def run(arguments: list[str]) -> int:
    """Train, sample, measure, audit and report in one run folder."""
    from lichen.options import RunOptions

    options, config = settings_of(RunOptions, arguments, "run")
    from lichen.audit.result import EXIT_CODES
    from lichen.chain import run as run_chain
    from lichen.runs import RunFolder
    from lichen.words import in_ten_lines

    folder = RunFolder(options.out)
    with joined() as team:
        summary = run_chain(config, folder, command=as_typed("run", arguments), quiet=options.quiet, team=team)
    if not team.leads:
        return 0
    show(options.json, summary, in_ten_lines(summary, folder.path))
    return EXIT_CODES[summary["audit"]["verdict"]]


def train(arguments: list[str]) -> int:
    """Train a generator and stop there."""
    from lichen.options import TrainOptions

    options, config = settings_of(TrainOptions, arguments, "train")
    from lichen.chain import train_only
    from lichen.runs import RunFolder

    with joined() as team:
        path = train_only(config, RunFolder(options.out), quiet=options.quiet, team=team)
    if not team.leads:
        return 0
    next_command = shlex.join(["lichen", "sample", str(options.out)])
    show(options.json, {"generator": str(path)}, f"trained  {path}\nnext     {next_command}")
    return 0


def sample(arguments: list[str]) -> int:
    """Draw synthetic images from a trained generator."""
    from lichen.options import SampleOptions

    options = parse(SampleOptions, "sample", arguments)
    stored, default = settings_of_run(options.model), SampleOptions(options.model)
    if stored is not None:  # what the run said is the default
        default = SampleOptions(
            options.model,
            sampling=stored.sampling,
            carbon=stored.carbon,
            budget=stored.budget,
            memory=stored.memory,
        )
        options = parse(SampleOptions, "sample", arguments, default)
    from lichen.chain import at_work, holding, sample_only
    from lichen.config import TrainingConfig
    from lichen.runs import RunFolder
    from lichen.sampling import begun_settings, drawn_with, how_drawn, read_tuned
    from lichen.watch import watching

    is_run = options.model.is_dir()
    checkpoint = RunFolder(options.model).generator if is_run else options.model
    folder = options.out or (RunFolder(options.model).samples if is_run else options.model.with_name("samples"))
    if options.tune:
        return _tune(options, checkpoint)
    is_own = is_run and options.out is None
    settings, tuned = begun_settings(folder, options.sampling), None
    if settings is None and not is_own:  # a run's own samples are as its config.yaml says
        tuned = read_tuned(checkpoint)
        settings = None if tuned is None else tuned.settings(options.sampling)
    if settings is not None:  # options that were given replace them
        options = parse(SampleOptions, "sample", arguments, dataclasses.replace(default, sampling=settings))
    # the trace of a run's samples belongs to the run; that of a folder of its own, beside the images
    home = RunFolder(options.model if is_own else folder)
    with joined() as team:
        watch_with = watching(home.path, options.carbon, quiet=options.quiet, team=team, budget=options.budget)
        with at_work(TrainingConfig(device=options.device), team) as device, holding(home, team), watch_with as watch:
            spec, drawn = sample_only(checkpoint, options.sampling, folder, device, watch, options.memory)
            cost = watch.grams_spent()
    if not team.leads:
        return 0
    if is_run:
        next_command = ["lichen", "audit", "--run", str(options.model), "--synthetic", str(folder), "--out", "AUDIT"]
    else:
        next_command = ["lichen", "audit", "--help"]
    sampling = options.sampling
    result = {"folder": str(folder), "count": sampling.count, "drawn": drawn, **drawn_with(spec, sampling)}
    how = how_drawn(spec, sampling)
    how += ", as the checkpoint was tuned" if tuned is not None and tuned.settings(sampling) == sampling else ""
    lines = [
        f"samples  {plural(sampling.count, 'synthetic image')} in {folder}, {drawn} of them drawn now",
        f"by       {how}",
        f"cost     {cost or 'not measured'}",
        f"next     {shlex.join(next_command)}",
        "         before anybody sees them: a copy of a training image is an image of a patient",
    ]
    show(options.json, result, "\n".join(lines))
    return 0


def _tune(options: SampleOptions, checkpoint: Path) -> int:
    from tempfile import TemporaryDirectory

    from lichen.chain import at_work, holding
    from lichen.chain.tuning import tune
    from lichen.chain.tuning_words import as_json, in_words
    from lichen.config import TrainingConfig
    from lichen.runs import RunFolder
    from lichen.watch import watching

    # tuning belongs to the run; a checkpoint of nowhere leaves no trace beside it
    with joined() as team, TemporaryDirectory(prefix="lichen-") as scratch:
        home = RunFolder(options.model if options.model.is_dir() else Path(scratch))
        watch_with = watching(home.path, options.carbon, quiet=options.quiet, team=team, budget=options.budget)
        with at_work(TrainingConfig(device=options.device), team) as device, holding(home, team), watch_with as watch:
            reference, images = options.tuning.reference, options.tuning.images
            found = tune(checkpoint, options.sampling, reference, images, device, watch, options.memory)
            grams = watch.grams_spent()
    show(options.json, as_json(found), in_words(found, options.sampling.count, grams))
    return 0
