"""That a network learns what its objective asks for, on a distribution that is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lichen.diffusion import GaussianMixture, denoiser_of, noise_levels, process_of, rflow, unipc
from lichen.samplers import Objective
from lichen.stopping import Stopped
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.loop import Recipe, train

CPU = torch.device("cpu")
TWO_PEAKS = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.2, 0.2]), torch.tensor([0.5, 0.5]))
RECIPE = Recipe(
    phase="diffusion",
    images=150_000,
    batch_size=512,
    learning_rate=5e-3,
    ema_images=15_000,
    gradient_clip=1.0,
    precision="fp32",
    seed=0,
    checkpoint_every_s=1e9,
)


class Perceptron(nn.Module):
    """A denoiser of single numbers (B, 1, 1, 1)."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(9, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
        waves = torch.sin(timesteps.to(x)[:, None] * torch.arange(1, 9) * (math.pi / 2000))
        y: Tensor = self.layers(torch.cat([x.flatten(1), waves], dim=1))
        return y.reshape(x.shape)


def examples(count: int) -> Tensor:
    noise = torch.randn(count, generator=torch.Generator().manual_seed(1))
    return (torch.arange(count) % 2 * 2 - 1 + 0.2 * noise).reshape(count, 1, 1, 1)


def test_a_network_trained_on_rectified_flow_draws_both_peaks(tmp_path: Path) -> None:
    loss = denoiser_loss("flow", CPU)
    losses: list[float] = []

    def log(record: Mapping[str, float | int | str]) -> None:
        losses.append(float(record["loss"]))

    network = train(Perceptron(), examples(4096), loss, RECIPE, state_path=tmp_path / "s.safetensors", log=log)
    assert sum(losses[-20:]) / 20 < 0.8 * losses[0]
    quantiles = torch.special.ndtri((torch.arange(500, dtype=torch.float64) + 0.5) / 500).float()[:, None, None, None]
    process = process_of("flow")
    for sampler, schedule, steps in ((unipc, "lu", 20), (rflow, "time", 30)):
        sigmas = noise_levels(schedule, steps, process)  # type: ignore[arg-type]  # names of schedules
        drawn = sampler(denoiser_of(network, "flow"), float(sigmas[0]) * quantiles, sigmas)
        assert TWO_PEAKS.wasserstein2(drawn) < 0.3


class Stop:
    """Says stop when asked for the n-th time."""

    def __init__(self, last: int) -> None:
        self.left = last

    def __call__(self) -> bool:
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize("objective", ["v", "flow"])
def test_a_stopped_training_goes_on_to_the_same_bits_whatever_the_objective(
    objective: Objective, tmp_path: Path
) -> None:
    recipe = Recipe(**{**vars(RECIPE), "images": 64, "batch_size": 8})
    paths = [tmp_path / f"{name}.safetensors" for name in ("whole", "stopped")]
    whole = train(Perceptron(), examples(32), denoiser_loss(objective, CPU), recipe, state_path=paths[0], log=_nowhere)
    with pytest.raises(Stopped):
        train(
            Perceptron(),
            examples(32),
            denoiser_loss(objective, CPU),
            recipe,
            state_path=paths[1],
            log=_nowhere,
            stop=Stop(3),
        )
    again = train(Perceptron(), examples(32), denoiser_loss(objective, CPU), recipe, state_path=paths[1], log=_nowhere)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("objective", ["v", "epsilon", "flow"])
def test_the_loss_of_saying_nothing_is_the_mean_square_of_the_target(objective: Objective) -> None:
    # of unit-variance images: v and noise have variance 1 at every level, noise - image has 2
    images = torch.randn(4096, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    class Silent(nn.Module):
        def forward(self, x: Tensor, timesteps: Tensor) -> Tensor:
            return torch.zeros_like(x) * timesteps[0]

    draws = Draws.of_step(0, "diffusion", 0, len(images), slice(0, len(images)), CPU)
    value = denoiser_loss(objective, CPU)(Silent(), images, draws)
    assert value.item() == pytest.approx(2.0 if objective == "flow" else 1.0, rel=0.03)


def _nowhere(_: Mapping[str, float | int | str]) -> None:
    pass
