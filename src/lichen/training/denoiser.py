"""The loss of a latent denoiser (Ho et al., arXiv 2006.11239; v-prediction: Salimans & Ho, arXiv 2202.00512)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.config import Objective
from lichen.diffusion import add_noise, target
from lichen.training.loop import Loss


def denoiser_loss(objective: Objective, alphas_cumprod: Tensor) -> Loss:
    """Mean squared error between the network's output and the objective's target, at random noise levels.

    Levels are stratified over the batch (one from each of B equal parts of the schedule), which leaves the mean of the
    loss unchanged and lowers its variance (Kingma et al., arXiv 2107.00630, appendix I.1). ``alphas_cumprod`` lies on
    the device of the latents.
    """
    levels = len(alphas_cumprod)

    def loss(network: nn.Module, latents: Tensor, generator: torch.Generator) -> Tensor:
        batch, device = len(latents), latents.device
        offset = torch.rand((), generator=generator, device=device)
        share = (torch.arange(batch, device=device) / batch + offset) % 1
        timesteps = (share * levels).long().clamp_max(levels - 1)
        noise = torch.randn(latents.shape, generator=generator, device=device)
        alpha_bar = alphas_cumprod[timesteps]
        output = network(add_noise(latents, noise, alpha_bar), timesteps)
        return functional.mse_loss(output.float(), target(objective, latents, noise, alpha_bar))

    return loss
