"""Samplers: one function per published algorithm, all with one signature, in the sigma frame x = x0 + sigma eps.

Common to all:

- ``denoise(x, sigma)`` estimates x0; written D(x; sigma) below. sigma comes as a 0-d float64 tensor on the CPU.
- ``x`` (B, C, *S) starts as sigmas[0] times standard normal noise; the result estimates x0, in x's shape and dtype.
- ``sigmas`` (n + 1,) decreases to exactly 0; step i goes from sigmas[i] to sigmas[i + 1].
- ``noise(i)`` gives step i's standard normal noise, of x's shape. Only the ancestral sampler draws it, for i = 0 to
  n - 2, and raises ValueError without it. The caller decides what it depends on.
- ``callback(i, x, sigma, x0)`` is called once per step with the state before it and D(x; sigma); the only hook.

Papers with a signal scale (DDPM, DDIM, DPM-Solver++, UniPC) are written with alpha = 1, which is the same algorithm:
x / alpha_t and sigma_t / alpha_t take the places of x and sigma_t. Half log-SNR is then lambda = -log sigma. So is
rectified flow, whose alpha_t is 1 - t and sigma_t is t. The coefficients are Python floats, so nothing waits for the
device; each image of a batch is treated alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from lichen.diffusion.denoiser import Denoise

if TYPE_CHECKING:
    from lichen.samplers import SamplerName

Noise = Callable[[int], Tensor]
"""Step number -> standard normal noise of x's shape."""

Callback = Callable[[int, Tensor, float, Tensor], None]
"""(step number, x, sigma, x0) -> nothing."""


class Sampler(Protocol):
    """The signature of every sampler."""

    def __call__(
        self,
        denoise: Denoise,
        x: Tensor,
        sigmas: Tensor,
        *,
        noise: Noise | None = None,
        callback: Callback | None = None,
    ) -> Tensor:
        """Carry x from sigmas[0] to 0."""


@torch.no_grad()
def ddpm(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise | None = None, callback: Callback | None = None
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, Algorithm 2, with the posterior variance beta-tilde of Eq. 7).

    From s = sigmas[i] to u = sigmas[i + 1], the posterior of x_u given x_s and x0 is normal with

        mean D + (u^2 / s^2) (x - D),   variance u^2 (s^2 - u^2) / s^2,   D = D(x; s).

    At the 1000 training levels this is the paper's sampler; on fewer it is the respaced one (Nichol & Dhariwal 2021).
    """
    if noise is None:
        raise ValueError("ddpm draws noise at every step and was given none: pass noise=, step number -> noise")
    for i, (s, u) in enumerate(_steps(_levels(sigmas))):
        x0 = _evaluate(denoise, x, s, i, callback)
        x = x0 + (u / s) ** 2 * (x - x0)
        if u > 0:
            eps = noise(i)
            if eps.shape != x.shape:
                raise ValueError(f"noise of step {i} has shape {tuple(eps.shape)}; x has {tuple(x.shape)}")
            x = x + u * math.sqrt(1.0 - (u / s) ** 2) * eps
    return x


@torch.no_grad()
def ddim(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise | None = None,  # noqa: ARG001 - all samplers have one signature
    callback: Callback | None = None,
) -> Tensor:
    """Deterministic DDIM (Song et al. 2021, Eq. 12 with eta = 0): Euler's method on dx/dsigma = (x - D) / sigma.

    x <- D + (u / s) (x - D) from s = sigmas[i] to u = sigmas[i + 1]. First order; n network calls.
    """
    for i, (s, u) in enumerate(_steps(_levels(sigmas))):
        x0 = _evaluate(denoise, x, s, i, callback)
        x = _step_ddim(x, x0, s, u)
    return x


@torch.no_grad()
def rflow(
    denoise: Denoise, x: Tensor, sigmas: Tensor, *, noise: Noise | None = None, callback: Callback | None = None
) -> Tensor:
    """Euler's method for rectified flow (Liu et al. 2022, section 2.1; n network calls).

    From time t to t', with the velocity u = (z - D) / t of the straight line from D over z to the noise:

        z <- z + (t' - t) u = D + (t' / t) (z - D).

    With z = (1 - t) x and t = sigma / (1 + sigma) that is x <- D + (sigma' / sigma) (x - D), DDIM's step, whatever the
    times. What makes it the published method are times at equal distances: the schedule "time" of the straight path.
    """
    return ddim(denoise, x, sigmas, noise=noise, callback=callback)


@torch.no_grad()
def heun(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise | None = None,  # noqa: ARG001 - all samplers have one signature
    callback: Callback | None = None,
) -> Tensor:
    """Heun's method (Karras et al. 2022, Algorithm 1, sigma(t) = t and s(t) = 1).

    d = (x - D(x; t)) / t at t = sigmas[i];  x' = x + (t' - t) d  at t' = sigmas[i + 1];
    d' = (x' - D(x'; t')) / t';  x <- x + (t' - t) (d + d') / 2, but Euler's x' itself on the step to 0.
    Second order; 2 n - 1 network calls.
    """
    for i, (t, t_next) in enumerate(_steps(_levels(sigmas))):
        x0 = _evaluate(denoise, x, t, i, callback)
        if t_next == 0:
            return x0  # x' = x - t (x - D) / t, without its rounding
        d = (x - x0) / t
        x_euler = x + (t_next - t) * d
        d_next = (x_euler - denoise(x_euler, _scalar(t_next))) / t_next
        x = x + (t_next - t) * 0.5 * (d + d_next)
    raise AssertionError("the last level is 0")


@torch.no_grad()
def dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise | None = None,  # noqa: ARG001 - all samplers have one signature
    callback: Callback | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, Algorithm 2).

    With lambda = -log sigma, h_i = lambda_i - lambda_{i-1}, r_i = h_{i-1} / h_i and x_i' = D(x_i; sigma_i):

        D_i = (1 + 1 / (2 r_i)) x_{i-1}' - 1 / (2 r_i) x_{i-2}',
        x_i = (sigma_i / sigma_{i-1}) x_{i-1} - (e^{-h_i} - 1) D_i.

    The first step and the step to 0 (h infinite) take D_i = x_{i-1}'. Second order; n network calls.
    """
    x0_before: Tensor | None = None
    levels = _levels(sigmas)
    for i, (s, u) in enumerate(_steps(levels)):
        x0 = _evaluate(denoise, x, s, i, callback)
        d = x0
        if x0_before is not None and u > 0:
            d = _extrapolate(x0, x0_before, levels[i - 1], s, u)
        x = _step_ddim(x, d, s, u)
        x0_before = x0
    return x


@torch.no_grad()
def unipc(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    *,
    noise: Noise | None = None,  # noqa: ARG001 - all samplers have one signature
    callback: Callback | None = None,
) -> Tensor:
    """UniPC-2 with data prediction and B_2(h) = 1 - e^{-h} (Zhao et al. 2023): predictor UniP-2, corrector UniC-2.

    From s = sigmas[i - 1] to u = sigmas[i], with lambda = -log sigma, h = lambda_u - lambda_s, m_0 the evaluation of D
    at s, and D_k = m_k - m_0 at other points lambda_k, r_k = (lambda_k - lambda_s) / h,

        x_u = (u / s) x_s + (1 - e^{-h}) m_0 + B(h) sum_k a_k D_k / r_k.

    UniP takes the point before s (r < 0) and a = 1/2: the step of DPM-Solver++(2M). D is evaluated once, at that
    prediction; UniC redoes the step with this evaluation as a further point, r = 1, and the a_k that solve

        sum_k a_k B(h) r_k^{j-1} = h j! psi_{j+1}(h),   psi_{j+1}(h) = int_0^1 e^{(t-1) h} t^j / j! dt,   j = 1, 2,

    or a = 1/2 where r = 1 is the only point. The next step reuses the evaluation, so n steps take n network calls.
    The first step predicts by DDIM; the step to 0 takes m_0. Third order. ``callback`` sees the corrected x, and D
    at the prediction. Why not UniPC-3: with exact denoisers it is worse at 10 calls, and at 20 better only on some
    distributions (benchmarks/sampler_oracle.md).
    """
    levels = _levels(sigmas)
    prediction = x
    evaluations: list[Tensor] = []
    for i, (s, u) in enumerate(_steps(levels)):
        m0 = denoise(prediction, _scalar(s))
        if evaluations:
            x = _unic(x, evaluations, m0, levels[: i + 1])
        if callback is not None:
            callback(i, x, s, m0)
        d = m0
        if evaluations and u > 0:
            d = _extrapolate(m0, evaluations[-1], levels[i - 1], s, u)
        prediction = _step_ddim(x, d, s, u)
        evaluations = [*evaluations[-1:], m0]
    return prediction


SAMPLERS: Mapping[SamplerName, Sampler] = MappingProxyType(
    {"ddpm": ddpm, "ddim": ddim, "rflow": rflow, "heun": heun, "dpmpp-2m": dpmpp_2m, "unipc": unipc}
)
"""The samplers by the names that settings use."""


def _step_ddim(x: Tensor, x0: Tensor, s: float, u: float) -> Tensor:
    """Along the line from x to x0, exactly x0 at u = 0."""
    return x0 + u / s * (x - x0)


def _extrapolate(x0: Tensor, x0_before: Tensor, s_before: float, s: float, u: float) -> Tensor:
    """DPM-Solver++(2M)'s D_i for the step from s to u > 0; x0_before was evaluated at s_before > s."""
    r = math.log(s_before / s) / math.log(s / u)
    return x0 + (x0 - x0_before) / (2.0 * r)


def _unic(x: Tensor, evaluations: list[Tensor], m_new: Tensor, levels: list[float]) -> Tensor:
    """UniC: the step from levels[-2] to levels[-1] > 0, given the evaluation at its end.

    ``x`` is the state at levels[-2]; ``evaluations`` are those at the levels before the last, one or two of them.
    """
    s, u = levels[-2:]
    m_0 = evaluations[-1]
    h = math.log(s / u)
    b = -math.expm1(-h)
    base = _step_ddim(x, m_0, s, u)
    if len(evaluations) == 1:
        return base + b / 2.0 * (m_new - m_0)
    r = -math.log(levels[-3] / s) / h
    g_1 = 1.0 - b / h  # h 1! psi_2(h)
    g_2 = 1.0 - 2.0 * g_1 / h  # h 2! psi_3(h)
    weight_before = (g_1 - g_2) / (1.0 - r)
    weight_new = g_1 - weight_before
    return base + weight_new * (m_new - m_0) + weight_before / r * (evaluations[-2] - m_0)


def _evaluate(denoise: Denoise, x: Tensor, sigma: float, step: int, callback: Callback | None) -> Tensor:
    """D(x; sigma), shown to the callback."""
    x0 = denoise(x, _scalar(sigma))
    if callback is not None:
        callback(step, x, sigma, x0)
    return x0


def _scalar(sigma: float) -> Tensor:
    return torch.tensor(sigma, dtype=torch.float64)


def _steps(levels: list[float]) -> list[tuple[float, float]]:
    """(from, to) of each step."""
    return list(itertools.pairwise(levels))


def _levels(sigmas: Tensor) -> list[float]:
    """The levels as Python floats; ValueError unless they are finite and decrease to exactly 0."""
    levels: list[float] = sigmas.to("cpu", torch.float64).tolist()
    if len(levels) < 2 or levels[-1] != 0.0 or not math.isfinite(levels[0]):
        raise ValueError(f"sigmas must be finite and end in 0, with at least one level before it; got {levels}")
    if not all(u < s for s, u in _steps(levels)):
        raise ValueError(f"sigmas must decrease at every step; got {levels}")
    return levels
