"""The noise levels of training and of sampling."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from lichen.config import ScheduleName
from lichen.diffusion import LEVELS, make_alphas_cumprod, noise_levels, sigmas_of
from lichen.errors import ConfigError

SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)
ALPHAS_CUMPROD = make_alphas_cumprod()


def test_alpha_bar_is_the_product_of_one_minus_betas_whose_roots_are_equally_spaced() -> None:
    before = torch.cat([torch.ones(1, dtype=torch.float64), ALPHAS_CUMPROD[:-1]])
    betas = 1.0 - ALPHAS_CUMPROD / before
    assert len(betas) == LEVELS
    assert betas[0].item() == pytest.approx(0.0015, rel=1e-10)
    assert betas[-1].item() == pytest.approx(0.0195, rel=1e-10)
    torch.testing.assert_close(betas.sqrt().diff(n=2), torch.zeros(LEVELS - 2, dtype=torch.float64), atol=1e-12, rtol=0)


def test_the_noisiest_level_is_noise_but_for_less_than_a_thousandth_of_its_variance() -> None:
    assert 0 < ALPHAS_CUMPROD[-1].item() < 1e-3
    assert ALPHAS_CUMPROD[0].item() > 0.998


def test_sigma_squared_is_noise_variance_over_signal_variance() -> None:
    sigmas = sigmas_of(ALPHAS_CUMPROD)
    torch.testing.assert_close(1 / (1 + sigmas**2), ALPHAS_CUMPROD)
    assert sigmas.dtype == torch.float64


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [2, 3, 20, 1000])
def test_levels_fall_from_the_largest_trained_sigma_over_the_smallest_to_zero(name: ScheduleName, steps: int) -> None:
    sigmas, trained = noise_levels(name, steps, ALPHAS_CUMPROD), sigmas_of(ALPHAS_CUMPROD)
    assert sigmas.shape == (steps + 1,)
    assert sigmas[[0, -2, -1]].tolist() == [trained[-1].item(), trained[0].item(), 0.0]
    assert bool((sigmas.diff() < 0).all())


def test_karras_levels_are_uniform_in_the_seventh_root_of_sigma() -> None:
    roots = noise_levels("karras", 20, ALPHAS_CUMPROD)[:-1] ** (1 / 7)
    torch.testing.assert_close(roots.diff(), roots.diff().mean().expand(19), rtol=1e-10, atol=0)


def test_lu_levels_are_uniform_in_log_signal_to_noise_ratio() -> None:
    log_snr = -2 * noise_levels("lu", 20, ALPHAS_CUMPROD)[:-1].log()
    torch.testing.assert_close(log_snr.diff(), log_snr.diff().mean().expand(19), rtol=1e-10, atol=0)


def test_time_levels_with_every_training_step_are_the_training_levels() -> None:
    sigmas = noise_levels("time", LEVELS, ALPHAS_CUMPROD)[:-1]
    torch.testing.assert_close(sigmas, sigmas_of(ALPHAS_CUMPROD).flip(0), rtol=1e-12, atol=0)


def test_time_levels_on_a_divisor_of_the_grid_are_every_so_manieth_training_level() -> None:
    sigmas = noise_levels("time", 28, ALPHAS_CUMPROD)[:-1]  # 999 = 27 x 37
    torch.testing.assert_close(sigmas, sigmas_of(ALPHAS_CUMPROD).flip(0)[::37], rtol=1e-12, atol=0)


def test_a_single_step_is_refused_with_a_fix() -> None:
    with pytest.raises(ConfigError, match=r"steps is 1[^0-9].*\n.*--sampling\.steps"):
        noise_levels("karras", 1, ALPHAS_CUMPROD)
