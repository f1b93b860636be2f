"""The training of a StyleGAN2, top to bottom: two networks that play against each other.

Karras et al., arXiv 1912.04958 (the game) and 2006.06676 (adaptive augmentation). As in ``loop``, step k is a pure
function of the state before it and of (seed, images seen), so that a resumed run computes the same bits.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from lichen.config import StyleGAN2Config
from lichen.models.stylegan2 import StyleGenerator
from lichen.progress import Step, silent
from lichen.stopping import Asked, Stopped, never
from lichen.team import ALONE, Team
from lichen.training.adaptive import SPEED_IMAGES, adapted, augment
from lichen.training.adversarial_losses import (
    PATH_LENGTH_EVERY,
    R1_EVERY,
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    r1_penalty,
)
from lichen.training.augmentation import Transform
from lichen.training.batches import batch_indices
from lichen.training.draws import Draws
from lichen.training.ema import ema_decay, update_ema
from lichen.training.game import Game, begun, restore_game, save_game
from lichen.training.loop import (
    LOG_POINTS,
    Log,
    Probing,
    Recipe,
    add_up_gradients,
    as_before,
    check_agreed,
    nowhere,
    part_of_batch,
    refuse_non_finite,
)
from lichen.training.state import Kept

ADAPT_EVERY = 4
"""Steps after which the probability of augmentation is adapted to what the discriminator said in them."""
CYCLE = math.lcm(PATH_LENGTH_EVERY, R1_EVERY)
"""Steps after which it begins anew which of them have a regularisation."""
SPEED_SHARE = 0.25
"""Of a short run: p can go from 0 to 1 in this part of it."""


def train_against(
    generator: StyleGenerator,
    discriminator: nn.Module,
    examples: Tensor,
    config: StyleGAN2Config,
    recipe: Recipe,
    *,
    state_path: Path,
    log: Log,
    step: Step = silent,
    stop: Asked = never,
    team: Team = ALONE,
    probing: Probing | None = None,
    move: Transform | None = None,
) -> StyleGenerator:
    """Train both in place on ``examples`` (N, C, H, W) in [-1, 1]; return the moving average of the generator.

    With ``move`` the examples are what it makes of them, each time anew: unlike the adaptive augmentation, which made
    images go through as well, the generator learns to make such images.

    Resuming, stopping, teams and probes are as in ``loop.train``; the gradient is not clipped, and the learning rate is
    constant. The processes of a team have equal weights, and compute what one would but for two means that each takes
    over its own part of a batch: of the discriminator's minibatch deviation, and of path lengths.

    Raises:
        Stopped: ``stop`` said so, in this process or another; the state is saved.
        TrainingError: a loss or its gradient is no longer a number, or already the first probe says stop.
        CheckpointError: ``state_path`` is damaged or belongs to another recipe or architecture.
    """
    batch_size, (part, share) = recipe.batch_size, part_of_batch(recipe, team)
    game = begun(generator, discriminator, config, recipe, team)
    device = game.signs.device
    if state_path.exists():
        restore_game(state_path, game)
    check_agreed(game.images_seen, state_path, team)
    speed_images = min(SPEED_IMAGES, SPEED_SHARE * recipe.images)

    log_every = max(batch_size, recipe.images // LOG_POINTS)
    window, window_steps, last_save = torch.zeros(3, device=device), 0, time.monotonic()
    while game.images_seen < recipe.images:
        before, seen = game.images_seen, game.images_seen + batch_size
        indices = batch_indices(recipe.seed, before, batch_size, len(examples))
        real = examples[indices[part]].to(device, non_blocking=True)
        draws = Draws.of_step(recipe.seed, recipe.phase, before, batch_size, part, device)
        real = real if move is None else move(real, draws)

        g_loss, g_norm = _teach_generator(game, draws, share)
        d_loss, d_norm, signs = _teach_discriminator(game, real, draws, share)
        update_ema(game.average, generator, ema_decay(seen, batch_size, recipe.ema_images))
        game.average.mean_w.copy_(generator.mean_w)
        game.signs = game.signs + signs
        if (game.number + 1) % ADAPT_EVERY == 0:
            images = ADAPT_EVERY * batch_size
            if config.ada_target:
                game.p = adapted(game.p, game.signs.item() / images, images, config.ada_target, speed_images)
            game.signs = torch.zeros_like(game.signs)
        game.images_seen = seen
        step(min(seen, recipe.images) - before)

        window, window_steps = (
            window + torch.stack([g_loss, d_loss, signs / (batch_size * team.size)]),
            window_steps + 1,
        )
        if seen // log_every > before // log_every or seen >= recipe.images:
            team.add_up([window])
            generator_mean, discriminator_mean, r_t = (window / window_steps).tolist()
            refuse_non_finite("loss of the generator", generator_mean, recipe, seen)
            refuse_non_finite("loss of the discriminator", discriminator_mean, recipe, seen)
            refuse_non_finite("gradient", (g_norm + d_norm).item(), recipe, seen)
            figures = {"generator_loss": generator_mean, "discriminator_loss": discriminator_mean, "r_t": r_t}
            if team.leads:
                more = {"ada_p": game.p, "path_length": game.path_mean.item()}
                log({"phase": recipe.phase, "images_seen": seen, **figures, **more})
            window, window_steps = torch.zeros_like(window), 0
        if probing is not None and seen // probing.every > before // probing.every:
            if team.any(team.leads and probing.probe(seen, game.average)):
                as_before(game.average, game.kept, recipe, seen, log if team.leads else nowhere)
                return game.average
            if probing.stops:
                game.kept = Kept.of(seen, game.average)
        stopping = team.any(stop())
        if stopping or seen >= recipe.images or time.monotonic() - last_save > recipe.checkpoint_every_s:
            refuse_non_finite("gradient", (g_norm + d_norm).item(), recipe, seen)  # the last good state must stay
            if team.leads:
                save_game(state_path, game)
            last_save = time.monotonic()
        if stopping and seen < recipe.images:
            raise Stopped
    return game.average


def _teach_generator(game: Game, draws: Draws, share: float) -> tuple[Tensor, Tensor]:
    """A step of the generator, and another by the path length where it is due: (its share of the loss, gradient norm).

    The path length is that of half a batch, since it takes much memory.
    """
    generator, config = game.generator, game.config
    game.discriminator.requires_grad_(False)
    with game.autocast():
        w, first = _styles(generator, config, draws)
        fake = generator.synthesise(w, _noise(generator, draws))
        loss = generator_loss(game.discriminator(augment(fake, game.p, draws)).float()) * share
    norm = _descend(loss, generator, game.generator_adam, game.team)
    mean_w = first.detach().float().mean(0) * share
    game.team.add_up([mean_w])
    generator.follow_mean(mean_w[None])
    if config.path_length_weight and game.number % PATH_LENGTH_EVERY == 0:
        images = max(game.team.size, draws.batch_size // 2)
        half = Draws(draws.generator, images, game.team.part(images))
        share = (half.part.stop - half.part.start) / images
        w, _ = _styles(generator, config, half)
        made = generator.synthesise(w, _noise(generator, half))
        penalty, mean = path_length_penalty(made, w, half.normal(made.shape[1:]), game.path_mean)
        weight = config.path_length_weight * PATH_LENGTH_EVERY * share
        norm = norm + _descend(penalty * weight, generator, game.generator_adam, game.team)
        game.path_mean = mean * share
        game.team.add_up([game.path_mean])
    game.discriminator.requires_grad_(True)
    return loss.detach(), norm


def _teach_discriminator(game: Game, real: Tensor, draws: Draws, share: float) -> tuple[Tensor, Tensor, Tensor]:
    """A step of the discriminator on ``real`` images (b, C, H, W) and as many made ones, and another by R1 where due.

    Returns (its share of the loss, gradient norm, sum over the whole batch of the signs of logits of real images).
    """
    generator, discriminator, config = game.generator, game.discriminator, game.config
    with torch.no_grad(), game.autocast():
        made = generator.synthesise(_styles(generator, config, draws)[0], _noise(generator, draws))
        made, real = augment(made, game.p, draws), augment(real, game.p, draws)
    with game.autocast():
        logits = discriminator(real).float()
        loss = discriminator_loss(logits, discriminator(made).float()) * share
    norm = _descend(loss, discriminator, game.discriminator_adam, game.team)
    if config.r1_weight and game.number % R1_EVERY == 0:
        real = real.detach().requires_grad_(True)
        penalty = r1_penalty(discriminator(real), real)
        weight = config.r1_weight * R1_EVERY * share
        norm = norm + _descend(penalty * weight, discriminator, game.discriminator_adam, game.team)
    signs = logits.detach().sign().sum()
    game.team.add_up([signs])
    return loss.detach(), norm, signs


def _styles(generator: StyleGenerator, config: StyleGAN2Config, draws: Draws) -> tuple[Tensor, Tensor]:
    """Styles (b, layers, W), of some images from a random layer on those of another latent, and the first w (b, W).

    Style mixing: arXiv 1812.04948, section 3.1.
    """
    w = generator.map(draws.normal((config.latent_dim,)))
    styles = w[:, None].expand(-1, generator.layers, -1)
    if not config.style_mixing:
        return styles, w
    other = generator.map(draws.normal((config.latent_dim,)))
    from_layer = 1 + draws.starts([generator.layers - 2])
    mixed = draws.uniform((1,)) < config.style_mixing
    others = mixed & (torch.arange(generator.layers, device=w.device) >= from_layer)
    return torch.where(others[:, :, None], other[:, None], styles), w


def _noise(generator: StyleGenerator, draws: Draws) -> list[Tensor]:
    return [draws.normal((1, *shape)) for shape in generator.noise_shapes]


def _descend(loss: Tensor, network: nn.Module, adam: torch.optim.Optimizer, team: Team) -> Tensor:
    """A step of ``network`` down its share of a loss; the norm of the gradient."""
    loss.backward()
    add_up_gradients(network, team)
    norm = nn.utils.clip_grad_norm_(network.parameters(), math.inf)
    adam.step()
    adam.zero_grad(set_to_none=True)  # so that old gradients take no memory beside the next activations
    return norm
