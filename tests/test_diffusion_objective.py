"""What the network predicts, and the bridge from a network to a denoiser."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from lichen.diffusion import (
    LEVELS,
    Network,
    add_noise,
    denoiser_of,
    noise_levels,
    process_of,
    straight,
    target,
    variance_preserving,
    x0_from_output,
)
from lichen.samplers import Objective

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
PRESERVING, STRAIGHT = variance_preserving(), straight()
SIGMAS = PRESERVING.sigmas


def images(count: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(count, 2, 3, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_true_target_gives_back_x0_at_every_training_level(objective: Objective) -> None:
    x0, noise = images(LEVELS, 1), images(LEVELS, 2)
    levels = process_of(objective).levels
    output = target(objective, x0, noise, levels)
    x0_again = x0_from_output(objective, add_noise(x0, noise, levels), output, levels)
    torch.testing.assert_close(x0_again, x0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", ["v", "flow"])
def test_v_and_flow_in_float32_give_back_x0_to_rounding_at_every_training_level(objective: Objective) -> None:
    levels = process_of(objective).levels
    x0, noise = images(LEVELS, 1, torch.float32), images(LEVELS, 2, torch.float32)
    x_t = add_noise(x0, noise, levels)
    x0_again = x0_from_output(objective, x_t, target(objective, x0, noise, levels), levels)
    assert x0_again.dtype == torch.float32
    torch.testing.assert_close(x0_again, x0, rtol=0, atol=2e-6)


def test_noised_unit_variance_images_keep_unit_variance() -> None:
    for t in (0, 500, 999):
        x_t = add_noise(images(4000, 1), images(4000, 2), PRESERVING.levels[t])
        assert x_t.var().item() == pytest.approx(1.0, abs=0.02)


def test_v_is_the_velocity_of_the_rotation_from_x0_to_noise() -> None:
    # x(phi) = cos(phi) x0 + sin(phi) eps has dx/dphi = v: Salimans & Ho 2022, App. D
    x0, noise = images(1, 1), images(1, 2)
    phi = torch.tensor(0.7, dtype=torch.float64)
    ahead, at, behind = (PRESERVING.level((phi + step).tan()) for step in (1e-6, 0.0, -1e-6))
    velocity = (add_noise(x0, noise, ahead) - add_noise(x0, noise, behind)) / 2e-6
    torch.testing.assert_close(target("v", x0, noise, at), velocity, rtol=0, atol=1e-8)


def test_flow_is_the_one_velocity_of_the_straight_line_from_x0_to_noise() -> None:
    x0, noise = images(1, 1), images(1, 2)
    first, last = STRAIGHT.levels[0], STRAIGHT.levels[LEVELS - 1]
    velocity = (add_noise(x0, noise, last) - add_noise(x0, noise, first)) / (last.beta - first.beta)
    for level in (first, last):
        torch.testing.assert_close(target("flow", x0, noise, level), velocity, rtol=0, atol=1e-12)
    torch.testing.assert_close(add_noise(x0, noise, first) - first.beta * velocity, x0, rtol=0, atol=1e-12)


def test_one_level_per_image_is_the_same_as_each_image_alone() -> None:
    x0, noise, levels = images(3, 1), images(3, 2), PRESERVING.levels[torch.tensor([0, 400, 999])]
    together = add_noise(x0, noise, levels)
    for i in range(3):
        assert torch.equal(together[i : i + 1], add_noise(x0[i : i + 1], noise[i : i + 1], levels[i]))


def exact_network(x0: Tensor, objective: Objective) -> Network:
    """A network that knows the one image there is: from x_t and t it works out the noise, and says v, eps or u."""
    levels = process_of(objective).levels

    def network(x_t: Tensor, time_steps: Tensor) -> Tensor:
        level = levels[time_steps.round().long()]
        alpha, beta = (weight.reshape(-1, 1, 1, 1) for weight in (level.alpha, level.beta))
        return target(objective, x0, (x_t - alpha * x0) / beta, level)

    return network


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("time_step", [0, 1, 313, 998, 999])
def test_the_bridge_undoes_the_scaling_and_the_objective_exactly(objective: Objective, time_step: int) -> None:
    x0, noise = images(2, 1), images(2, 2)
    denoise, sigma = denoiser_of(exact_network(x0, objective), objective), process_of(objective).sigmas[time_step]
    torch.testing.assert_close(denoise(x0 + sigma * noise, sigma), x0, rtol=0, atol=1e-9)


def time_steps_seen(sigmas: Tensor, dtype: torch.dtype = torch.float32, objective: Objective = "v") -> list[float]:
    seen: list[Tensor] = []

    def network(x_t: Tensor, time_steps: Tensor) -> Tensor:
        assert time_steps.shape == (len(x_t),)
        seen.append(time_steps[0])
        return torch.zeros_like(x_t)

    denoise = denoiser_of(network, objective)
    for sigma in sigmas:
        denoise(torch.zeros(2, 1, 4, dtype=dtype), sigma)
    return [float(time_step) for time_step in seen]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_levels_reach_the_network_as_their_own_index(objective: Objective) -> None:
    seen = time_steps_seen(process_of(objective).sigmas, objective=objective)
    assert seen == pytest.approx(range(LEVELS), abs=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_both_ends_of_every_schedule_are_the_first_and_last_time_step_exactly(objective: Objective) -> None:
    ends = noise_levels("karras", 7, process_of(objective))[[0, -2]]
    assert time_steps_seen(ends, objective=objective) == [LEVELS - 1, 0]


def test_half_way_in_log_sigma_is_half_way_in_time() -> None:
    between = (SIGMAS[500] * SIGMAS[501]).sqrt()
    assert time_steps_seen(between[None]) == pytest.approx([500.5], abs=1e-4)


def test_half_way_on_the_straight_path_is_half_way_in_time() -> None:
    time = STRAIGHT.levels.beta[[3, 4]].mean()
    assert time_steps_seen((time / (1 - time))[None], objective="flow") == pytest.approx([3.5], abs=1e-4)


def test_bfloat16_images_keep_their_time_step() -> None:
    assert time_steps_seen(SIGMAS[[997]], torch.bfloat16) == pytest.approx([997], abs=1e-3)


def test_a_network_in_bfloat16_adds_only_the_rounding_of_its_output() -> None:
    x, sigma = images(3, 1, torch.float32), SIGMAS[500]
    x_t = x / (1 + sigma**2).sqrt()
    estimate = denoiser_of(lambda x_t, _: x_t.bfloat16(), "v")(x, sigma)
    expected = x0_from_output("v", x_t, x_t.bfloat16().float(), PRESERVING.levels[500])
    assert estimate.dtype == torch.float32
    torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_a_noise_level_the_network_never_saw_is_refused(factor: float) -> None:
    sigma = SIGMAS[0] * factor if factor < 1 else SIGMAS[-1] * factor
    with pytest.raises(ValueError, match="outside the trained range"):
        time_steps_seen(sigma[None])
