"""All settings of a run together."""

from __future__ import annotations

from dataclasses import dataclass, field

from lichen.config.audit import AuditConfig
from lichen.config.carbon import CarbonConfig
from lichen.config.images import ImagesConfig
from lichen.config.limits import BudgetConfig, MemoryConfig
from lichen.config.networks import AutoencoderConfig, DenoiserConfig, ModelConfig, StyleGAN2Config
from lichen.config.sampling import SamplingConfig
from lichen.config.training import ProbeConfig, TrainingConfig
from lichen.samplers import Objective, network_calls


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
