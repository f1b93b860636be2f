"""The chain: images -> autoencoder -> latents -> denoiser -> samples -> audit, quality -> summary and report.

This is where the rooms meet. Every function here is one link; each leaves its result in the run folder and finds it
there when the same command is repeated.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lichen.audit import AuditResult, audit, find_score, write_audit
from lichen.audit.checks import check_apart, fingerprints
from lichen.config import AuditConfig, AutoencoderConfig, MirrorName, RunConfig, SamplingConfig, TrainingConfig
from lichen.diffusion import make_alphas_cumprod
from lichen.errors import DependencyError, ImageError, RunError
from lichen.files import sha256_of, write_text
from lichen.images import (
    Fit,
    ImageSet,
    Skipped,
    Source,
    choose_size,
    load_set,
    open_folder,
    open_source,
    split_by_patient,
    stored_window,
)
from lichen.mirror import check_mirrors, mirroring
from lichen.models import autoencoder as autoencoders
from lichen.models import denoiser as denoisers
from lichen.progress import Step
from lichen.quality import LEAST_PATIENTS, KernelDistance, kernel_distance
from lichen.report import write_report
from lichen.runs import RunFolder
from lichen.sampling import draw_samples, images_drawn, missing_samples
from lichen.seeds import mix_seed
from lichen.settings import dump_settings, flatten, load_settings
from lichen.stopping import deferred
from lichen.summary import summarise
from lichen.team import ALONE, Team
from lichen.training.autoencoder import Latents, autoencoder_loss, encode_set, reconstruction_l1
from lichen.training.denoiser import denoiser_loss
from lichen.training.generator import Generator, GeneratorSpec, load_generator, save_generator
from lichen.training.loop import Loss, Recipe, train
from lichen.watch import Watch, watching

LEAST_COMPARED = 16
"""Fewer synthetic images say nothing of a distance, and as few training images may be of too few patients."""
MOST_RESTORED = 64
"""Held-out images on which the autoencoder's error is measured."""

if TYPE_CHECKING:
    from lichen.options import AuditOptions

SHAPING = {"images", "autoencoder", "denoiser", "training"}
"""Sections whose settings shape the weights: they cannot change once there are some."""
FREE = {
    "training.checkpoint_every_s",
    "training.device",
    "training.mirror",
    "training.threads",
    "images.cache_dir",
    "images.path",
    "sampling.count",
}
"""Settings that shape neither weights nor samples; the images themselves are bound by their hash."""


@dataclass(frozen=True)
class Data:
    """The images of a run, split by patient."""

    source: Source
    train: ImageSet
    held_out: ImageSet

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """Images that were left out because they cannot be used."""
        return (*self.source.skipped, *self.train.skipped, *self.held_out.skipped)


def run(
    config: RunConfig, folder: RunFolder, *, command: str, quiet: bool = False, team: Team = ALONE
) -> dict[str, Any]:
    """Train, sample, measure, audit and report in ``folder``; return the summary. Repeating it resumes.

    In a ``team`` the process that leads judges and reports.

    Raises:
        LichenError: something that was given cannot be used; what is in the folder stays as it was.
    """
    check_scores(config.audit)
    with holding(folder, team):
        begin(config, folder, team)
        device = set_up(config.training, team)
        with watching(folder.path, config.carbon, quiet=quiet, team=team) as watch:
            data = read_images(config, watch)
            generator = train_generator(config, data, folder, device, watch)
            draw_missing(generator, config.sampling, folder.samples, watch)
            synthetic, result = audit_samples(config, data, folder, watch)
            if team.leads:
                with watch.phase("quality", quality_steps(data, synthetic)) as step:
                    quality = judge_quality(generator, data, synthetic, step)
            team.wait()  # until the others' traces are whole but for their end
        if team.leads:
            folder.write_summary(summarise(config, folder, data, generator, result, quality, command))
            write_report(folder.path)
        team.wait()
    return folder.require_summary()


def train_only(config: RunConfig, folder: RunFolder, *, quiet: bool = False, team: Team = ALONE) -> Path:
    """Train the generator in ``folder`` and return the path of its checkpoint. Repeating it resumes."""
    with holding(folder, team):
        begin(config, folder, team)
        device = set_up(config.training, team)
        with watching(folder.path, config.carbon, quiet=quiet, team=team) as watch:
            train_generator(config, read_images(config, watch), folder, device, watch)
    return folder.generator


@contextmanager
def holding(folder: RunFolder, team: Team) -> Iterator[None]:
    """Keep other jobs out of ``folder``, and clear away what a killed one left half written."""
    with folder.lock() if team.leads else nullcontext():
        if team.leads:
            folder.clear_partial()
        team.wait()
        yield


def begin(config: RunConfig, folder: RunFolder, team: Team) -> None:
    """Keep the settings, once for the team, if they can be worked with at all."""
    check_mirrors(config.training.mirror)
    if team.leads:
        keep_config(config, folder)
    team.wait()


def sample_only(checkpoint: Path, config: SamplingConfig, folder: Path, device: torch.device, watch: Watch) -> int:
    """Draw the samples of ``checkpoint`` that ``folder`` lacks; return how many that were."""
    return draw_missing(load_generator(checkpoint, device), config, folder, watch)


def keep_config(config: RunConfig, folder: RunFolder) -> None:
    """Write the settings into a new run folder; refuse in an old one what would make other weights or samples."""
    trained = any(path for path in folder.checkpoints.glob("*.safetensors") if not path.name.startswith("."))
    if trained and not folder.config.exists():
        raise RunError(
            f"{folder.path} holds weights and no config.yaml, so nobody knows how they were made",
            fix="bring its config.yaml back, or choose another folder with --out",
        )
    if folder.config.exists():
        before = dict(flatten(load_settings(folder.config, RunConfig())))
        sampled = any(folder.samples.glob("sample-*"))
        for name, value in flatten(config):
            section = name.partition(".")[0]
            fixed = (trained and section in SHAPING) or (sampled and section == "sampling")
            if fixed and name not in FREE and before[name] != value:
                raise RunError(
                    f"{folder.path} holds a run with {name} {_words(before[name])}, now it is {_words(value)}",
                    fix="use the old value, or choose another folder with --out",
                )
    folder.write_config(dump_settings(config))


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def set_up(config: TrainingConfig, team: Team) -> torch.device:
    """Set the number of threads and return the device to work on: in a team, each process its own GPU."""
    if config.threads is not None:
        torch.set_num_threads(min(config.threads, os.cpu_count() or 1))
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and team.size > 1:
        name = f"cuda:{team.local_rank}"
    try:
        device = torch.device(name if name.startswith(("cpu", "cuda")) else "unknown")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DependencyError(
            f"the device {name!r} cannot be used ({reason})", fix="use --training.device cpu; lichen doctor says more"
        ) from error
    return device


def read_images(config: RunConfig, watch: Watch) -> Data:
    """Decode, normalise and grid all images, and split them by patient."""
    images = config.images
    source = open_source(images)
    multiple = autoencoders.downsampling(config.autoencoder) * denoisers.downsampling(config.denoiser)
    size = choose_size(source, images.size, multiple=multiple, spacing_mm=images.spacing, skip_bad=images.skip_bad)
    train_items, held_out_items = split_by_patient(source, images.held_out_fraction, images.split_seed)
    if not held_out_items:
        raise ImageError(
            f"{source.label} leaves no patient held out, so nothing can be audited",
            fix="add patients, or raise --images.held-out-fraction",
        )
    if source.note:
        watch.tell(source.note)
    with watch.phase("read", len(source.items)) as step:
        load = partial(
            load_set,
            size=size,
            fit=images.fit,
            spacing_mm=images.spacing,
            window=images.window,
            skip_bad=images.skip_bad,
            cache_dir=images.cache_dir,
            step=step,
        )
        train_set = load(train_items)
        data = Data(source, train_set, load(held_out_items, channels=train_set.voxels.shape[1]))
    check_apart(data.train, data.held_out, fingerprints(data.train.voxels), fingerprints(data.held_out.voxels))
    if data.skipped:
        first = data.skipped[0]
        watch.tell(
            f"{len(data.skipped)} of {len(source.items) + len(source.skipped)} images left out, listed in "
            f"summary.json; the first is {first.name}: {first.reason}"
        )
    return data


def train_generator(config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch) -> Generator:
    """The finished generator of the run folder; trained first if it is not there yet."""
    team = watch.team
    if team.leads:
        bind_images(data.train, folder)
    if team.any(not folder.generator.exists()):
        spec = GeneratorSpec(
            image_shape=tuple(data.train.voxels.shape[1:]),
            affine=tuple(tuple(float(x) for x in row) for row in data.train.affine),
            autoencoder=config.autoencoder,
            denoiser=config.denoiser,
            objective=config.training.objective,
            is_phantom=data.source.is_phantom,
            window=config.images.window or (),
        )
        torch.manual_seed(mix_seed(config.training.seed, "weights"))
        autoencoder, denoiser = (network.to(device) for network in spec.build())
        autoencoder = train_autoencoder(autoencoder, config, data.train.voxels, folder, watch)
        with watch.phase("encode", len(data.train.voxels)) as step:
            batch_size = config.autoencoder.batch_size
            latents = encode_set(autoencoder, data.train.voxels, batch_size, step=step, team=team)
        denoiser = train_denoiser(denoiser, config, latents, folder, watch)
        if team.leads:
            save_generator(folder.generator, spec, autoencoder, denoiser, latents.shift, latents.scale)
        team.wait()
    return load_generator(folder.generator, device)


def bind_images(images: ImageSet, folder: RunFolder) -> None:
    """Note which images shape the weights of a run folder; refuse others in it afterwards.

    Otherwise a folder whose images changed would be resumed as if nothing had happened, and patients already trained on
    could be called held out.
    """
    digest = images.sha256()
    if not folder.images.exists():
        write_text(folder.images, f"{digest}\n")
    elif folder.images.read_text(encoding="utf-8", errors="replace").strip() != digest:
        raise RunError(
            f"the training images are not those that the run in {folder.path} was begun with",
            fix="bring the images back as they were, or choose another folder with --out",
        )


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


def train_autoencoder(
    network: torch.nn.Module, config: RunConfig, images: torch.Tensor, folder: RunFolder, watch: Watch
) -> torch.nn.Module:
    """The averaged autoencoder, trained on images (N, C, *S)."""
    settings, recipe = config.autoencoder, recipe_for("autoencoder", config.autoencoder, config.training)
    state = folder.checkpoints / "autoencoder.state.safetensors"
    loss = autoencoder_loss(settings.kl_weight)
    return train_watched(network, images, loss, recipe, state, folder, watch, config.training.mirror)


def train_denoiser(
    network: torch.nn.Module, config: RunConfig, latents: Latents, folder: RunFolder, watch: Watch
) -> torch.nn.Module:
    """The averaged denoiser, trained on normalised latents."""
    settings, device = config.training, next(network.parameters()).device
    recipe = recipe_for("diffusion", settings, settings)
    state = folder.checkpoints / "diffusion.state.safetensors"
    loss = denoiser_loss(settings.objective, make_alphas_cumprod().to(device))
    return train_watched(network, latents.values, loss, recipe, state, folder, watch, settings.mirror)


def train_watched(
    network: torch.nn.Module,
    examples: torch.Tensor,
    loss: Loss,
    recipe: Recipe,
    state: Path,
    folder: RunFolder,
    watch: Watch,
    mirrors: Sequence[MirrorName],
) -> torch.nn.Module:
    """Train with energy, progress and log; asked to stop, the process ends after its step, and its state is saved."""
    names = mirrors if watch.team.leads else ()
    with deferred() as stop, mirroring(names, folder) as mirror, watch.phase(recipe.phase, recipe.images) as step:

        def log(record: Mapping[str, float | int | str]) -> None:
            folder.append_log(record)
            mirror(record)

        return train(
            network,
            examples,
            loss,
            recipe,
            state_path=state,
            log=log,
            step=step,
            stop=stop,
            team=watch.team,
        )


def draw_missing(generator: Generator, config: SamplingConfig, folder: Path, watch: Watch) -> int:
    """Draw the samples that ``folder`` lacks, under one bar for both phases; return how many that were."""
    missing, team = missing_samples(folder, generator, config), watch.team
    team.wait()  # all have looked before one draws
    if missing:
        with watch.bar("sampling", images_drawn(missing, config, team)) as step:
            draw_samples(generator, missing, config, folder, phase=watch.trace.phase, step=step, team=team)
    team.wait()
    return len(missing)


def audit_samples(config: RunConfig, data: Data, folder: RunFolder, watch: Watch) -> tuple[ImageSet, AuditResult]:
    """Compare the samples with the training patients; return them with the verdict."""
    source = open_folder(folder.samples)
    with watch.phase("audit", audit_steps(config.audit, source, data.held_out)) as step:
        files = {item.name: sha256_of(folder.samples / item.name) for item in source.items}
        synthetic = load_samples(source, data.train, config.images.window, step)
        result = audit(synthetic, data.train, data.held_out, config.audit, step=step, team=watch.team)
    if watch.team.leads:
        generator = sha256_of(folder.generator)
        write_audit(result, folder.audit, inputs_sha256={"generator": generator}, files_sha256=files)
    return synthetic, result


def audit_folders(
    options: AuditOptions, train: Path, reference: Path, watch: Watch
) -> tuple[AuditResult, dict[str, str]]:
    """Audit the images of any generator; return the verdict, and a SHA-256 of each of the three sets as compared."""
    check_scores(options.audit)
    column = options.images.patient_column
    train_source, reference_source = (open_folder(path, patient_column=column) for path in (train, reference))
    size, fit = options.images.size or _common_shape(options.synthetic), options.images.fit
    size = choose_size(train_source, size, multiple=1)
    with watch.phase("read", len(train_source.items) + len(reference_source.items)) as step:
        train_set = load_set(train_source.items, size, fit, step=step)
        reference_set = load_set(reference_source.items, size, fit, step=step)
    return _compare(options.synthetic, train_set, reference_set, fit, options.audit, watch)


def audit_with_run(
    config: RunConfig, synthetic: Path, settings: AuditConfig, watch: Watch
) -> tuple[AuditResult, dict[str, str]]:
    """The same, with the training and held-out patients of the run that has the settings ``config``."""
    check_scores(settings)
    data = read_images(config, watch)
    return _compare(synthetic, data.train, data.held_out, "crop-pad", settings, watch)


def _common_shape(folder: Path) -> tuple[int, ...] | None:
    """The shape that all synthetic images share, which is the grid of their generator; None if they differ.

    Real images brought to another grid than the generator saw them on are scaled and padded otherwise, and its copies
    of them would go unnoticed.
    """
    shapes = {(item.look() if item.look else item.read().geometry).shape for item in open_folder(folder).items}
    return shapes.pop() if len(shapes) == 1 else None


def load_samples(source: Source, train_set: ImageSet, window: tuple[float, ...] | None, step: Step) -> ImageSet:
    """The samples of a run as they are: on the grid already, whatever spacing their affine gives."""
    channels, *size = train_set.voxels.shape[1:]
    stored = window and stored_window(channels, len(size), window)
    return load_set(source.items, tuple(size), "crop-pad", window=stored, step=step)


def _compare(
    folder: Path, train_set: ImageSet, reference: ImageSet, fit: Fit, config: AuditConfig, watch: Watch
) -> tuple[AuditResult, dict[str, str]]:
    source = open_folder(folder)
    with watch.phase("audit", audit_steps(config, source, reference)) as step:
        synthetic = load_set(source.items, tuple(train_set.voxels.shape[2:]), fit, step=step)
        result = audit(synthetic, train_set, reference, config, step=step, team=watch.team)
    sets = {"synthetic": synthetic, "train": train_set, "reference": reference}
    return result, {name: images.sha256() for name, images in sets.items()}


def check_scores(config: AuditConfig) -> None:
    """Raise ``AuditError`` for a score that does not exist, before hours of training and not after."""
    for name in config.scores:
        find_score(name)


def audit_steps(config: AuditConfig, synthetic: Source, reference: ImageSet) -> int:
    """How many images a progress bar over reading and auditing ``synthetic`` counts."""
    read = len(synthetic.items)
    return read + len(config.scores) * (read + len(reference.names))


@dataclass(frozen=True)
class Quality:
    """How good a generator is, by figures that need no download."""

    distance: KernelDistance | None
    """None where a set has too few patients to tell."""
    reconstruction_l1: float
    """Mean absolute error of the autoencoder on held-out images, in units of the range [-1, 1]."""


def judge_quality(generator: Generator, data: Data, synthetic: ImageSet, step: Step) -> Quality:
    """Measure how far samples are from held-out images, and how well the autoencoder restores those."""
    sets = (synthetic, data.held_out, data.train)
    enough = all(len(set(images.patients)) >= LEAST_PATIENTS for images in sets)
    enough &= len(synthetic.names) >= LEAST_COMPARED
    distance = kernel_distance(*sets, step=step) if enough else None
    error = reconstruction_l1(generator.autoencoder, data.held_out.voxels[:MOST_RESTORED], batch_size=4, step=step)
    return Quality(distance, error)


def quality_steps(data: Data, synthetic: ImageSet) -> int:
    """How many images a progress bar over ``judge_quality`` counts."""
    made, real = len(synthetic.names), len(data.held_out.names)
    return made + real + min(made, len(data.train.names)) + min(real, MOST_RESTORED)
