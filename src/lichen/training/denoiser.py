"""The loss of a latent denoiser (Ho et al., arXiv 2006.11239; v-prediction: Salimans & Ho, arXiv 2202.00512)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from lichen.config import Objective
from lichen.diffusion import add_noise, target
from lichen.training.draws import Draws
from lichen.training.loop import Loss


def denoiser_loss(objective: Objective, alphas_cumprod: Tensor) -> Loss:
    """Mean squared error between the network's output and the objective's target, at random noise levels.

    Levels are stratified over the batch (one from each of B equal parts of the schedule), which leaves the mean of the
    loss unchanged and lowers its variance (Kingma et al., arXiv 2107.00630, appendix I.1). ``alphas_cumprod`` lies on
    the device of the latents.
    """
    levels = len(alphas_cumprod)

    def loss(network: nn.Module, latents: Tensor, draws: Draws) -> Tensor:
        timesteps = (draws.strata() * levels).long().clamp_max(levels - 1)
        noise = draws.normal(latents.shape[1:])
        alpha_bar = alphas_cumprod[timesteps]
        output = network(add_noise(latents, noise, alpha_bar), timesteps)
        return functional.mse_loss(output.float(), target(objective, latents, noise, alpha_bar))

    return loss
