"""Settings of sampling."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lichen.bounds import at_least, between
from lichen.samplers import SAMPLING_PRESETS, SamplerName, SamplingPreset, ScheduleName


@dataclass(frozen=True)
class SamplingConfig:
    """How synthetic images are drawn."""

    count: int = 100
    """How many synthetic images; a larger number later adds to those already there."""
    preset: SamplingPreset | None = None
    """Sampler, schedule and steps of diffusion in one word, e.g. ddim-50; sets the next three, and is not kept."""
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
