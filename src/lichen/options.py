"""The options of each command, a frozen dataclass each; the fields shared with YAML files come from ``config``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lichen.bounds import between
from lichen.config import (
    AuditConfig,
    BudgetConfig,
    CarbonConfig,
    EnergyBudgetConfig,
    ImagesConfig,
    MemoryConfig,
    PhantomKind,
    RunConfig,
    SamplingConfig,
    SegmentationConfig,
)
from lichen.errors import ConfigError
from lichen.presets import PresetName
from lichen.searching.definition import Method

FeatureName = Literal["random-conv", "radiomics", "encoder"]
"""Features that need no file of weights."""


@dataclass(frozen=True)
class RunOptions(RunConfig):
    """Train, sample, measure, audit and report, in one run folder. The same command again resumes."""

    out: Path = Path("runs/run")
    """The run folder."""
    preset: PresetName = "standard"
    """Settings to start from: 'demo' (minutes on a CPU) or 'standard' (a GPU); chosen for 2D or 3D by the images."""
    config: Path | None = None
    """YAML file of settings that replace the preset's; options on the command line replace both."""
    json: bool = False
    """Print the summary as JSON."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class TrainOptions(RunOptions):
    """Train a generator and stop there; what it leaves in the run folder `lichen sample` and `lichen run` go on from.

    Those are the generator, the log of its training and the readings of energy. The same command again resumes.
    """

    json: bool = False
    """Print the path of the generator as JSON."""


@dataclass(frozen=True)
class SegmentOptions(SegmentationConfig):
    """Train a network that draws label maps, and test it on other patients. The same command again resumes.

    Patients are split in three, 60:20:20 by default: to train on, to choose the best weights and the end, and to test.
    """

    out: Path = Path("runs/segmentation")
    """The run folder."""
    config: Path | None = None
    """YAML file of settings; options on the command line replace them."""
    json: bool = False
    """Print the summary as JSON."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class PredictOptions(RunConfig):
    """Say what a run would take on this machine: time, energy, CO2e and memory, with 90 % intervals.

    Some seconds of its real training step, network call and decoder are timed; nothing is trained or kept.
    """

    samples: int | None = None
    """Synthetic images to plan for; default: sampling.count."""
    images_seen: int | None = None
    """Images that the denoiser is to see; default: training.images_seen."""
    preset: PresetName = "standard"
    """Settings to start from: 'demo' or 'standard'; chosen for 2D or 3D by the images."""
    config: Path | None = None
    """YAML file of settings that replace the preset's; options on the command line replace both."""
    json: bool = False
    """Print the forecast as JSON."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        for name, value in (("samples", self.samples), ("images-seen", self.images_seen)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it must be at least 1", fix=f"give --{name} 1 or more")


@dataclass(frozen=True)
class WhatifOptions:
    """Say what a finished run would have cost elsewhere, in another month or with other numbers. Nothing is run."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    samples: int | None = None
    """Number of synthetic images; default: as many as were drawn."""
    steps: int | None = None
    """Steps of the sampler; default: as it was."""
    shared_over: int | None = None
    """Images that the training is shared over, in the figure per image; default: the samples."""
    places: bool = False
    """List every country, the cleanest first."""
    chart: Path | None = None
    """Write countries and months as a picture to this SVG file."""
    json: bool = False
    """Print everything as JSON."""


@dataclass(frozen=True)
class ImagesOptions:
    """Say what lichen would read of a folder, and what is wrong with which image. Nothing is trained or changed.

    Exit code: 0 if there are images that can be used.
    """

    path: tyro.conf.Positional[Path]
    """Folder of DICOM, NIfTI, PNG, JPEG or TIFF images, or an .npz file."""
    images: ImagesConfig = field(default_factory=ImagesConfig)
    montage: Path | None = None
    """Write a contact sheet of some images to this PNG; it shows patients, and its name has to say so."""
    json: bool = False
    """Print what was found as JSON."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class TuneOptions:
    """How `lichen sample --tune` compares settings; it writes no images."""

    reference: Literal["ddim-250", "ddim-50"] = "ddim-250"
    """What images are to look like: a sampler without noise of its own, so that images compare one by one."""
    images: int = 64
    """Images that the reference and each setting draw; more see smaller differences."""


@dataclass(frozen=True)
class SampleOptions:
    """Draw synthetic images from a trained generator. The same command again draws what is missing."""

    model: tyro.conf.Positional[Path]
    """A run folder, or a generator.safetensors file."""
    out: Path | None = None
    """Folder for the images; default: samples/ of the run folder."""
    tune: bool = False
    """Draw none: find the cheapest setting that samples as the reference does, and keep it in the checkpoint."""
    tuning: Annotated[TuneOptions, tyro.conf.arg(name="tune")] = field(default_factory=TuneOptions)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    device: str = "auto"
    """'cpu', 'cuda', 'cuda:1', or 'auto' for a GPU if there is one."""
    json: bool = False
    """Print what was drawn as JSON."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class GridOptions:
    """How images are read that are compared with each other; with --run as in that run."""

    patient_column: str | None = None
    """Column of metadata.csv or participants.tsv that names the patient; default: patient, subject or group."""
    channels: tuple[str, ...] = ()
    """Of real images, what names of a case's files end in, as in lichen run; a synthetic image has all in one file."""
    label: str | None = None
    """Channel that is a label map, or the table's column of its files; last in the files of synthetic images."""
    slices: str | None = None
    """Which axial slices of real volumes are compared with synthetic pictures, as in lichen run."""
    size: tuple[int, ...] | None = None
    """Grid on which images are compared, e.g. 64 64; default: that of the synthetic images, if they share one."""
    fit: Literal["resize", "crop-pad"] = "resize"
    """How an image comes to the grid; it must be as it was for the generator."""
    skip_bad: bool = False
    """Leave out single images that cannot be used, and say how many, instead of stopping at the first."""


@dataclass(frozen=True)
class AuditOptions:
    """Say whether synthetic images, from any generator, are copies of training patients.

    Exit code: 0 clean, 1 copies found, 3 inconclusive.
    """

    synthetic: Path
    """Folder (or .npz) of synthetic images."""
    out: Path
    """Folder for audit.json, report.html and PRIVATE-names.json."""
    train: Path | None = None
    """Folder of the images the generator was trained on."""
    reference: Path | None = None
    """Folder of real images of other patients, from the same source, never trained on."""
    withheld: Path | None = None
    """Folder of as many images as were trained on, of patients never used for anything: decides by competition."""
    run: Path | None = None
    """Instead of both: a run folder, whose training and held-out patients are then compared with."""
    model: Path | None = None
    """A run folder whose generator is asked whether it knows its training patients better than held-out ones."""
    images: GridOptions = field(default_factory=GridOptions)
    audit: AuditConfig = field(default_factory=AuditConfig)
    review: bool = False
    """Write a page to look at the pairs, too; it contains patient images, and its name says so."""
    viewer: bool = False
    """Put the viewer NiiVue into that page, for volumes; needs lichen[viewer]."""
    reviewed: Path | None = None
    """Marks exported from that page: audit.json then says how they agree with the flags."""
    device: str = "auto"
    """Where a run's generator works, as in lichen sample."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    json: bool = False
    """Print the result as JSON."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class QualityOptions:
    """Say how good a synthetic set is: how far from real images, how true, how complete, how diverse.

    Each figure has an interval, and beside it stands the same figure between real images. None of them sees copies.
    """

    synthetic: Path | None = None
    """Folder (or .npz) of synthetic images; with --run by default its samples."""
    reference: Path | None = None
    """Folder of real images to compare with, best of patients that the generator never saw."""
    train: Path | None = None
    """Folder of other real images, best those it was trained on: their distance to the reference is the yardstick."""
    run: Path | None = None
    """Instead of both: a run folder, whose held-out and training images are then compared with."""
    features: tuple[FeatureName, ...] = ("random-conv", "radiomics")
    """In what images are compared: a fixed random network, radiomics, or an encoder trained on half of --train."""
    weights: tuple[str, ...] = ()
    """Networks whose weights you have, as NAME=PATH: inception (FID and IS), radimagenet, medicalnet (volumes)."""
    task: Literal["segmentation"] | None = None
    """What the images are good for: a segmenter learns from them and is tested on --reference; with --images.label."""
    task_config: Path | None = None
    """YAML file for it, as `lichen segment` takes, whose segmenter and training count; default: the defaults there."""
    out: Path | None = None
    """Folder for quality.json and quality.html; default: quality/ here, or in the run folder."""
    images: GridOptions = field(default_factory=GridOptions)
    device: str = "auto"
    """Where networks work, as in lichen sample."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    json: bool = False
    """Print the figures as JSON."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        if self.run is None and (self.synthetic is None or self.reference is None):
            raise ConfigError(
                "quality needs synthetic images and real ones to compare them with",
                fix="give --synthetic DIR and --reference DIR, or --run RUN for those of a run folder",
            )
        if self.run is not None and (self.reference or self.train):
            raise ConfigError("--run stands for --reference and --train", fix="leave out either --run or these")
        if self.task is not None and self.run is None and self.images.label is None:
            raise ConfigError(
                "a segmenter learns from label maps, and nothing says where they are",
                fix="name their channel with --images.label",
            )
        if "encoder" in self.features and self.run is None and self.train is None:
            raise ConfigError(
                "the encoder is trained on real images that are not compared", fix="give --train DIR, or leave it out"
            )
        for words in self.weights:
            if not all(words.partition("=")):
                raise ConfigError(f"--weights {words} names no network and file", fix="e.g. --weights inception=PATH")
        if not self.features and not self.weights:
            raise ConfigError("there are no features to compare images in", fix="e.g. --features random-conv")


@dataclass(frozen=True)
class ReleaseOptions:
    """Make a folder to share of an audited synthetic set: what passed, a data card, and a sum of every file.

    Exit code: 0 released; 1 not released, because too many images may be copies or a second look finds some;
    3 not released, because the audit or the second look is inconclusive.
    """

    audit: tyro.conf.Positional[Path]
    """A run folder; or, with --synthetic, the folder that `lichen audit` wrote audit.json into."""
    out: Path
    """The folder to make; an existing one is never added to."""
    synthetic: Path | None = None
    """The folder of synthetic images that was audited, where that is not a run folder's own."""
    max_copy_rate: float = 0.01
    """Largest share of copies among the released images that the audit may leave possible (upper end of 95 %)."""
    allow_inconclusive: bool = False
    """Release in spite of an inconclusive audit or second look; the data card says so at its top."""
    second_look: str | None = None
    """Score that the audit did not use, e.g. pearson; the images that passed are audited by it before they leave."""
    train: Path | None = None
    """For the second look: folder of the images the generator was trained on."""
    reference: Path | None = None
    """For the second look: folder of real images of other patients, from the same source, never trained on."""
    run: Path | None = None
    """For the second look, instead of both: a run folder; default: the one that is released from."""
    images: GridOptions = field(default_factory=GridOptions)
    json: bool = False
    """Print the result as JSON."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        between("max-copy-rate", self.max_copy_rate, 0.0, 1.0)
        if (self.train is None) != (self.reference is None):
            raise ConfigError("a second look takes --train and --reference together", fix="give both, or --run RUN")
        if self.second_look is None and (self.train or self.run):
            raise ConfigError(
                "--train, --reference and --run are for a second look", fix="add --second-look, e.g. pearson"
            )


@dataclass(frozen=True)
class ReportOptions:
    """Write report.html of a run folder anew, on request as if its energy had been used elsewhere."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    json: bool = False
    """Print the path and the summary as JSON."""


@dataclass(frozen=True)
class CardOptions:
    """Write what a finished run used in other people's forms: model card, codecarbon, ISO/IEC 21031, and a paper."""

    run: tyro.conf.Positional[Path]
    """The run folder."""
    out: Path | None = None
    """Folder for the four files; default: cards/ of the run folder."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    json: bool = False
    """Print the four texts as JSON."""


@dataclass(frozen=True)
class RunsOptions:
    """List run folders with state, energy, grams and verdict, and what they used together."""

    root: tyro.conf.Positional[Path] = Path("runs")
    """Folder that holds run folders."""
    by: Literal["person", "project", "none"] = "none"
    """Add sums by the labels that runs were given."""
    year: int | None = None
    """Only runs that last used energy in this year."""
    csv: bool = False
    """Print the table as comma-separated values."""
    json: bool = False
    """Print table and sums as JSON."""


@dataclass(frozen=True)
class MeasureOptions:
    """Measure any program, its children included: the command after `--`. Its exit code is passed on."""

    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    trace: Path | None = None
    """File that keeps the readings, through a crash too; what is there of this program before is in the sum."""
    json: bool = False
    """Print the result as JSON. It goes to stderr, since stdout is the program's."""


@dataclass(frozen=True)
class SlurmOptions:
    """Print a batch script for the Slurm scheduler that runs the lichen command after `--`.

    It starts torchrun on each node, stops the processes before the time is up, and queues the job again.
    """

    nodes: int = 1
    """How many machines."""
    gpus: int = 1
    """GPUs on each; 0 works on the CPU."""
    cpus: int = 8
    """CPU cores on each."""
    time: str = "08:00:00"
    """The time limit of the job, as Slurm writes it."""
    notice_s: int = 120
    """How many seconds before the limit the processes are told to save and end."""
    partition: str | None = None
    """Slurm's partition."""
    account: str | None = None
    """Slurm's account."""


@dataclass(frozen=True)
class StudyOptions:
    """Run a table of trainings that answers a question, several at once, and judge what papers say. Repeating resumes.

    The studies: beware (diffusion beside StyleGAN2: who copies patients), memorization (what makes diffusion copy),
    latent-pollution (what 2D and 3D synthesis costs, forecast from probes), or a YAML file of your own.

    Exit code: 0 all runs are finished, 2 some failed; what was found is written all the same.
    """

    name: tyro.conf.Positional[str]
    """A study's name, or the path of its YAML file."""
    out: Path | None = None
    """The folder of the study; default: studies/NAME-SIZE."""
    data: tuple[str, ...] = ()
    """Folders of images, each as NAME=FOLDER with a name of the study's; a table without its images is left out."""
    size: Literal["small", "full"] = "small"
    """'small': hours on two CPU cores; 'full': days on a GPU."""
    processes: int = 1
    """How many runs to work on at once; they share the cores."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    json: bool = False
    """Print what was found as JSON."""
    quiet: bool = False
    """Show no progress."""

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ConfigError(f"processes is {self.processes}; it must be at least 1", fix="give --processes 1 or more")
        for each in self.data:
            name, found, folder = each.partition("=")
            if not (name and found and folder):
                raise ConfigError(f"{each} names no images", fix="give NAME=FOLDER, e.g. --data chest=images/chest")

    @property
    def folders(self) -> dict[str, Path]:
        """The folders of ``data`` by name."""
        return {name: Path(folder) for name, _, folder in (each.partition("=") for each in self.data)}


@dataclass(frozen=True)
class SelectOptions:
    """Find the settings to take under a carbon budget: train what may be worth it, forecast and refuse the rest.

    Each candidate's cost is forecast from some seconds of its real work. What cannot keep the budget, or is most likely
    worse and dearer than another, is never trained, or stopped. The same command again resumes.

    Exit code: 0 the search is over, 2 some candidates failed, 4 no candidate keeps the budget.
    """

    search: tyro.conf.Positional[Path]
    """YAML file of the search: the task, the settings that differ, and what counts."""
    out: Path | None = None
    """The folder of the search; default: searches/NAME."""
    data: Path | None = None
    """Folder of images that all candidates learn from; default: as the file says, or phantoms."""
    method: Method = "grid"
    """'grid': all combinations; 'random'; 'optuna': its sampler for several objectives; needs lichen[search]."""
    trials: int | None = None
    """How many points of the space to try, with each seed; a grid tries all."""
    seed: int = 0
    """Seed of points at random and of Optuna's; those of candidates stand in the file."""
    processes: int = 1
    """How many candidates to work on at once; they share the cores."""
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    budget: EnergyBudgetConfig = field(default_factory=EnergyBudgetConfig)
    search_budget: EnergyBudgetConfig = field(default_factory=EnergyBudgetConfig)
    converge: bool = False
    """Cut every candidate at its budget, then let it go on until it is done, so that both are shown; --exhaustive."""
    exhaustive: bool = False
    """Train every candidate to its end; only limits refuse, and none is stopped for another."""
    json: bool = False
    """Print what was found as JSON."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class InitOptions:
    """Write a file with every setting, its default and its reason, to edit and give to --config."""

    path: tyro.conf.Positional[Path] = Path("lichen.yaml")
    """The file to write; an existing one is never overwritten."""
    images: Path | None = None
    """Folder of your images: the file then starts from settings for their number of axes."""
    phantoms: PhantomKind = "2d"
    """Which built-in phantoms to use when no images are given."""
    preset: PresetName = "standard"
    """Settings to start from: 'demo' or 'standard'."""


@dataclass(frozen=True)
class DoctorOptions:
    """Say what each meter, device and optional package can do here, and why not."""

    json: bool = False
    """Print the findings as JSON."""
