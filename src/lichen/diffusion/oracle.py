"""A distribution whose best denoiser is known exactly: it certifies samplers without data, weights or training.

A sampler that is given the exact denoiser has only its own error left, and that can be measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianMixture:
    """sum_k weights_k N(means_k, stds_k^2 I), over images of any shape (C, *S)."""

    means: Tensor
    """(K, C, *S)."""
    stds: Tensor
    """(K,), positive."""
    weights: Tensor
    """(K,), positive, of sum 1."""

    def __post_init__(self) -> None:
        count = len(self.means)
        if self.stds.shape != (count,) or self.weights.shape != (count,):
            raise ValueError(f"{count} means need as many stds and weights")
        if not (self.stds.min() > 0 and self.weights.min() > 0 and abs(float(self.weights.sum()) - 1.0) < 1e-6):
            raise ValueError("stds and weights must be positive, and weights must sum to 1")

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """E[x0 | x0 + sigma eps = x], exactly: (B, C, *S) -> (B, C, *S), a ``Denoise``.

        x is drawn from component k with probability softmax_k(log w_k - (n/2) log v_k - |x - mu_k|^2 / (2 v_k)),
        v_k = s_k^2 + sigma^2, n voxels; given k, the mean of x0 is mu_k + (s_k^2 / v_k) (x - mu_k).
        """
        means = self.means.to(x).flatten(1)  # (K, n)
        stds, weights = self.stds.double(), self.weights.double()
        variances = stds**2 + float(sigma) ** 2
        from_means = x.flatten(1)[:, None, :] - means  # (B, K, n)
        constants = weights.log() - means.shape[1] / 2 * variances.log()
        log_densities = constants.to(x) - from_means.square().sum(dim=2) / (2 * variances).to(x)
        responsibilities = torch.softmax(log_densities, dim=1)[:, :, None]
        posterior_means = means + (stds**2 / variances).to(x)[:, None] * from_means
        return (responsibilities * posterior_means).sum(dim=1).reshape(x.shape)

    def quantiles(self, count: int) -> Tensor:
        """The quantiles at (i + 1/2) / count, i < count, of a mixture over single numbers: (count,) float64.

        Raises ValueError if an image has more than one voxel.
        """
        if self.means[0].numel() != 1:
            raise ValueError(f"quantiles need one voxel per image; these have {self.means[0].numel()}")
        means, stds, weights = self.means.double().flatten(), self.stds.double(), self.weights.double()
        levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
        low = (means - 40 * stds).min().expand(count)
        high = (means + 40 * stds).max().expand(count)
        for _ in range(64):  # bisection, one bit a round
            middle = (low + high) / 2
            below = (weights * torch.special.ndtr((middle[:, None] - means) / stds)).sum(dim=1) < levels
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def wasserstein2(self, samples: Tensor) -> float:
        """W2 between single numbers ``samples`` (B, ...) and the mixture: the root mean square gap of quantiles."""
        ordered = samples.double().flatten().sort().values
        return float((ordered - self.quantiles(len(ordered))).square().mean().sqrt())
