"""Settings of a segmentation: a network that draws the label map of an image, trained until it improves no more."""

from __future__ import annotations

from dataclasses import dataclass, field

from lichen.bounds import at_least, between, positive
from lichen.config.carbon import CarbonConfig
from lichen.config.images import ImagesConfig
from lichen.config.limits import BudgetConfig
from lichen.config.run import LabelsConfig
from lichen.config.training import Precision


@dataclass(frozen=True)
class SegmenterConfig:
    """The network that draws the label map (MONAI's UNet)."""

    width: int = 16
    """Feature channels of the first level; each further level has twice as many."""
    levels: int = 4
    """Levels; each after the first halves every axis."""
    residual_units: int = 0
    """Residual units of two convolutions at each level; 0: one plain convolution."""

    def __post_init__(self) -> None:
        at_least("segmenter.width", self.width, 1)
        between("segmenter.levels", self.levels, 2, 8)
        between("segmenter.residual-units", self.residual_units, 0, 8)


@dataclass(frozen=True)
class SegmentationTraining:
    """How the segmenter is trained."""

    images_seen: int = 100_000
    """How many training images the segmenter sees at most, repeats included."""
    patience: int = 10
    """Training ends after so many validations without a better Dice."""
    validate_every: int | None = None
    """Images seen between two validations; default: as many as there are to train on."""
    validation_fraction: float = 0.25
    """Share of the patients that are not held out who choose the weights and the end; of 80 % it is 20 % of all."""
    batch_size: int = 16
    """Images per optimiser step."""
    learning_rate: float = 5e-3
    """Learning rate of Adam; constant."""
    precision: Precision = "fp32"
    """Precision of the network's arithmetic; bf16 halves memory and is fast only on hardware that has it."""
    checkpoint_every_s: float = 300.0
    """Seconds between checkpoints; a crash loses at most that much work."""
    seed: int = 0
    """Seed of weights and batches."""
    device: str = "auto"
    """'cpu', 'cuda', 'cuda:1', or 'auto' for a GPU if there is one."""
    threads: int | None = None
    """CPU threads; default: PyTorch's own choice. Results are bit-identical only at a fixed number."""

    def __post_init__(self) -> None:
        for name in ("images_seen", "patience", "batch_size"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name, value in (("validate_every", self.validate_every), ("threads", self.threads)):
            if value is not None:
                at_least(f"training.{name}", value, 1)
        between("training.validation-fraction", self.validation_fraction, 0.05, 0.9)
        for name in ("learning_rate", "checkpoint_every_s"):
            positive(f"training.{name}", getattr(self, name))


@dataclass(frozen=True)
class SegmentationConfig:
    """All settings of a segmentation."""

    images: ImagesConfig = field(default_factory=lambda: ImagesConfig(held_out_fraction=0.2))
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    training: SegmentationTraining = field(default_factory=SegmentationTraining)
    carbon: CarbonConfig = field(default_factory=CarbonConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    labels: LabelsConfig = field(default_factory=LabelsConfig)
