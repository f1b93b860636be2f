"""How far each sampler is from a known distribution when its denoiser is exact, by noise levels and network calls.

    python benchmarks/sampler_oracle.py          # writes benchmarks/sampler_oracle.md, about a minute on one core

Deterministic samplers carry a grid of normal quantiles, so their figures have no chance in them; ddpm carries random
numbers, and the W2 of as many exact draws, printed beside, says how much of its figures is chance.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from lichen.diffusion import (
    SAMPLERS,
    Denoise,
    GaussianMixture,
    ddim,
    noise_levels,
    process_of,
    unipc,
)
from lichen.samplers import SAMPLING_PRESETS, Objective, SamplerName, ScheduleName, network_calls, supports

QUANTILES = 5_000
DRAWS = 50_000
CALLS = (10, 20, 50, 100)
LEVELS: dict[str, tuple[ScheduleName, Objective]] = {
    "karras": ("karras", "v"),
    "lu": ("lu", "v"),
    "time": ("time", "v"),
    "time, flow": ("time", "flow"),
}
"""Where samplers stop; "karras" and "lu" are the same for all objectives."""
NAMES = [*(name for name in get_args(SamplerName) if name != "rflow"), "unipc-3"]
"""rflow takes the steps of ddim."""


def mixture(means: list[float], stds: list[float], weights: list[float]) -> GaussianMixture:
    return GaussianMixture(torch.tensor(means).double()[:, None], torch.tensor(stds), torch.tensor(weights))


MIXTURES = {
    "two peaks: 1/2 N(-1, 0.2²) + 1/2 N(1, 0.2²)": mixture([-1, 1], [0.2, 0.2], [0.5, 0.5]),
    "three peaks: 0.3 N(-1.5, 0.1²) + 0.5 N(0, 0.2²) + 0.2 N(1, 0.1²)": mixture(
        [-1.5, 0, 1], [0.1, 0.2, 0.1], [0.3, 0.5, 0.2]
    ),
    "one Gaussian: N(0.3, 0.7²)": mixture([0.3], [0.7], [1.0]),
}


def normal_quantiles(count: int) -> Tensor:
    quantiles: Tensor = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return quantiles[:, None]


def draws(name: str, calls: int, levels: tuple[ScheduleName, Objective], denoise: Denoise) -> Tensor:
    """Samples of the sampler ``name`` after at most ``calls`` network calls, at least 2 steps."""
    schedule, objective = levels
    if name == "unipc-3":
        sigmas = noise_levels(schedule, calls, process_of(objective))
        return unipc_3(denoise, sigmas[0].item() * normal_quantiles(QUANTILES), sigmas)
    sampler: SamplerName = next(known for known in get_args(SamplerName) if known == name)
    steps = max(steps for steps in range(2, calls + 1) if network_calls(sampler, steps) <= calls)
    sigmas = noise_levels(schedule, steps, process_of(objective))
    if sampler != "ddpm":
        return SAMPLERS[sampler](denoise, sigmas[0].item() * normal_quantiles(QUANTILES), sigmas)
    return SAMPLERS[sampler](denoise, sigmas[0].item() * normal(-1), sigmas, noise=normal)


def normal(step: int) -> Tensor:
    return torch.randn(DRAWS, 1, generator=torch.Generator().manual_seed(step + 1), dtype=torch.float64)


def chance(law: GaussianMixture) -> float:
    """The mean W2 of 20 sets of exact draws."""
    generator = torch.Generator().manual_seed(7)
    distances = []
    for _ in range(20):
        component = torch.multinomial(law.weights, DRAWS, replacement=True, generator=generator)
        noise = torch.randn(DRAWS, generator=generator, dtype=torch.float64)
        distances.append(law.wasserstein2(law.means[component, 0] + law.stds[component] * noise))
    return sum(distances) / len(distances)


def unipc_3(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Tensor:
    """The rival of lichen's UniPC-2: order up to 3, lower at both ends, every a_k solved for."""
    levels = sigmas.tolist()
    known: list[tuple[float, Tensor]] = []  # (sigma, evaluation), newest last
    prediction = x
    for i, (s, u) in enumerate(itertools.pairwise(levels)):
        m = denoise(prediction, sigmas[i])
        if known:
            past = known[-min(3, i, len(levels) - i) :]
            x = multistep(x, past[-1], [*past[:-1], (s, m)], s)
        known.append((s, m))
        past = known[-min(3, i + 1, len(levels) - 1 - i) :]
        prediction = multistep(x, past[-1], past[:-1], u)
    return prediction


def multistep(x: Tensor, at_s: tuple[float, Tensor], others: list[tuple[float, Tensor]], u: float) -> Tensor:
    """The step from s to u with sum_k a_k B(h) r_k^{j-1} = h j! psi_{j+1}(h) for all j, by quadrature."""
    s, m_0 = at_s
    base = m_0 + u / s * (x - m_0)
    if not others:
        return base
    h = math.log(s / u)
    r = np.array([math.log(s / sigma) / h for sigma, _ in others])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t, weights = (nodes + 1) / 2, weights / 2
    powers = range(1, len(others) + 1)
    g = [h * float(np.sum(weights * np.exp((t - 1) * h) * t**j)) for j in powers]
    solved = np.linalg.solve(np.array([r ** (j - 1) for j in powers]), g)
    for a_b, r_k, (_, m_k) in zip(solved.tolist(), r.tolist(), others, strict=True):
        base = base + a_b / r_k * (m_k - m_0)
    return base


def distance_tables() -> list[str]:
    lines: list[str] = []
    for title, law in MIXTURES.items():
        lines += ["", f"### W2 to {title}", ""]
        lines += [
            f"{DRAWS} exact draws have a W2 of {chance(law):.3f} (mean of 20 sets): as much of ddpm's is chance.",
            "",
        ]
        lines += ["| calls | levels | " + " | ".join(NAMES) + " |", "|---|---|" + "---|" * len(NAMES)]
        for calls in CALLS:
            for title_of_levels, levels in LEVELS.items():
                cells = [
                    f"{law.wasserstein2(draws(name, calls, levels, law.denoise)):.4f}" if drawable(name, levels) else ""
                    for name in NAMES
                ]
                lines.append(f"| {calls} | {title_of_levels} | " + " | ".join(cells) + " |")
    return lines


def drawable(name: str, levels: tuple[ScheduleName, Objective]) -> bool:
    return name == "unipc-3" or any(supports(levels[1], known) for known in get_args(SamplerName) if known == name)


def preset_table() -> list[str]:
    lines = ["", "### Presets", ""]
    lines += ["W2, and in brackets its ratio to that of ddim-50 for the objectives v and epsilon. Target for 20 calls:"]
    lines += ["at most 0.25.", ""]
    titles = [title.partition(":")[0] for title in MIXTURES]
    lines += ["| preset | objective | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles)]
    references = [law.wasserstein2(draws("ddim", 50, ("time", "v"), law.denoise)) for law in MIXTURES.values()]
    objectives: dict[str, Objective] = {"v, epsilon": "v", "flow": "flow"}
    for name, preset in SAMPLING_PRESETS.items():
        for title, objective in objectives.items():
            if not supports(objective, preset.sampler) or preset.sampler == "ddpm":  # chance would hide its figures
                continue
            calls, levels = network_calls(preset.sampler, preset.steps), (preset.schedule, objective)
            found = [law.wasserstein2(draws(preset.sampler, calls, levels, law.denoise)) for law in MIXTURES.values()]
            cells = [f"{w2:.4f} ({w2 / reference:.2f})" for w2, reference in zip(found, references, strict=True)]
            lines.append(f"| {name} | {title} | " + " | ".join(cells) + " |")
    return lines


def spread_table() -> list[str]:
    title, law = list(MIXTURES.items())[-1]
    lines = ["", f"### Standard deviation kept, of {title}, at 20 calls", ""]
    lines += ["| levels | " + " | ".join(NAMES) + " |", "|---|" + "---|" * len(NAMES)]
    spread = law.quantiles(QUANTILES).std().item()
    for title_of_levels, levels in LEVELS.items():
        cells = [
            f"{100 * draws(name, 20, levels, law.denoise).std().item() / spread:.1f} %"
            if drawable(name, levels)
            else ""
            for name in NAMES
        ]
        lines.append(f"| {title_of_levels} | " + " | ".join(cells) + " |")
    return lines


def order_table() -> list[str]:
    law = MIXTURES["one Gaussian: N(0.3, 0.7²)"]

    def error(solver: Callable[[Denoise, Tensor, Tensor], Tensor], steps: int) -> float:
        levels = torch.linspace(math.log(10.0), math.log(0.1), steps, dtype=torch.float64).exp()
        sigmas = torch.cat([levels, torch.zeros(1, dtype=torch.float64)])
        x = 10.0 * normal_quantiles(100)
        variance = law.stds.double() ** 2
        shrink = ((variance + sigmas[-2] ** 2) / (variance + sigmas[0] ** 2)).sqrt()
        exact = law.denoise(law.means + (x - law.means) * shrink, sigmas[-2])
        return float((solver(law.denoise, x, sigmas) - exact).abs().max())

    lines = ["", "### Measured order of convergence", ""]
    lines += ["Largest error against the closed-form solution for the Gaussian, sigma 10 to 0.1, log-spaced.", ""]
    lines += ["| sampler | 80 steps | 160 steps | 320 steps | order |", "|---|---|---|---|---|"]
    solvers = {
        "ddim": ddim,
        "heun": SAMPLERS["heun"],
        "dpmpp-2m": SAMPLERS["dpmpp-2m"],
        "unipc": unipc,
        "unipc-3": unipc_3,
    }
    for name, solver in solvers.items():
        errors = [error(solver, steps) for steps in (80, 160, 320)]
        order = math.log2(errors[1] / errors[2])
        lines.append(f"| {name} | " + " | ".join(f"{e:.2e}" for e in errors) + f" | {order:.2f} |")
    return lines


def header() -> list[str]:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    cpu_info = Path("/proc/cpuinfo")
    models = [line for line in cpu_info.read_text().splitlines() if "model name" in line] if cpu_info.exists() else []
    cpu = models[0].split(":")[1].strip() if models else platform.processor()
    return [
        "# Samplers with an exact denoiser",
        "",
        "- command: `python benchmarks/sampler_oracle.py`",
        f"- commit: {commit}",
        f"- hardware: one core of {cpu}; torch {torch.__version__}, float64",
        f"- date: {dt.datetime.now(tz=dt.UTC).date().isoformat()}",
        "",
        "W2 is the Wasserstein-2 distance between a sampler's output and the mixture it should draw from, with the",
        "mixture's exact denoiser and lichen's own training levels (sigma from 84 to 0.039). Heun takes half the steps",
        "to keep the number of network calls. `unipc-3` is the order-3 variant, here only, as the rival of `unipc`.",
        "Levels of `karras` and `lu` are the same for all objectives; those of `time` are not, and `time, flow` are",
        "those of rectified flow, on which `ddim` is Euler's method (the sampler `rflow`).",
    ]


def main() -> None:
    torch.set_num_threads(1)
    text = "\n".join([*header(), *preset_table(), *distance_tables(), *spread_table(), *order_table()]) + "\n"
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
