"""The noise levels of training and of sampling."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from lichen.diffusion import LEVELS, Process, noise_levels, straight, variance_preserving
from lichen.errors import ConfigError
from lichen.samplers import ScheduleName

SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
PRESERVING, STRAIGHT = variance_preserving(), straight()
PROCESSES = pytest.mark.parametrize("process", [PRESERVING, STRAIGHT], ids=["preserving", "straight"])


def test_alpha_bar_is_the_product_of_one_minus_betas_whose_roots_are_equally_spaced() -> None:
    alpha_bar = PRESERVING.levels.alpha**2
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    betas = 1.0 - alpha_bar / before
    assert len(betas) == LEVELS
    assert betas[0].item() == pytest.approx(0.0015, rel=1e-10)
    assert betas[-1].item() == pytest.approx(0.0195, rel=1e-10)
    torch.testing.assert_close(betas.sqrt().diff(n=2), torch.zeros(LEVELS - 2, dtype=torch.float64), atol=1e-12, rtol=0)


def test_times_of_the_straight_path_are_at_equal_distances_and_weigh_noise_as_they_say() -> None:
    alpha, beta = STRAIGHT.levels.alpha, STRAIGHT.levels.beta
    torch.testing.assert_close(beta.diff(), ((beta[-1] - beta[0]) / (LEVELS - 1)).expand(LEVELS - 1), rtol=1e-9, atol=0)
    torch.testing.assert_close(alpha, 1 - beta, rtol=1e-12, atol=0)
    assert len(STRAIGHT.levels) == LEVELS


def test_both_processes_go_from_the_same_least_noise_to_the_same_most() -> None:
    torch.testing.assert_close(STRAIGHT.sigmas[[0, -1]], PRESERVING.sigmas[[0, -1]], rtol=1e-12, atol=0)
    for name in ("lu", "karras"):
        torch.testing.assert_close(
            noise_levels(name, 20, STRAIGHT), noise_levels(name, 20, PRESERVING), rtol=1e-12, atol=0
        )


@PROCESSES
def test_the_noisiest_level_is_noise_but_for_a_few_thousandths_of_a_percent_of_its_variance(process: Process) -> None:
    high, low = process.sigmas[-1].item(), process.sigmas[0].item()
    assert 1 / (1 + high**2) < 1.5e-4
    assert low**2 / (1 + low**2) < 0.002


@PROCESSES
def test_sigma_is_the_weight_of_noise_over_that_of_the_image(process: Process) -> None:
    levels = process.levels
    torch.testing.assert_close(levels.beta / levels.alpha, process.sigmas)
    torch.testing.assert_close(levels.alpha**process.power + levels.beta**process.power, torch.ones_like(levels.alpha))
    assert process.sigmas.dtype == torch.float64
    assert bool((process.sigmas.diff() > 0).all())


@PROCESSES
def test_the_time_step_of_a_level_is_found_again_between_time_steps_too(process: Process) -> None:
    time_steps = torch.tensor([0.0, 0.25, 1.0, 499.5, 997.75, 999.0], dtype=torch.float64)
    found = [process.time_step(sigma) for sigma in process.sigmas_at(time_steps)]
    assert found == pytest.approx(time_steps.tolist(), abs=1e-9)


@PROCESSES
@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [2, 3, 20, 1000])
def test_levels_fall_from_the_largest_trained_sigma_over_the_smallest_to_zero(
    name: ScheduleName, steps: int, process: Process
) -> None:
    sigmas, trained = noise_levels(name, steps, process), process.sigmas
    assert sigmas.shape == (steps + 1,)
    assert sigmas[[0, -2, -1]].tolist() == [trained[-1].item(), trained[0].item(), 0.0]
    assert bool((sigmas.diff() < 0).all())


def test_karras_levels_are_uniform_in_the_seventh_root_of_sigma() -> None:
    roots = noise_levels("karras", 20, PRESERVING)[:-1] ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(19), rtol=1e-10, atol=0)


def test_lu_levels_are_uniform_in_log_signal_to_noise_ratio() -> None:
    log_snr = -2 * noise_levels("lu", 20, PRESERVING)[:-1].log()
    torch.testing.assert_close(log_snr.diff(), log_snr.diff().mean().expand(19), rtol=1e-10, atol=0)


@PROCESSES
def test_time_levels_with_every_training_step_are_the_training_levels(process: Process) -> None:
    sigmas = noise_levels("time", LEVELS, process)[:-1]
    torch.testing.assert_close(sigmas, process.sigmas.flip(0), rtol=1e-12, atol=0)


@PROCESSES
def test_time_levels_on_a_divisor_of_the_grid_are_every_so_manieth_training_level(process: Process) -> None:
    sigmas = noise_levels("time", 28, process)[:-1]  # 999 = 27 x 37
    torch.testing.assert_close(sigmas, process.sigmas.flip(0)[::37], rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [2, 20, 30])
def test_time_levels_of_the_straight_path_are_uniform_in_the_flows_time(steps: int) -> None:
    sigmas = noise_levels("time", steps, STRAIGHT)[:-1]
    times = sigmas / (1 + sigmas)
    torch.testing.assert_close(times.diff(), times.diff().mean().expand(steps - 1), rtol=1e-10, atol=0)


def test_a_single_step_is_refused_with_a_fix() -> None:
    with pytest.raises(ConfigError, match=r"steps is 1[^0-9].*\n.*--sampling\.steps"):
        noise_levels("karras", 1, PRESERVING)
