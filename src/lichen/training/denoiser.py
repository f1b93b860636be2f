"""The loss of a latent denoiser.

Noise: Ho et al., arXiv 2006.11239; v: Salimans & Ho, arXiv 2202.00512; rectified flow: Liu et al., arXiv 2209.03003.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.diffusion import add_noise, process_of, target
from lichen.models.dropout import seed_dropout
from lichen.samplers import Objective
from lichen.training.draws import Draws
from lichen.training.loop import Loss


def denoiser_loss(objective: Objective, device: torch.device) -> Loss:
    """Mean squared error between the network's output and the objective's target, at random noise levels.

    Levels are stratified over the batch (one from each of B equal parts of the schedule), which leaves the mean of the
    loss unchanged and lowers its variance (Kingma et al., arXiv 2107.00630, appendix I.1). Every time step is as likely
    as any other, for rectified flow too: the logit-normal times of Esser et al. (arXiv 2403.03206) would leave the
    ends, where solvers with few steps spend half of them, with one step of training in twenty.
    ``device`` is that of the latents.
    """
    levels = process_of(objective).levels.to(device)

    def loss(network: nn.Module, latents: Tensor, draws: Draws) -> Tensor:
        timesteps = (draws.strata() * len(levels)).long().clamp_max(len(levels) - 1)
        noise = draws.normal(latents.shape[1:])
        level = levels[timesteps]
        seed_dropout(network, draws.seeds)
        output = network(add_noise(latents, noise, level), timesteps)
        return functional.mse_loss(output.float(), target(objective, latents, noise, level))

    return loss
