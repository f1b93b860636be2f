"""All settings, as frozen dataclasses: type, unit, default and one line of reason each.

The same fields are the options of the command line (``--images.path DIR``), the keys of a YAML file
(``images: {path: DIR}``) and the reference in ``docs/reference.md``.
"""

from lichen.config.audit import AuditConfig
from lichen.config.carbon import CarbonConfig
from lichen.config.images import ImagesConfig, PhantomKind, Volumes
from lichen.config.limits import BudgetConfig, EnergyBudgetConfig, MemoryConfig
from lichen.config.networks import (
    AutoencoderConfig,
    AutoencoderKind,
    DenoiserConfig,
    DenoiserKind,
    ModelConfig,
    ModelKind,
    StyleGAN2Config,
)
from lichen.config.run import LabelsConfig, RunConfig
from lichen.config.sampling import SamplingConfig
from lichen.config.segmentation import SegmentationConfig, SegmentationTraining, SegmenterConfig
from lichen.config.training import Augmentation, MirrorName, Precision, ProbeConfig, TrainingConfig

__all__ = [
    "AuditConfig",
    "Augmentation",
    "AutoencoderConfig",
    "AutoencoderKind",
    "BudgetConfig",
    "CarbonConfig",
    "DenoiserConfig",
    "DenoiserKind",
    "EnergyBudgetConfig",
    "ImagesConfig",
    "LabelsConfig",
    "MemoryConfig",
    "MirrorName",
    "ModelConfig",
    "ModelKind",
    "PhantomKind",
    "Precision",
    "ProbeConfig",
    "RunConfig",
    "SamplingConfig",
    "SegmentationConfig",
    "SegmentationTraining",
    "SegmenterConfig",
    "StyleGAN2Config",
    "TrainingConfig",
    "Volumes",
]
