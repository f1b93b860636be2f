"""All settings, as frozen dataclasses: type, unit, default and one line of reason each.

The same fields are the options of the command line (``--images.path DIR``), the keys of a YAML file
(``images: {path: DIR}``) and the reference in ``docs/reference.md``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from lichen.bounds import at_least, between, channels_fit, crop_fits, positive, spacing_fits, window_fits
from lichen.errors import ConfigError
from lichen.samplers import SAMPLING_PRESETS, Objective, SamplerName, SamplingPreset, ScheduleName, network_calls
from lichen.slice_rule import SliceRule

Precision = Literal["fp32", "bf16"]
PhantomKind = Literal["2d", "3d"]
MirrorName = Literal["tensorboard", "wandb", "mlflow"]
Volumes = Literal["auto", "channels", "split"]
AutoencoderKind = Literal["kl", "none"]
DenoiserKind = Literal["standard", "reversible"]
ModelKind = Literal["diffusion", "stylegan2"]
Augmentation = Literal["none", "affine"]


@dataclass(frozen=True)
class ImagesConfig:
    """What the model learns from."""

    path: Path | None = None
    """Folder of DICOM, NIfTI, PNG, JPEG or TIFF images, or an .npz file; nothing given: built-in phantoms."""
    phantoms: PhantomKind = "2d"
    """Which built-in phantoms to use when no path is given."""
    phantom_patients: int = 280
    """How many phantom patients to make; four images each."""
    patient_column: str | None = None
    """Column of metadata.csv or participants.tsv that names the patient; default: patient, subject or group."""
    npz_split: str = "train"
    """Which arrays of a MedMNIST .npz file to use: 'train' reads train_images."""
    channels: tuple[str, ...] = ()
    """What names of a case's files end in, or their folders, e.g. t1 t2 seg, stacked; one, e.g. T1w, picks files."""
    volumes: Volumes = "auto"
    """A NIfTI's fourth axis: one image's 'channels', or 'split' into images; 'auto' splits five or more."""
    size: tuple[int, ...] | None = None
    """The model's grid in voxels, e.g. 64 64; default: chosen from the images."""
    fit: Literal["resize", "crop-pad"] = "resize"
    """How an image comes to the grid: 'resize' scales it to fit and pads the rest; 'crop-pad' keeps its spacing."""
    spacing: tuple[float, ...] | None = None
    """Voxel spacing in mm to resample every image to, e.g. 1 1 1, then cropped or padded; default: as fit says."""
    window: tuple[float, ...] | None = None
    """Intensities that become black and white in every image, e.g. -160 240 HU; default: each image's percentiles."""
    label: str | None = None
    """Channel that is a label map, or the table's column of its files; comes last, and out as the classes it has."""
    slices: str | None = None
    """Axial slices of volumes as 2D images: 'all', 'middle:20', or 'label>=0.15' (share of voxels labelled above 0)."""
    patients: int | None = None
    """Train on so many patients only; a smaller number is a part of a larger one. Held-out patients stay the same."""
    skip_bad: bool = False
    """Leave out single images that cannot be used, and list them, instead of stopping at the first."""
    held_out_fraction: float = 0.4
    """Share of patients never trained on; the audit and the quality figures compare with them."""
    split_seed: int = 0
    """Which patients are held out; the same seed and patients give the same split."""
    cache_dir: Path | None = None
    """Folder that keeps decoded images between runs (it then holds patient images); default: memory."""

    def __post_init__(self) -> None:
        at_least("images.phantom_patients", self.phantom_patients, 4)
        if self.patients is not None:
            at_least("images.patients", self.patients, 1)
        between("images.held_out_fraction", self.held_out_fraction, 0.0, 0.95)
        if self.size is not None and (len(self.size) not in {2, 3} or min(self.size) < 8):
            raise ConfigError(
                f"images.size is {' '.join(map(str, self.size))}; the grid needs 2 or 3 axes of at least 8 voxels",
                fix="give one number per axis, e.g. --images.size 64 64",
            )
        if len({channel.lower() for channel in self.channels}) < len(self.channels) or not all(self.channels):
            raise ConfigError(
                f"images.channels is {' '.join(self.channels) or 'empty text'}; each needs a name of its own",
                fix="e.g. --images.channels t1 t2 flair",
            )
        if self.label is not None and not self.label.strip():
            raise ConfigError("images.label is empty text", fix="name a channel, or leave --images.label out")
        if self.slices is not None:
            SliceRule.parse(self.slices)
        if self.spacing is not None:
            spacing_fits("images.spacing", self.spacing)
        if self.window is not None:
            window_fits("images.window", self.window)


@dataclass(frozen=True)
class AutoencoderConfig:
    """The autoencoder that compresses images to latents (MONAI's AutoencoderKL)."""

    kind: AutoencoderKind = "kl"
    """'kl' compresses images to latents; 'none': no autoencoder, the denoiser works on the voxels themselves."""
    channels: tuple[int, ...] = (32, 64, 64)
    """Feature channels per level; each level after the first halves every axis."""
    blocks: int = 1
    """Residual blocks per level."""
    latent_channels: int = 4
    """Channels of the latent."""
    images_seen: int = 200_000
    """How many training images the autoencoder sees, repeats included."""
    batch_size: int = 16
    """Images per optimiser step."""
    learning_rate: float = 1e-3
    """Peak learning rate of Adam; decays to zero by a cosine."""
    kl_weight: float = 1e-6
    """Weight of the pull of latents towards a standard normal; small, so that images stay sharp."""
    crop: tuple[int, ...] | None = None
    """Train on random crops of this size in voxels, e.g. 64 64 64, where whole images do not fit; default: whole."""
    checkpointing: bool = False
    """Keep only what enters each block and recompute the rest in backward: less memory, about a fifth more compute."""

    def __post_init__(self) -> None:
        channels_fit("autoencoder.channels", self.channels)
        for name in ("blocks", "latent_channels", "images_seen", "batch_size"):
            at_least(f"autoencoder.{name}", getattr(self, name), 1)
        positive("autoencoder.learning_rate", self.learning_rate)
        between("autoencoder.kl_weight", self.kl_weight, 0.0, 1.0)
        if self.kind == "none" and (self.crop is not None or self.checkpointing):
            raise ConfigError(
                "autoencoder.kind is none, so nothing is trained on crops or with checkpointing",
                fix="leave out --autoencoder.crop and --autoencoder.checkpointing",
            )
        if self.crop is not None:
            crop_fits("autoencoder.crop", self.crop, multiple=2 ** (len(self.channels) - 1))


@dataclass(frozen=True)
class DenoiserConfig:
    """The network that removes noise from latents."""

    kind: DenoiserKind = "standard"
    """'standard': MONAI's DiffusionModelUNet; 'reversible': recomputes its activations in backward, for less memory."""
    channels: tuple[int, ...] = (64, 128, 128)
    """Feature channels per level; each level after the first halves every axis of the latent."""
    blocks: int = 2
    """Residual blocks per level."""
    attention_levels: int = 1
    """How many of the deepest levels have self-attention."""
    head_channels: int = 32
    """Channels per attention head."""
    dropout: float = 0.0
    """Share of features set to zero in each residual block while training."""
    checkpointing: bool = False
    """Keep only what enters each block and recompute the rest in backward: less memory, about a fifth more compute."""

    def __post_init__(self) -> None:
        channels_fit("denoiser.channels", self.channels)
        at_least("denoiser.blocks", self.blocks, 1)
        between("denoiser.attention_levels", self.attention_levels, 0, len(self.channels))
        at_least("denoiser.head_channels", self.head_channels, 1)
        between("denoiser.dropout", self.dropout, 0.0, 0.9)
        if self.kind == "reversible" and self.checkpointing:
            raise ConfigError(
                "denoiser.checkpointing is on, and a reversible denoiser recomputes its blocks already",
                fix="leave out one of --denoiser.checkpointing and --denoiser.kind reversible",
            )


@dataclass(frozen=True)
class ModelConfig:
    """What kind of generative model is trained."""

    kind: ModelKind = "diffusion"
    """'diffusion': autoencoder and denoiser; 'stylegan2': StyleGAN2 with adaptive augmentation, 2D images only."""


@dataclass(frozen=True)
class StyleGAN2Config:
    """StyleGAN2 with adaptive discriminator augmentation; length, batches, seed and average are those of training."""

    latent_dim: int = 128
    """Numbers in z and in w; 512 in the paper."""
    mapping_layers: int = 2
    """Layers from z to w; 8 in the first paper, 2 for small data sets."""
    channels: int = 1024
    """Feature channels at r x r voxels are this / r, at most most_channels; 16384 or 32768 in the paper, for a GPU."""
    most_channels: int = 128
    """Largest number of feature channels of a layer; 512 in the paper."""
    learning_rate: float = 2e-3
    """Of both networks (Adam); constant."""
    r1_weight: float = 0.1
    """Weight of the discriminator's gradient penalty on real images; at least about 2e-4 * voxels / batch size."""
    path_length_weight: float = 2.0
    """Weight of the generator's path-length regularisation; 0: none."""
    style_mixing: float = 0.9
    """Share of training images whose styles are of two latents."""
    ada_target: float = 0.6
    """Mean sign of the discriminator on real images that augmentation is adapted to; 0: no augmentation."""

    def __post_init__(self) -> None:
        for name in ("latent_dim", "mapping_layers", "channels", "most_channels"):
            at_least(f"stylegan2.{name}", getattr(self, name), 1)
        positive("stylegan2.learning_rate", self.learning_rate)
        for name in ("r1_weight", "path_length_weight"):
            between(f"stylegan2.{name}", getattr(self, name), 0.0, 1e6)
        between("stylegan2.style_mixing", self.style_mixing, 0.0, 1.0)
        between("stylegan2.ada_target", self.ada_target, 0.0, 1.0)


@dataclass(frozen=True)
class TrainingConfig:
    """How the denoiser is trained."""

    images_seen: int = 1_000_000
    """How many training latents the denoiser sees, repeats included."""
    batch_size: int = 32
    """Latents per optimiser step."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW, after a warm-up over the first 2 % of the images; decays by a cosine."""
    objective: Objective = "v"
    """What the network predicts: 'v' (stable at all noise levels), 'epsilon' (the noise) or 'flow' (rectified flow)."""
    augmentation: Augmentation = "none"
    """'affine': each image is slightly shifted, turned and scaled anew each time it is seen; 'none'."""
    ema_images: int = 20_000
    """Half-life of the moving average of the weights, in images seen; at most a tenth of the run."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    precision: Precision = "fp32"
    """Precision of the networks' arithmetic; bf16 halves memory and is fast only on hardware that has it."""
    checkpoint_every_s: float = 300.0
    """Seconds between checkpoints; a crash loses at most that much work."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    device: str = "auto"
    """'cpu', 'cuda', 'cuda:1', or 'auto' for a GPU if there is one."""
    threads: int | None = None
    """CPU threads; default: PyTorch's own choice. Results are bit-identical only at a fixed number."""
    mirror: tuple[MirrorName, ...] = ()
    """Show the losses in 'tensorboard', 'wandb' (offline) or 'mlflow' as well; files go into the run folder."""

    def __post_init__(self) -> None:
        for name in ("images_seen", "batch_size", "ema_images"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name in ("learning_rate", "gradient_clip", "checkpoint_every_s"):
            positive(f"training.{name}", getattr(self, name))
        if self.threads is not None:
            at_least("training.threads", self.threads, 1)


@dataclass(frozen=True)
class ProbeConfig:
    """A look at a few samples while the denoiser is trained: when does copying begin? It is no verdict."""

    every: int | None = None
    """Images seen between two probes; default: none. Weights are the same with and without."""
    samples: int = 32
    """How many samples each probe draws, in 20 steps."""
    quality: bool = False
    """Measure the kernel distance of each probe's samples to held-out images too."""
    stop: bool = False
    """End training when copying begins, with the weights of the probe before; in error in 5 % of runs at most."""

    def __post_init__(self) -> None:
        if self.every is not None:
            at_least("probe.every", self.every, 1)
        between("probe.samples", self.samples, 4, 4096)
        if self.stop and self.every is None:
            raise ConfigError(
                "probe.stop needs probes", fix="say how often with --probe.every, e.g. a twentieth of the images seen"
            )


@dataclass(frozen=True)
class SamplingConfig:
    """How synthetic images are drawn."""

    count: int = 100
    """How many synthetic images; a larger number later adds to those already there."""
    preset: SamplingPreset | None = None
    """Sampler, schedule and steps in one word, e.g. ddim-50; sets the three settings below, and is not kept itself."""
    sampler: SamplerName = "unipc"
    """Which published sampler; 'ddpm' is for the objectives v and epsilon, 'rflow' for flow, the others for all."""
    schedule: ScheduleName = "lu"
    """Where on the noise axis the sampler stops: 'lu' (uniform log-SNR, best with few steps), 'karras' or 'time'."""
    steps: int = 20
    """Noise levels visited; network calls per image are one per step, except heun: two per step less one."""
    batch_size: int = 8
    """Images drawn together; samples are byte-identical at the same batch size, within 1e-4 at another."""
    seed: int = 0
    """Image i depends on the checkpoint, the sampler, this seed and i, and on nothing else."""
    truncation: float = 1.0
    """Of a StyleGAN2: how far w may lie from its mean; 1: as trained, smaller: more typical and less diverse."""
    compile: bool = False
    """Compile the denoiser first (torch.compile); pays back over many thousand network calls, see --tune."""

    def __post_init__(self) -> None:
        if self.preset is not None:
            for name, value in {**asdict(SAMPLING_PRESETS[self.preset]), "preset": None}.items():
                object.__setattr__(self, name, value)
        at_least("sampling.count", self.count, 1)
        at_least("sampling.steps", self.steps, 2)
        at_least("sampling.batch_size", self.batch_size, 1)
        between("sampling.truncation", self.truncation, 0.0, 1.0)


@dataclass(frozen=True)
class AuditConfig:
    """How synthetic images are compared with training patients."""

    false_discovery_rate: float = 0.10
    """Largest expected share of innocent images among those called copies (Benjamini-Hochberg)."""
    false_alarm_rate: float = 0.05
    """'copies' is said of about this share of the synthetic sets that hold none, at most."""
    detectable_share: float = 0.10
    """'clean' is said only if this share of copies would have been found; otherwise 'inconclusive'."""
    scores: tuple[str, ...] = ("aligned",)
    """Which similarity scores vote; the p-values are corrected for their number, so each more costs resolution."""
    level: float = 0.05
    """The p-value at which the self-test states power and false positives, and at which copies are counted."""
    self_test: int = 30
    """How many training images are copied in each of the ways of the self-test; 0: none, and no rates."""
    classics: bool = False
    """Say also what the rules of two earlier papers would have called copies; trains a small network for it."""
    review_pairs: int = 50
    """Pairs on the review page: the flagged ones first, then the nearest others."""
    memory_mb: int = 1024
    """MiB of memory that comparing may take; what does not fit is kept in files of the output folder meanwhile."""
    allow_overlap: bool = False
    """Audit although patients are in both training and held-out images; these do not count as held-out then."""

    def __post_init__(self) -> None:
        between("audit.false_discovery_rate", self.false_discovery_rate, 1e-6, 0.5)
        between("audit.false_alarm_rate", self.false_alarm_rate, 1e-6, 0.5)
        between("audit.detectable_share", self.detectable_share, 1e-6, 1.0)
        between("audit.level", self.level, 1e-6, 0.5)
        at_least("audit.self_test", self.self_test, 0)
        at_least("audit.review_pairs", self.review_pairs, 1)
        at_least("audit.memory_mb", self.memory_mb, 64)
        if not self.scores:
            raise ConfigError("audit.scores names no score", fix="give at least one, e.g. --audit.scores aligned")


@dataclass(frozen=True)
class CarbonConfig:
    """Where and when the energy is used; a view, applied after measuring."""

    grid: Annotated[str | None, arg(aliases=("--grid",))] = None
    """Country (ISO 3166: FR or FRA) or US state (US-CA) whose electricity is used; unknown: a range, never a guess."""
    month: Annotated[int | None, arg(aliases=("--month",))] = None
    """Month 1 to 12 whose intensity applies; default: the yearly mean."""
    pue: Annotated[float | None, arg(aliases=("--pue",))] = None
    """Power usage effectiveness of the building; default: a range from 1.0 to 1.58 (world average)."""
    intensity: Annotated[float | None, arg(aliases=("--intensity",))] = None
    """Grams of CO2e per kWh as your supplier states them, upstream included; default: from a table."""
    intensity_file: Annotated[Path | None, arg(aliases=("--intensity-file",))] = None
    """CSV of newer intensities: rows of zone,year,month,gco2e_per_kwh; default: the packaged table (Ember)."""
    embodied_g_per_h: Annotated[float | None, arg(aliases=("--embodied-g-per-h",))] = None
    """Grams of CO2e per hour of use from making the hardware: its footprint / hours of its life; default: left out."""
    embodied_source: Annotated[str | None, arg(aliases=("--embodied-source",))] = None
    """Where the embodied figure is from; it must be told with it."""

    def __post_init__(self) -> None:
        if self.month is not None:
            between("carbon.month", self.month, 1, 12)
        if self.pue is not None:
            between("carbon.pue", self.pue, 1.0, 10.0)
        if self.intensity is not None:
            positive("carbon.intensity", self.intensity)
        if self.embodied_g_per_h is not None:
            positive("carbon.embodied-g-per-h", self.embodied_g_per_h)


@dataclass(frozen=True)
class BudgetConfig:
    """What a run may use at most, all its sessions together; training stops with a checkpoint before it uses more."""

    carbon_g: float | None = None
    """Grams of CO2e; the place must be known."""
    energy_kwh: float | None = None
    """Kilowatt-hours of the computer itself."""
    hours: float | None = None
    """Hours of work."""

    def __post_init__(self) -> None:
        for name in ("carbon_g", "energy_kwh", "hours"):
            value = getattr(self, name)
            if value is not None:
                positive(f"budget.{name.replace('_', '-')}", value)

    def __bool__(self) -> bool:
        return any(limit is not None for limit in (self.carbon_g, self.energy_kwh, self.hours))


@dataclass(frozen=True)
class MemoryConfig:
    """How much memory networks may take."""

    budget_gb: float | None = None
    """Gigabytes (10^9 bytes) for each network; the cheapest measure that fits is taken; images are coded in tiles."""

    def __post_init__(self) -> None:
        if self.budget_gb is not None:
            positive("memory.budget-gb", self.budget_gb)
            at_least("memory.budget-gb", self.budget_gb, 0)

    @property
    def budget_bytes(self) -> int | None:
        """The same in bytes."""
        return None if self.budget_gb is None else int(self.budget_gb * 10**9)


@dataclass(frozen=True)
class LabelsConfig:
    """Whose run it is and what for, so that `lichen runs` can sum up; never taken from the system."""

    person: str | None = None
    """Who answers for the run."""
    project: str | None = None
    """What it is for, e.g. a grant or a paper."""


@dataclass(frozen=True)
class RunConfig:
    """All settings of a run."""

    images: ImagesConfig = field(default_factory=ImagesConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    stylegan2: StyleGAN2Config = field(default_factory=StyleGAN2Config)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    audit: AuditConfig = field(default_factory=AuditConfig)
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)

    @property
    def objective(self) -> Objective | None:
        """What the denoiser predicts; None of a model that has no denoiser."""
        return self.training.objective if self.model.kind == "diffusion" else None

    @property
    def trainings(self) -> dict[str, int]:
        """The trainings of a run by their phases, in order, each with the images that it is to see."""
        seen = self.training.images_seen
        if self.model.kind == "stylegan2":
            return {"gan": seen}
        if self.autoencoder.kind == "none":
            return {"diffusion": seen}
        return {"autoencoder": self.autoencoder.images_seen, "diffusion": seen}

    @property
    def network_calls(self) -> int:
        """How many times the network that draws runs for each image."""
        if self.model.kind == "stylegan2":
            return 1
        return network_calls(self.sampling.sampler, self.sampling.steps)
