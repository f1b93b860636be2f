"""Samplers by name: what the presets stand for, which objectives each one serves, what it takes of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from lichen.errors import ConfigError

if TYPE_CHECKING:
    from lichen.config import SamplingConfig

Objective = Literal["v", "epsilon", "flow"]
SamplerName = Literal["ddpm", "ddim", "rflow", "heun", "dpmpp-2m", "unipc"]
ScheduleName = Literal["karras", "lu", "time"]
SamplingPreset = Literal["unipc-20", "dpmpp-20", "ddim-50", "ddim-250", "ddpm-1000", "rflow-30"]


@dataclass(frozen=True)
class PresetSampler:
    """What the name of a sampling preset stands for."""

    sampler: SamplerName
    schedule: ScheduleName
    steps: int


SAMPLING_PRESETS: Mapping[SamplingPreset, PresetSampler] = MappingProxyType(
    {
        "unipc-20": PresetSampler("unipc", "lu", 20),
        "dpmpp-20": PresetSampler("dpmpp-2m", "lu", 20),
        "ddim-50": PresetSampler("ddim", "time", 50),
        "ddim-250": PresetSampler("ddim", "time", 250),
        "ddpm-1000": PresetSampler("ddpm", "time", 1000),
        "rflow-30": PresetSampler("rflow", "time", 30),
    }
)
"""Solvers of higher order on the levels where they are best, and the first-order samplers on those of their papers."""


_SAMPLERS_OF_SOME: Mapping[SamplerName, tuple[Objective, ...]] = MappingProxyType(
    {"ddpm": ("v", "epsilon"), "rflow": ("flow",)}
)
"""Samplers that follow the noising of some objectives; all others solve the one equation that all objectives share."""


def supports(objective: Objective, sampler: SamplerName) -> bool:
    """Whether ``sampler`` can draw from a network of ``objective``."""
    return objective in _SAMPLERS_OF_SOME.get(sampler, (objective,))


def check_sampler(sampler: SamplerName, objective: Objective) -> None:
    """Raise ConfigError, with the presets that would do, if ``objective`` does not support ``sampler``."""
    if not supports(objective, sampler):
        named = [name for name, preset in SAMPLING_PRESETS.items() if preset.sampler == sampler]
        usable = [name for name, preset in SAMPLING_PRESETS.items() if supports(objective, preset.sampler)]
        raise ConfigError(
            f"the sampler {sampler} (preset {', '.join(named)}) is for the objective "
            f"{' or '.join(_SAMPLERS_OF_SOME[sampler])}; the objective here is {objective}",
            fix=f"set --sampling.preset to one of {', '.join(usable)}",
        )


def check_sampling(config: SamplingConfig, objective: Objective | None) -> None:
    """Raise ConfigError for settings that a model of this objective does not know; None: a GAN, without a denoiser."""
    if objective is not None:
        check_sampler(config.sampler, objective)
        if config.truncation != 1:
            raise ConfigError(
                f"sampling.truncation is {config.truncation:g}, and a diffusion model has no w to truncate",
                fix="leave it out, or train with --model.kind stylegan2",
            )
    elif config.compile:
        raise ConfigError("sampling.compile is on, and a StyleGAN2 has no denoiser to compile", fix="leave it out")


def network_calls(sampler: SamplerName, steps: int) -> int:
    """How many times the denoiser runs for each image when ``sampler`` visits ``steps`` noise levels."""
    return 2 * steps - 1 if sampler == "heun" else steps
