"""All that a step of a StyleGAN2's training changes, at its start and on disk."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lichen.config import StyleGAN2Config
from lichen.errors import CheckpointError
from lichen.models.stylegan2 import StyleGenerator
from lichen.team import Team
from lichen.training.adversarial_losses import PATH_LENGTH_EVERY, R1_EVERY, lazy_adam
from lichen.training.checkpoint import (
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    with_prefix,
    without_prefix,
)
from lichen.training.loop import Recipe
from lichen.training.state import Kept, kept_in, load_state, save_state


@dataclass
class Game:
    """The players, and all else that a step changes: what a checkpoint holds."""

    config: StyleGAN2Config
    recipe: Recipe
    team: Team
    generator: StyleGenerator
    discriminator: nn.Module
    average: StyleGenerator
    generator_adam: torch.optim.Optimizer
    discriminator_adam: torch.optim.Optimizer
    path_mean: Tensor
    """() the moving average of path lengths."""
    signs: Tensor
    """() the sum of the signs of logits of real images since p was adapted last."""
    p: float = 0.0
    """The probability of each augmentation."""
    images_seen: int = 0
    kept: Kept | None = None

    @property
    def number(self) -> int:
        """Of the step that comes next, from 0."""
        return self.images_seen // self.recipe.batch_size

    def autocast(self) -> torch.autocast:
        """The precision of the losses; regularisation, which differentiates twice, is in fp32."""
        return torch.autocast(self.signs.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")


def begun(
    generator: StyleGenerator, discriminator: nn.Module, config: StyleGAN2Config, recipe: Recipe, team: Team
) -> Game:
    """The game before its first step, of untrained networks, on their device."""
    device = next(generator.parameters()).device
    return Game(
        config=config,
        recipe=recipe,
        team=team,
        generator=generator.train(),
        discriminator=discriminator.train(),
        average=copy.deepcopy(generator).requires_grad_(False).eval(),
        generator_adam=_adam(generator, recipe, PATH_LENGTH_EVERY if config.path_length_weight else None),
        discriminator_adam=_adam(discriminator, recipe, R1_EVERY if config.r1_weight else None),
        path_mean=torch.zeros((), device=device),
        signs=torch.zeros((), device=device),
    )


def _adam(network: nn.Module, recipe: Recipe, every: int | None) -> torch.optim.Optimizer:
    """Adam for a player who meets its regularisation once in ``every`` steps; None: never."""
    rate, betas = (recipe.learning_rate, (0.0, 0.99)) if every is None else lazy_adam(recipe.learning_rate, every)
    return torch.optim.Adam(network.parameters(), lr=rate, betas=betas, eps=1e-8, fused=True)


def save_game(path: Path, game: Game) -> None:
    """Write the game to ``path``, whole or not at all."""
    tensors = {
        **with_prefix("generator", game.generator.state_dict()),
        **with_prefix("discriminator", game.discriminator.state_dict()),
        **with_prefix("average", game.average.state_dict()),
        **with_prefix("generator_adam", optimizer_tensors(game.generator_adam, game.generator)),
        **with_prefix("discriminator_adam", optimizer_tensors(game.discriminator_adam, game.discriminator)),
        "path_mean": game.path_mean,
        "signs": game.signs,
    }
    save_state(path, tensors, game.recipe.phase, game.images_seen, game.kept, ada_p=game.p)


def restore_game(path: Path, game: Game) -> None:
    """Fill the game from the file; raises CheckpointError for what does not fit."""
    tensors, about = load_state(path, game.recipe.phase)
    load_weights(game.generator, without_prefix("generator", tensors), path)
    load_weights(game.discriminator, without_prefix("discriminator", tensors), path)
    load_weights(game.average, without_prefix("average", tensors), path)
    restore_optimizer(game.generator_adam, game.generator, without_prefix("generator_adam", tensors), path)
    restore_optimizer(game.discriminator_adam, game.discriminator, without_prefix("discriminator_adam", tensors), path)
    p, path_mean, signs = about.get("ada_p"), tensors.get("path_mean"), tensors.get("signs")
    if (
        not isinstance(p, float)
        or path_mean is None
        or signs is None
        or path_mean.shape
        or signs.shape
        or not 0 <= p <= 1
    ):
        raise CheckpointError(
            f"{path} lacks the state of the game", fix="delete it, and repeat the command to begin anew"
        )
    device = game.signs.device
    game.p, game.path_mean, game.signs = p, path_mean.to(device), signs.to(device)
    game.images_seen, game.kept = about["images_seen"], kept_in(tensors, about, game.average, path)
