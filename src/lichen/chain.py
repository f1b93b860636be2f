"""The chain: images -> autoencoder -> latents -> denoiser -> samples -> audit, quality -> summary and report.

This is where the rooms meet. Every function here is one link; each leaves its result in the run folder and finds it
there when the same command is repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lichen.audit import AuditResult, audit, write_audit
from lichen.config import AuditConfig, RunConfig, SamplingConfig, TrainingConfig
from lichen.diffusion import make_alphas_cumprod
from lichen.errors import DependencyError, ImageError, RunError
from lichen.files import sha256_of
from lichen.images import (
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
from lichen.models import autoencoder as autoencoders
from lichen.models import denoiser as denoisers
from lichen.progress import Step
from lichen.quality import LEAST_PATIENTS, KernelDistance, kernel_distance
from lichen.report import write_report
from lichen.runs import RunFolder
from lichen.sampling import draw_samples, images_drawn, missing_samples
from lichen.seeds import mix_seed
from lichen.settings import dump_settings, flatten, load_settings
from lichen.summary import summarise
from lichen.training.autoencoder import Latents, autoencoder_loss, encode_set, reconstruction_l1
from lichen.training.denoiser import denoiser_loss
from lichen.training.generator import Generator, GeneratorSpec, load_generator, save_generator
from lichen.training.loop import Recipe, train
from lichen.watch import Watch, watching

MOST_RESTORED = 64
"""Held-out images on which the autoencoder's error is measured."""

if TYPE_CHECKING:
    from lichen.options import AuditOptions

SHAPING = {"images", "autoencoder", "denoiser", "training"}
"""Sections whose settings shape the weights: they cannot change once there are some."""
FREE = {
    "training.checkpoint_every_s",
    "training.device",
    "training.threads",
    "images.cache_dir",
    "sampling.count",
}
"""Settings that shape neither weights nor samples."""


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


def run(config: RunConfig, folder: RunFolder, *, command: str, quiet: bool = False) -> dict[str, Any]:
    """Train, sample, measure, audit and report in ``folder``; return the summary. Repeating it resumes.

    Raises:
        LichenError: something that was given cannot be used; what is in the folder stays as it was.
    """
    with folder.lock():
        keep_config(config, folder)
        device = set_up(config.training)
        with watching(folder.path, config.carbon, quiet=quiet) as watch:
            data = read_images(config, watch)
            generator = train_generator(config, data, folder, device, watch)
            draw_missing(generator, config.sampling, folder.samples, watch)
            synthetic, result = audit_samples(config, data, folder, watch)
            with watch.phase("quality", quality_steps(data, synthetic)) as step:
                quality = judge_quality(generator, data, synthetic, step)
        summary = summarise(config, folder, data, generator, result, quality, command)
        folder.write_summary(summary)
        write_report(folder.path)
        return summary


def train_only(config: RunConfig, folder: RunFolder, *, quiet: bool = False) -> Path:
    """Train the generator in ``folder`` and return the path of its checkpoint. Repeating it resumes."""
    with folder.lock():
        keep_config(config, folder)
        device = set_up(config.training)
        with watching(folder.path, config.carbon, quiet=quiet) as watch:
            train_generator(config, read_images(config, watch), folder, device, watch)
    return folder.generator


def sample_only(
    checkpoint: Path, config: SamplingConfig, folder: Path, device: torch.device, watch: Watch
) -> Generator:
    """Draw the samples of ``checkpoint`` that ``folder`` lacks; return the generator."""
    generator = load_generator(checkpoint, device)
    draw_missing(generator, config, folder, watch)
    return generator


def keep_config(config: RunConfig, folder: RunFolder) -> None:
    """Write the settings into a new run folder; refuse in an old one what would make other weights or samples."""
    if folder.config.exists():
        before = dict(flatten(load_settings(folder.config, RunConfig())))
        trained, sampled = any(folder.checkpoints.glob("*.safetensors")), any(folder.samples.glob("sample-*"))
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


def set_up(config: TrainingConfig) -> torch.device:
    """Set the number of threads and return the device to work on."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
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
    if data.skipped:
        first = data.skipped[0]
        watch.tell(
            f"{len(data.skipped)} of {len(source.items) + len(source.skipped)} images left out, listed in "
            f"summary.json; the first is {first.name}: {first.reason}"
        )
    return data


def train_generator(config: RunConfig, data: Data, folder: RunFolder, device: torch.device, watch: Watch) -> Generator:
    """The finished generator of the run folder; trained first if it is not there yet."""
    if not folder.generator.exists():
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
            latents = encode_set(autoencoder, data.train.voxels, config.autoencoder.batch_size, step=step)
        denoiser = train_denoiser(denoiser, config, latents, folder, watch)
        save_generator(folder.generator, spec, autoencoder, denoiser, latents.shift, latents.scale)
    return load_generator(folder.generator, device)


def train_autoencoder(
    network: torch.nn.Module, config: RunConfig, images: torch.Tensor, folder: RunFolder, watch: Watch
) -> torch.nn.Module:
    """The averaged autoencoder, trained on images (N, C, *S)."""
    settings, common = config.autoencoder, config.training
    recipe = Recipe(
        phase="autoencoder",
        images=settings.images_seen,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        ema_images=common.ema_images,
        gradient_clip=common.gradient_clip,
        precision=common.precision,
        seed=common.seed,
        checkpoint_every_s=common.checkpoint_every_s,
    )
    state = folder.checkpoints / "autoencoder.state.safetensors"
    with watch.phase("autoencoder", recipe.images) as step:
        loss = autoencoder_loss(settings.kl_weight)
        return train(network, images, loss, recipe, state_path=state, log=folder.append_log, step=step)


def train_denoiser(
    network: torch.nn.Module, config: RunConfig, latents: Latents, folder: RunFolder, watch: Watch
) -> torch.nn.Module:
    """The averaged denoiser, trained on normalised latents."""
    settings, device = config.training, next(network.parameters()).device
    recipe = Recipe(
        phase="diffusion",
        images=settings.images_seen,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        ema_images=settings.ema_images,
        gradient_clip=settings.gradient_clip,
        precision=settings.precision,
        seed=settings.seed,
        checkpoint_every_s=settings.checkpoint_every_s,
    )
    state = folder.checkpoints / "diffusion.state.safetensors"
    with watch.phase("diffusion", recipe.images) as step:
        loss = denoiser_loss(settings.objective, make_alphas_cumprod().to(device))
        return train(network, latents.values, loss, recipe, state_path=state, log=folder.append_log, step=step)


def draw_missing(generator: Generator, config: SamplingConfig, folder: Path, watch: Watch) -> None:
    """Draw the samples that ``folder`` lacks, under one bar for both phases."""
    missing = missing_samples(folder, generator, config)
    if missing:
        with watch.bar("sampling", images_drawn(missing, config)) as step:
            draw_samples(generator, missing, config, folder, phase=watch.trace.phase, step=step)


def audit_samples(config: RunConfig, data: Data, folder: RunFolder, watch: Watch) -> tuple[ImageSet, AuditResult]:
    """Compare the samples with the training patients; return them with the verdict."""
    source = open_folder(folder.samples)
    with watch.phase("audit", audit_steps(config.audit, source, data.held_out)) as step:
        files = {item.name: sha256_of(folder.samples / item.name) for item in source.items}
        channels, *size = data.train.voxels.shape[1:]
        window = config.images.window and stored_window(channels, len(size), config.images.window)
        # samples have the grid already; to resize them would make their voxels cubes
        synthetic = load_set(source.items, tuple(size), "crop-pad", window=window, step=step)
        result = audit(synthetic, data.train, data.held_out, config.audit, step=step)
    generator = sha256_of(folder.generator)
    write_audit(result, folder.audit, inputs_sha256={"generator": generator}, files_sha256=files)
    return synthetic, result


def audit_folders(options: AuditOptions, watch: Watch) -> tuple[AuditResult, dict[str, str]]:
    """Audit the images of any generator; return the verdict, and a SHA-256 of each of the three sets as compared."""
    train_source = open_folder(options.train, patient_column=options.patient_column)
    size = choose_size(train_source, options.size)
    reference_source = open_folder(options.reference, patient_column=options.patient_column)
    synthetic_source = open_folder(options.synthetic)
    with watch.phase("read", len(train_source.items) + len(reference_source.items)) as step:
        train_set = load_set(train_source.items, size, step=step)
        reference = load_set(reference_source.items, size, step=step)
    with watch.phase("audit", audit_steps(options.audit, synthetic_source, reference)) as step:
        synthetic = load_set(synthetic_source.items, size, step=step)
        result = audit(synthetic, train_set, reference, options.audit, step=step)
    sets = {"synthetic": synthetic, "train": train_set, "reference": reference}
    return result, {name: images.sha256() for name, images in sets.items()}


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
    distance = kernel_distance(*sets, step=step) if enough else None
    error = reconstruction_l1(generator.autoencoder, data.held_out.voxels[:MOST_RESTORED], batch_size=4, step=step)
    return Quality(distance, error)


def quality_steps(data: Data, synthetic: ImageSet) -> int:
    """How many images a progress bar over ``judge_quality`` counts."""
    made, real = len(synthetic.names), len(data.held_out.names)
    return made + real + min(made, len(data.train.names)) + min(real, MOST_RESTORED)
