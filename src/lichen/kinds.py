"""What a run asks for and its kind of model does not know: refused from the settings alone, before an image is read."""

from __future__ import annotations

from lichen.config import RunConfig
from lichen.errors import ConfigError
from lichen.samplers import check_sampling


def check_kind(config: RunConfig) -> None:
    """Raise ConfigError for settings of sampling, dropout or memory that mean nothing to the kind of model."""
    check_sampling(config.sampling, config.objective)
    if config.model.kind != "stylegan2":
        return
    if config.denoiser.dropout > 0:
        raise ConfigError(
            f"denoiser.dropout {config.denoiser.dropout:g} is for diffusion, and a StyleGAN2 has no denoiser",
            fix="leave out the option or the line of a file that asks for it; by default it is 0",
        )
    if config.memory.budget_gb is not None:
        batch_size = config.training.batch_size
        smaller = f"--training.batch-size {batch_size // 2}" if batch_size > 1 else "smaller images by --images.size"
        raise ConfigError(
            "--memory.budget-gb chooses among ways to train an autoencoder and a denoiser; a StyleGAN2 has one way",
            fix=f"leave it out; to take less memory use {smaller}",
        )
