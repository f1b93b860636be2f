"""The exact denoiser of a Gaussian mixture, which certifies the samplers, is itself checked against integrals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lichen.diffusion import GaussianMixture

THREE_PEAKS = GaussianMixture(
    torch.tensor([[-1.5], [0.0], [1.0]]), torch.tensor([0.1, 0.3, 0.2]), torch.tensor([0.3, 0.5, 0.2])
)


def posterior_mean_by_quadrature(x: float, sigma: float) -> float:
    """E[x0 | x] = int x0 p(x0) N(x; x0, sigma^2) / int p(x0) N(x; x0, sigma^2), on a fine grid."""
    grid = torch.linspace(-4, 4, 80_001, dtype=torch.float64)[:, None]
    stds = THREE_PEAKS.stds.double()
    prior = (THREE_PEAKS.weights.double() / stds * torch.exp(-((grid - THREE_PEAKS.means.T) ** 2) / (2 * stds**2))).sum(
        1
    )
    posterior = prior * torch.exp(-((x - grid[:, 0]) ** 2) / (2 * sigma**2))
    return float((grid[:, 0] * posterior).sum() / posterior.sum())


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("x", [-2.0, -0.6, 0.1, 1.4])
def test_the_denoiser_is_the_posterior_mean(x: float, sigma: float) -> None:
    estimate = THREE_PEAKS.denoise(torch.tensor([[x]], dtype=torch.float64), torch.tensor(sigma))
    assert estimate.item() == pytest.approx(posterior_mean_by_quadrature(x, torch.tensor(sigma).item()), abs=1e-6)


def test_on_images_the_denoiser_is_the_best_estimate_of_what_was_noised() -> None:
    # E[(x0 - D) f(x)] = 0 for every f: the error is uncorrelated with any function of the noisy image
    generator = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    means = normal(2, 1, 2, 2)
    mixture = GaussianMixture(means, torch.tensor([0.3, 0.6]), torch.tensor([0.4, 0.6]))
    component = (torch.rand(100_000, generator=generator) > 0.4).long()
    x0 = means[component] + mixture.stds[component][:, None, None, None] * normal(100_000, 1, 2, 2)
    sigma = torch.tensor(0.7)
    x = x0 + sigma * normal(*x0.shape)
    error = x0 - mixture.denoise(x, sigma)
    for function in (torch.ones_like(x), x, x.tanh(), x.square()):
        correlation = (error * function).mean(dim=0)
        standard_error = (error * function).std(dim=0) / len(x) ** 0.5
        assert bool((correlation.abs() < 4.5 * standard_error).all())
    # a worse estimate fails the same check
    assert ((x0 - x) * x).mean().abs() > 0.1


def test_at_great_noise_the_estimate_is_the_mean_of_everything() -> None:
    estimate = THREE_PEAKS.denoise(torch.tensor([[1.0]], dtype=torch.float64), torch.tensor(1e6))
    assert estimate.item() == pytest.approx(-0.45 + 0.2, abs=1e-6)


def test_quantiles_of_one_gaussian_are_the_normal_ones() -> None:
    quantiles = GaussianMixture(torch.tensor([[0.5]]), torch.tensor([2.0]), torch.ones(1)).quantiles(101)
    expected = 0.5 + 2 * torch.special.ndtri((torch.arange(101, dtype=torch.float64) + 0.5) / 101)
    torch.testing.assert_close(quantiles, expected, rtol=0, atol=1e-12)


def test_wasserstein_distance_of_a_shift_is_the_shift() -> None:
    shuffled = THREE_PEAKS.quantiles(500)[torch.randperm(500, generator=torch.Generator().manual_seed(0))]
    assert THREE_PEAKS.wasserstein2(shuffled[:, None]) == pytest.approx(0.0, abs=1e-12)
    assert THREE_PEAKS.wasserstein2(shuffled[:, None] + 0.25) == pytest.approx(0.25, rel=1e-9)


def test_quantiles_of_images_are_refused() -> None:
    with pytest.raises(ValueError, match="these have 4"):
        GaussianMixture(torch.zeros(1, 1, 2, 2), torch.ones(1), torch.ones(1)).quantiles(3)


@pytest.mark.parametrize(("stds", "weights"), [([1.0], [0.5, 0.5]), ([1.0, 0.0], [0.5, 0.5]), ([1.0, 1.0], [0.5, 0.6])])
def test_an_impossible_mixture_is_refused(stds: list[float], weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        GaussianMixture(torch.zeros(2, 1), torch.tensor(stds), torch.tensor(weights))
