"""The few noise levels that a sampler visits.

They are a float64 tensor on the CPU: samplers turn them into coefficients on the host, so no step waits for the device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

import torch
from torch import Tensor

from lichen.diffusion.process import Process
from lichen.errors import ConfigError

if TYPE_CHECKING:
    from lichen.samplers import ScheduleName

_RHO = 7.0  # Karras et al. 2022, the value they recommend for sampling


def noise_levels(name: ScheduleName, steps: int, process: Process) -> Tensor:
    """The noise levels a sampler visits: (steps + 1,) float64, decreasing from the largest trained sigma to 0.

    The last but one is the smallest trained sigma; the step from there to 0 is the denoiser's own estimate.

    - "karras": sigma^(1/7) uniform (Karras et al. 2022, Eq. 5).
    - "lu": log sigma, hence log-SNR = -2 log sigma, uniform (Lu et al. 2022, DPM-Solver, section 3.4).
    - "time": uniform in training time step, as DDIM usually is; on the straight path also in the flow's time.

    Raises ConfigError for fewer than 2 steps.
    """
    if steps < 2:
        raise ConfigError(f"sampling.steps is {steps}; a sampler needs at least 2", fix="set --sampling.steps to 20")
    low, high = float(process.sigmas[0]), float(process.sigmas[-1])
    if name == "karras":
        sigmas = torch.linspace(high ** (1 / _RHO), low ** (1 / _RHO), steps, dtype=torch.float64) ** _RHO
    elif name == "lu":
        sigmas = torch.linspace(math.log(high), math.log(low), steps, dtype=torch.float64).exp()
    elif name == "time":
        sigmas = process.sigmas_at(torch.linspace(len(process.sigmas) - 1, 0, steps, dtype=torch.float64))
    else:
        assert_never(name)
    # powers and logarithms round; the ends are trained levels, and stay exactly so
    sigmas[0], sigmas[-1] = high, low
    return torch.cat([sigmas, torch.zeros(1, dtype=torch.float64)])
