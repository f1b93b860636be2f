"""Samplers, certified by denoisers that are exact: what error is left is the sampler's own."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from lichen.diffusion import (
    SAMPLERS,
    Denoise,
    GaussianMixture,
    Noise,
    add_noise,
    ddpm,
    denoiser_of,
    noise_levels,
    process_of,
    straight,
    target,
    unipc,
    variance_preserving,
)
from lichen.samplers import SAMPLING_PRESETS, Objective, SamplerName, SamplingPreset, network_calls

NAMES: tuple[SamplerName, ...] = get_args(SamplerName)
DETERMINISTIC: tuple[SamplerName, ...] = ("ddim", "rflow", "heun", "dpmpp-2m", "unipc")
PRESERVING, STRAIGHT = variance_preserving(), straight()

GAUSSIAN_MEAN, GAUSSIAN_STD = 0.4, 0.5
GAUSSIAN = GaussianMixture(
    torch.full((1, 2, 3, 4), GAUSSIAN_MEAN, dtype=torch.float64), torch.tensor([GAUSSIAN_STD]), torch.ones(1)
)
TWO_PEAKS_IN_3D = GaussianMixture(
    torch.stack([torch.full((2, 3, 4), -1.0), torch.ones(2, 3, 4)]).double(),
    torch.tensor([0.9, 0.7]),
    torch.tensor([0.5, 0.5]),
)
TWO_PEAKS = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.2, 0.2]), torch.tensor([0.5, 0.5]))


def seeded_noise(shape: torch.Size, dtype: torch.dtype = torch.float64) -> Noise:
    return lambda step: torch.randn(shape, generator=torch.Generator().manual_seed(step), dtype=dtype)


def start(*shape: int, sigma: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """What sampling starts from: sigma times standard normal noise."""
    return sigma.item() * torch.randn(*shape, generator=torch.Generator().manual_seed(99), dtype=dtype)


def normal_quantiles(count: int) -> Tensor:
    quantiles: Tensor = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return quantiles[:, None]


def states_before_each_step(name: SamplerName, denoise: Denoise, x: Tensor, sigmas: Tensor) -> list[Tensor]:
    states: list[Tensor] = []

    def callback(step: int, x: Tensor, sigma: float, x0: Tensor) -> None:
        states.append(x)

    SAMPLERS[name](denoise, x, sigmas, noise=seeded_noise(x.shape), callback=callback)
    return states


def log_spaced(high: float, low: float, steps: int) -> Tensor:
    levels = torch.linspace(math.log(high), math.log(low), steps, dtype=torch.float64).exp()
    return torch.cat([levels, torch.zeros(1, dtype=torch.float64)])


def gaussian_flow(x: Tensor, s: Tensor, u: Tensor) -> Tensor:
    """The exact solution of dx/dsigma = (x - D) / sigma from s to u: the distance to the mean scales with the std."""
    return GAUSSIAN_MEAN + (x - GAUSSIAN_MEAN) * ((GAUSSIAN_STD**2 + u**2) / (GAUSSIAN_STD**2 + s**2)).sqrt()


# ---- order of convergence ----


def gaussian_error(name: SamplerName, steps: int) -> float:
    """Largest error against the closed form; the step to 0 is the same exact denoising on both sides."""
    sigmas = log_spaced(10.0, 0.1, steps)
    x = start(5, 2, 3, 4, sigma=sigmas[0])
    exact = GAUSSIAN.denoise(gaussian_flow(x, sigmas[0], sigmas[-2]), sigmas[-2])
    return float((SAMPLERS[name](GAUSSIAN.denoise, x, sigmas) - exact).abs().max())


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2), ("dpmpp-2m", 2), ("unipc", 3)])
def test_the_error_falls_with_the_published_order(name: SamplerName, order: int) -> None:
    slope = math.log2(gaussian_error(name, 160) / gaussian_error(name, 320))
    assert slope == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("heun", 2), ("dpmpp-2m", 2), ("unipc", 3)])
def test_the_order_holds_on_uneven_steps_and_a_mixture(name: SamplerName, order: int) -> None:
    mixture = GaussianMixture(torch.tensor([[-1.0], [0.7]]), torch.tensor([0.5, 0.3]), torch.tensor([0.3, 0.7]))

    def solve(steps: int, sampler: SamplerName = name) -> Tensor:
        roots = torch.linspace(10 ** (1 / 7), 0.1 ** (1 / 7), steps, dtype=torch.float64) ** 7
        sigmas = torch.cat([roots, torch.zeros(1, dtype=torch.float64)])
        return SAMPLERS[sampler](mixture.denoise, 10.0 * normal_quantiles(50), sigmas)

    exact = solve(3000, "unipc")
    errors = [(solve(steps) - exact).abs().mean().item() for steps in (160, 320)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_on_a_gaussian_ddim_shrinks_by_the_product_of_its_steps() -> None:
    sigmas = noise_levels("karras", 20, PRESERVING)
    x = start(5, 2, 3, 4, sigma=sigmas[0])
    shrink = 1.0
    for s, u in zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True):
        kept = GAUSSIAN_STD**2 / (GAUSSIAN_STD**2 + s**2)  # D = mean + kept (x - mean)
        shrink *= kept + u / s * (1 - kept)
    expected = GAUSSIAN_MEAN + shrink * (x - GAUSSIAN_MEAN)
    torch.testing.assert_close(SAMPLERS["ddim"](GAUSSIAN.denoise, x, sigmas), expected, rtol=0, atol=1e-12)


# ---- the papers' own formulas ----


def test_a_ddpm_step_between_training_levels_is_the_papers_posterior() -> None:
    t = 400
    alpha_bar, alpha_bar_before = (PRESERVING.levels[s].alpha.item() ** 2 for s in (t, t - 1))
    beta = 1 - alpha_bar / alpha_bar_before
    x0, x_t = start(3, 1, 4, sigma=torch.tensor(1.0)), start(3, 1, 4, sigma=torch.tensor(1.0)) + 0.3
    noise = seeded_noise(x_t.shape)(0)
    # Ho et al. 2020, Eq. 7, in the variance-preserving frame
    mean = (math.sqrt(alpha_bar_before) * beta * x0 + math.sqrt(1 - beta) * (1 - alpha_bar_before) * x_t) / (
        1 - alpha_bar
    )
    expected = mean + math.sqrt((1 - alpha_bar_before) / (1 - alpha_bar) * beta) * noise

    sigmas = torch.cat([PRESERVING.sigmas[[t, t - 1]], torch.zeros(1, dtype=torch.float64)])
    before_step_1 = states_before_each_step("ddpm", lambda *_: x0, x_t / math.sqrt(alpha_bar), sigmas)[1]
    torch.testing.assert_close(before_step_1 * math.sqrt(alpha_bar_before), expected, rtol=0, atol=1e-12)


def test_dpmpp_2m_holds_the_estimate_extrapolated_to_the_middle_of_the_step() -> None:
    # for D = a + b lambda: Lu et al. 2022, Algorithm 2; the first step holds D itself
    sigmas = torch.tensor([4.0, 2.0, 0.5, 0.0], dtype=torch.float64)
    x = torch.full((1, 1, 1), 7.0, dtype=torch.float64)
    states = states_before_each_step(
        "dpmpp-2m", lambda x, sigma: torch.full_like(x, 0.3 - 0.2 * math.log(sigma)), x, sigmas
    )
    first, second, third = (state.item() for state in states)
    held = 0.3 - 0.2 * math.log(4.0)
    assert second == pytest.approx(held + 0.5 * (first - held), rel=1e-14)
    held = 0.3 - 0.2 * math.log(1.0)  # log of the geometric middle of 2 and 0.5
    assert third == pytest.approx(held + 0.25 * (second - held), rel=1e-14)


def test_unipc_integrates_an_estimate_quadratic_in_log_sigma_exactly_after_its_first_step() -> None:
    # three evaluations fix a parabola, and UniC-2 integrates it: x_u = (u/s) x_s + int e^(lambda - lambda_u) D dlambda
    def estimate(lam: float) -> float:
        return 0.3 + 0.2 * lam - 0.7 * lam**2

    def antiderivative(lam: float) -> float:  # of e^lambda D(lambda)
        return math.exp(lam) * (estimate(lam) - (0.2 - 1.4 * lam) - 1.4)

    sigmas = torch.tensor([4.0, 2.0, 0.9, 0.5, 0.1, 0.0], dtype=torch.float64)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        return torch.full_like(x, estimate(-math.log(sigma)))

    x = torch.full((1, 1, 1), 7.0, dtype=torch.float64)
    states = [state.item() for state in states_before_each_step("unipc", denoise, x, sigmas)]
    # the first step has only its two ends: their mean, held
    ends = (estimate(-math.log(4.0)) + estimate(-math.log(2.0))) / 2
    assert states[1] == pytest.approx(ends + 0.5 * (7.0 - ends), rel=1e-12)
    for i in (2, 3, 4):
        s, u = sigmas[i - 1].item(), sigmas[i].item()
        exact = u / s * states[i - 1] + u * (antiderivative(-math.log(u)) - antiderivative(-math.log(s)))
        assert states[i] == pytest.approx(exact, rel=1e-12)


def test_rflow_is_eulers_method_on_the_straight_path() -> None:
    sigmas = noise_levels("time", 30, STRAIGHT)
    times = [*(sigmas[:-1] / (1 + sigmas[:-1])).tolist(), 0.0]
    x = start(5, 2, 3, 4, sigma=sigmas[0])
    z = (1 - times[0]) * x
    for t, t_next in itertools.pairwise(times):
        x0 = TWO_PEAKS_IN_3D.denoise(z / (1 - t), torch.tensor(t / (1 - t), dtype=torch.float64))
        noise = (z - (1 - t) * x0) / t
        z = z + (t_next - t) * (noise - x0)  # Liu et al. 2022: dz/dt = u, u = noise - image
    torch.testing.assert_close(SAMPLERS["rflow"](TWO_PEAKS_IN_3D.denoise, x, sigmas), z, rtol=0, atol=1e-10)
    assert torch.equal(
        SAMPLERS["rflow"](TWO_PEAKS_IN_3D.denoise, x, sigmas), SAMPLERS["ddim"](TWO_PEAKS_IN_3D.denoise, x, sigmas)
    )


# ---- laws of all samplers ----


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [2, 3, 20])
def test_network_calls_are_as_promised(name: SamplerName, steps: int) -> None:
    sigmas = noise_levels("karras", steps, PRESERVING)
    x = start(2, 2, 3, 4, sigma=sigmas[0])
    calls: list[float] = []

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        assert sigma.ndim == 0
        assert sigma.dtype == torch.float64
        assert sigma.device.type == "cpu"
        calls.append(sigma.item())
        return GAUSSIAN.denoise(x, sigma)

    SAMPLERS[name](counted, x, sigmas, noise=seeded_noise(x.shape))
    assert len(calls) == network_calls(name, steps)
    assert set(calls) == set(sigmas[:-1].tolist())


def test_only_heun_takes_more_than_one_call_a_step() -> None:
    assert {name: network_calls(name, 20) for name in NAMES} == {
        "ddpm": 20,
        "ddim": 20,
        "rflow": 20,
        "heun": 39,
        "dpmpp-2m": 20,
        "unipc": 20,
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_callback_sees_every_step_once_and_changes_nothing(name: SamplerName) -> None:
    sigmas = noise_levels("lu", 6, PRESERVING)
    x = start(2, 2, 3, 4, sigma=sigmas[0])
    seen: list[tuple[int, float]] = []
    states: list[Tensor] = []

    def callback(step: int, x: Tensor, sigma: float, x0: Tensor) -> None:
        assert x0.shape == x.shape
        seen.append((step, sigma))
        states.append(x)

    watched = SAMPLERS[name](GAUSSIAN.denoise, x, sigmas, noise=seeded_noise(x.shape), callback=callback)
    assert seen == list(enumerate(sigmas[:-1].tolist()))
    assert torch.equal(states[0], x)
    assert torch.equal(watched, SAMPLERS[name](GAUSSIAN.denoise, x, sigmas, noise=seeded_noise(x.shape)))


@pytest.mark.parametrize("name", NAMES)
def test_the_step_to_zero_is_the_denoisers_estimate_itself(name: SamplerName) -> None:
    sigmas = noise_levels("lu", 6, PRESERVING)
    x = start(2, 2, 3, 4, sigma=sigmas[0], dtype=torch.float32)
    estimates: list[Tensor] = []

    def remembered(x: Tensor, sigma: Tensor) -> Tensor:
        estimates.append(GAUSSIAN.denoise(x, sigma))
        return estimates[-1]

    result = SAMPLERS[name](remembered, x, sigmas, noise=seeded_noise(x.shape, torch.float32))
    assert torch.equal(result, estimates[-1])


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_its_batch(name: SamplerName) -> None:
    sigmas = noise_levels("karras", 10, PRESERVING)
    x = start(4, 2, 3, 4, sigma=sigmas[0], dtype=torch.float32)
    noise = seeded_noise(x.shape, torch.float32)

    def pointwise(x: Tensor, sigma: Tensor) -> Tensor:  # bit-identical at any batch size, as no network is
        return x * (1 / (1 + sigma.item() ** 2))

    def of_row(i: int) -> Noise:
        return lambda step: noise(step)[i : i + 1]

    together = SAMPLERS[name](pointwise, x, sigmas, noise=noise)
    for i in range(4):
        alone = SAMPLERS[name](pointwise, x[i : i + 1], sigmas, noise=of_row(i))
        assert torch.equal(alone[0], together[i])


@pytest.mark.parametrize("name", NAMES)
def test_sampling_commutes_with_a_change_of_unit(name: SamplerName) -> None:
    doubled = GaussianMixture(2 * TWO_PEAKS.means, 2 * TWO_PEAKS.stds, TWO_PEAKS.weights)
    sigmas = noise_levels("karras", 10, PRESERVING)
    x = sigmas[0].item() * normal_quantiles(9)
    noise = seeded_noise(x.shape)
    once = SAMPLERS[name](TWO_PEAKS.denoise, x, sigmas, noise=noise)
    twice = SAMPLERS[name](doubled.denoise, 2 * x, 2 * sigmas, noise=noise)
    torch.testing.assert_close(twice, 2 * once, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_float32_agrees_with_float64(name: SamplerName) -> None:
    sigmas = noise_levels("karras", 20, PRESERVING)
    x = start(8, 2, 3, 4, sigma=sigmas[0], dtype=torch.float32)
    noise = seeded_noise(x.shape, torch.float32)
    single = SAMPLERS[name](GAUSSIAN.denoise, x, sigmas, noise=noise)
    double = SAMPLERS[name](GAUSSIAN.denoise, x.double(), sigmas, noise=lambda step: noise(step).double())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=0, atol=2e-5)


def test_the_deterministic_samplers_agree_in_the_limit_and_differ_before_it() -> None:
    x = 10.0 * normal_quantiles(40)
    coarse, fine = (
        {name: SAMPLERS[name](TWO_PEAKS.denoise, x, log_spaced(10.0, 0.05, steps)) for name in DETERMINISTIC}
        for steps in (10, 1000)
    )
    for name in ("ddim", "heun", "dpmpp-2m"):
        assert (coarse[name] - coarse["unipc"]).abs().max() > 0.01
        assert (fine[name] - fine["unipc"]).abs().max() < (5e-3 if name == "ddim" else 1e-4)


# ---- distributions ----


def w2(name: SamplerName, schedule_steps: Tensor) -> float:
    """W2 to two peaks, of a grid of normal quantiles carried to x0: no chance in it."""
    x = schedule_steps[0].item() * normal_quantiles(2000)
    return TWO_PEAKS.wasserstein2(SAMPLERS[name](TWO_PEAKS.denoise, x, schedule_steps))


def test_at_twenty_calls_unipc_on_karras_levels_is_several_times_closer_than_ddim() -> None:
    ddim_error = w2("ddim", noise_levels("time", 20, PRESERVING))
    unipc_error = w2("unipc", noise_levels("karras", 20, PRESERVING))
    assert unipc_error < 0.009
    assert ddim_error > 5 * unipc_error


ONE_GAUSSIAN = GaussianMixture(torch.tensor([[0.3]]), torch.tensor([0.7]), torch.ones(1))


def preset_w2(name: SamplingPreset, objective: Objective, mixture: GaussianMixture) -> float:
    """W2 to ``mixture`` of a preset with the exact denoiser, on the levels of ``objective``."""
    preset = SAMPLING_PRESETS[name]
    sigmas = noise_levels(preset.schedule, preset.steps, process_of(objective))
    return mixture.wasserstein2(
        SAMPLERS[preset.sampler](mixture.denoise, sigmas[0].item() * normal_quantiles(2000), sigmas)
    )


@pytest.mark.parametrize("mixture", [TWO_PEAKS, ONE_GAUSSIAN])
def test_unipc_at_twenty_calls_has_at_most_a_quarter_of_ddims_distance_at_fifty(mixture: GaussianMixture) -> None:
    ddim_50 = preset_w2("ddim-50", "v", mixture)
    for objective in ("v", "flow"):  # the levels of unipc-20 are the same for both
        assert preset_w2("unipc-20", objective, mixture) < 0.25 * ddim_50


def test_on_a_gaussian_that_quarter_holds_against_ddim_on_the_straight_path_too() -> None:
    assert preset_w2("unipc-20", "flow", ONE_GAUSSIAN) < 0.25 * preset_w2("ddim-50", "flow", ONE_GAUSSIAN)


def test_on_two_peaks_eulers_method_on_the_straight_path_beats_ddim_with_more_calls() -> None:
    assert preset_w2("rflow-30", "flow", TWO_PEAKS) < 0.75 * preset_w2("ddim-50", "v", TWO_PEAKS)


def test_presets_of_higher_order_keep_the_spread_that_those_of_first_order_lose() -> None:
    def kept(name: SamplingPreset, objective: Objective) -> float:
        preset = SAMPLING_PRESETS[name]
        sigmas = noise_levels(preset.schedule, preset.steps, process_of(objective))
        samples = SAMPLERS[preset.sampler](ONE_GAUSSIAN.denoise, sigmas[0].item() * normal_quantiles(500), sigmas)
        return samples.std().item() / ONE_GAUSSIAN.quantiles(500).std().item()

    for objective in ("v", "flow"):
        for name in ("unipc-20", "dpmpp-20"):
            assert kept(name, objective) == pytest.approx(1.0, abs=0.01)
    assert kept("ddim-50", "v") < 0.96
    assert kept("rflow-30", "flow") < 0.97


def test_spacing_by_noise_level_beats_spacing_by_time_for_multistep_solvers() -> None:
    for name in ("dpmpp-2m", "unipc"):
        by_time, by_log_snr = (w2(name, noise_levels(levels, 20, PRESERVING)) for levels in ("time", "lu"))
        assert by_time > 5 * by_log_snr


def test_solvers_of_higher_order_get_closer_to_the_mixture_at_equal_calls() -> None:
    sigmas = noise_levels("lu", 20, PRESERVING)
    assert w2("unipc", sigmas) < w2("dpmpp-2m", sigmas) < w2("ddim", sigmas) / 3


def test_ddpm_reaches_the_mean_and_variance_of_a_gaussian_as_steps_grow() -> None:
    count = 20_000
    mixture = GaussianMixture(torch.tensor([[GAUSSIAN_MEAN]]), torch.tensor([GAUSSIAN_STD]), torch.ones(1))
    errors = []
    for steps in (10, 300):
        sigmas = noise_levels("lu", steps, PRESERVING)
        x = start(count, 1, sigma=sigmas[0])
        samples = ddpm(mixture.denoise, x, sigmas, noise=seeded_noise(x.shape))
        errors.append(abs(samples.var().item() / GAUSSIAN_STD**2 - 1))
        assert samples.mean().item() == pytest.approx(GAUSSIAN_MEAN, abs=4 * GAUSSIAN_STD / math.sqrt(count))
    assert errors[0] > 0.1
    assert errors[1] < 0.02 + 4 * math.sqrt(2 / count)


def test_ddpm_fills_both_peaks_of_a_mixture_in_proportion() -> None:
    uneven = GaussianMixture(TWO_PEAKS.means, TWO_PEAKS.stds, torch.tensor([0.3, 0.7]))
    sigmas = noise_levels("lu", 100, PRESERVING)
    x = start(20_000, 1, sigma=sigmas[0])
    samples = ddpm(uneven.denoise, x, sigmas, noise=seeded_noise(x.shape))
    assert (samples > 0).double().mean().item() == pytest.approx(0.7, abs=0.015)
    assert samples[samples > 0].std().item() == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize("objective", ["v", "epsilon", "flow"])
def test_an_exact_network_behind_the_bridge_samples_like_the_exact_denoiser(objective: Objective) -> None:
    process = process_of(objective)

    def network(x_t: Tensor, time_steps: Tensor) -> Tensor:
        # the exact output for the Gaussian at the interpolated level: the target of the expected image and its noise
        sigma = process.sigmas_at(time_steps[:1].double())[0]
        x = x_t * process.norm(sigma)
        x0 = GAUSSIAN.denoise(x, sigma)
        return target(objective, x0, (x - x0) / sigma, process.level(sigma))

    sigmas = noise_levels("karras", 20, process)
    x = start(3, 2, 3, 4, sigma=sigmas[0])
    bridged = unipc(denoiser_of(network, objective), x, sigmas)
    torch.testing.assert_close(bridged, unipc(GAUSSIAN.denoise, x, sigmas), rtol=0, atol=1e-9)
    # and the start of sampling is what training noises images to
    x_T = add_noise(torch.zeros_like(x), x / sigmas[0], process.levels[-1])
    torch.testing.assert_close(x_T, x / process.norm(sigmas[0]), rtol=0, atol=1e-10)


# ---- refusals ----


def test_ddpm_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="noise="):
        ddpm(GAUSSIAN.denoise, torch.zeros(1, 2, 3, 4), log_spaced(10, 0.1, 4))


def test_noise_of_another_shape_is_refused_and_not_broadcast() -> None:
    with pytest.raises(ValueError, match=r"step 0 has shape \(1, 2, 3, 4\); x has \(2, 2, 3, 4\)"):
        ddpm(
            GAUSSIAN.denoise,
            torch.zeros(2, 2, 3, 4),
            log_spaced(10, 0.1, 4),
            noise=seeded_noise(torch.Size([1, 2, 3, 4])),
        )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sigmas", [[0.0], [3.0, 1.0], [1.0, 1.0, 0.0], [1.0, 2.0, 0.0], [math.inf, 1.0, 0.0]])
def test_levels_that_do_not_fall_to_zero_are_refused(name: SamplerName, sigmas: list[float]) -> None:
    x = torch.zeros(1, 2, 3, 4)
    with pytest.raises(ValueError, match="sigmas must"):
        SAMPLERS[name](GAUSSIAN.denoise, x, torch.tensor(sigmas), noise=seeded_noise(x.shape))


def test_sampling_keeps_no_graph() -> None:
    x = torch.zeros(1, 2, 3, 4, requires_grad=True)
    for name in NAMES:
        sampled = SAMPLERS[name](GAUSSIAN.denoise, x, log_spaced(10, 0.1, 3), noise=seeded_noise(x.shape))
        assert not sampled.requires_grad
