"""A compiled denoiser draws the same images, is told of, and is paid for by sampling."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor, nn

from lichen.carbon import Footprint, Plan, Range, overtakes_at
from lichen.carbon.whatif import synthesis_j
from lichen.chain.forecasting import Work
from lichen.config import AutoencoderConfig, DenoiserConfig, RunConfig, SamplingConfig
from lichen.errors import DependencyError
from lichen.footprint import SYNTHESIS, footprint_of
from lichen.sampling import draw_samples, images_drawn
from lichen.sampling.compiling import compiled
from lichen.team import Team
from lichen.training.generator import Diffusion
from lichen.training.specs import DiffusionSpec

AFFINE = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
NETWORKS = AutoencoderConfig(channels=(8,), latent_channels=1), DenoiserConfig(channels=(8,))
SPEC = DiffusionSpec((1, 8, 8), AFFINE, *NETWORKS, "v", is_phantom=True)


class Damp(nn.Module):
    """A denoiser of one line."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5), requires_grad=False)

    def forward(self, x_t: Tensor, time_steps: Tensor) -> Tensor:
        return self.weight * x_t.sin() * torch.sigmoid(time_steps / 1000)[:, None, None, None]


class AsItIs(nn.Module):
    """An autoencoder whose latents are the images."""

    def decode(self, latents: Tensor) -> Tensor:
        return latents


def generator() -> Diffusion:
    return Diffusion(SPEC, AsItIs(), Damp(), torch.zeros(1), torch.ones(1), "0" * 64)


def test_compiled_samples_are_those_of_the_network_as_it_is_and_compiling_is_a_phase(tmp_path: Path) -> None:
    phases: list[str] = []

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        phases.append(name)
        yield

    config = SamplingConfig(count=3, steps=4, batch_size=2)
    for name, settings in (("plain", config), ("fast", replace(config, compile=True))):
        draw_samples(generator(), range(3), settings, tmp_path / name, phase=phase)
    assert phases == ["denoise", "decode", "compile", "denoise", "decode"]
    told = [json.loads((tmp_path / name / "sample-000000.json").read_text())["compile"] for name in ("plain", "fast")]
    assert told == [False, True]
    for index in range(3):
        one, other = (pixels(tmp_path / name / f"sample-{index:06}.png") for name in ("plain", "fast"))
        assert np.abs(one - other).max() <= 7  # of 65535: 1e-4
        assert one.std() > 1000


def test_the_bar_counts_the_images_that_are_kept_and_not_the_rest_of_their_batches(tmp_path: Path) -> None:
    config = SamplingConfig(count=6, steps=4, batch_size=4)
    for indices, each in ((range(6), [4, 2]), ([5], [1])):
        counted: list[int] = []
        draw_samples(generator(), indices, config, tmp_path, step=counted.append)
        assert counted == each
        assert images_drawn(indices, config) == sum(each)
    second = Team(rank=1, size=2, local_rank=1)
    assert images_drawn(range(6), config, second) == 2


def pixels(path: Path) -> NDArray[np.int64]:
    with Picture.open(path) as picture:
        return np.asarray(picture, dtype=np.int64)


def test_a_network_that_cannot_be_compiled_is_said_with_a_fix() -> None:
    def broken(_: Diffusion) -> None:
        from torch._dynamo.exc import BackendCompilerFailed

        raise BackendCompilerFailed(lambda: None, RuntimeError("no g++"), None)

    with pytest.raises(DependencyError, match=r"cannot be compiled here[\s\S]*C\+\+ compiler"):
        compiled(generator(), broken)


def exactly(joules: float) -> Range:
    return Range(joules, joules, joules)


def test_compiling_is_of_synthesis_and_does_not_grow_with_the_images() -> None:
    phases = [
        {"phase": name, "low_j": joules, "energy_j": joules, "high_j": joules}
        for name, joules in (("diffusion", 1000.0), ("compile", 50.0), ("denoise", 20.0), ("decode", 4.0))
    ]
    found = footprint_of(phases, images=8, network_calls=10, batch_size=8)
    assert found is not None
    assert found.compile_j == exactly(50.0)
    assert synthesis_j(found) == exactly(74.0)
    assert synthesis_j(found, Plan(images=80)) == exactly(290.0)
    assert synthesis_j(found, Plan(calls=20)) == exactly(94.0)
    assert overtakes_at(found) == 8 * 40  # 1000 < 50 + 24 n from n = 40 batches on
    assert overtakes_at(Footprint(exactly(10.0), exactly(1.0), exactly(1.0), images=1, calls=1)) == 6
    assert "compile" in SYNTHESIS


def test_a_plan_with_compiling_has_it_once_and_one_without_has_not() -> None:
    config = RunConfig(sampling=SamplingConfig(count=10, compile=True))
    assert list(Work(SPEC, config, 0, 10).units().items()) == [("compile", 1), ("denoise", 16), ("decode", 16)]
    plain = replace(config, sampling=replace(config.sampling, compile=False))
    assert "compile" not in Work(SPEC, plain, 0, 10).units()
    assert not Work(SPEC, config, 0, 0).units()
