"""Samplers by name: what the presets stand for, which objectives each one serves, what it takes of the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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


_OF_DIFFUSION = ("sampler", "schedule", "steps", "compile")
_OF_STYLEGAN2 = ("truncation",)
"""Settings of sampling that mean nothing to the other kind of model."""


def check_sampling(config: SamplingConfig, objective: Objective | None) -> None:
    """Raise ConfigError for settings that a model of this objective does not know; None: a GAN, without a denoiser.

    Those of the other kind are refused unless they have their defaults, which every preset and file may hold.
    """
    if objective is None:
        _refuse(config, _OF_DIFFUSION, "for diffusion, and a StyleGAN2 makes each image in one pass")
    else:
        check_sampler(config.sampler, objective)
        _refuse(config, _OF_STYLEGAN2, "for a StyleGAN2, and a diffusion model has no w to truncate")


def _refuse(config: SamplingConfig, names: Sequence[str], why: str) -> None:
    """Raise ConfigError where a setting of these ``names`` is not as by default."""
    defaults = {field.name: field.default for field in fields(config) if field.name in names}
    given = {name: getattr(config, name) for name, default in defaults.items() if getattr(config, name) != default}
    if given:
        asked = [f"sampling.{name} {_as_in_a_file(value)}" for name, value in given.items()]
        raise ConfigError(
            f"{' and '.join(asked)} {'is' if len(given) == 1 else 'are'} {why}",
            fix="leave out the option, the preset or the line of a file that asks for it; "
            f"by default it is {' and '.join(_as_in_a_file(defaults[name]) for name in given)}",
        )


def _as_in_a_file(value: object) -> str:
    return str(value).lower()


def network_calls(sampler: SamplerName, steps: int) -> int:
    """How many times the denoiser runs for each image when ``sampler`` visits ``steps`` noise levels."""
    return 2 * steps - 1 if sampler == "heun" else steps
