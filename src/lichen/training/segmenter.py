"""The training of a segmenter, top to bottom: until it improves no more on patients that it does not learn from.

As in ``loop``, step k is a pure function of the state before it and of (seed, images seen), so that a resumed run
computes the same bits. It is a loop of its own because what it keeps is another thing: no moving average but the
weights of the best look, and the looks decide when it ends.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.config import Precision
from lichen.errors import CheckpointError
from lichen.models.layout import fast_layout, set_layout
from lichen.progress import Step, silent
from lichen.stopping import Asked, Stopped, never
from lichen.training.batches import batch_indices
from lichen.training.checkpoint import load_weights, optimizer_tensors, restore_optimizer, with_prefix, without_prefix
from lichen.training.loop import Log, Recipe, refuse_non_finite
from lichen.training.state import Kept, kept_in, load_state, save_state

EndedBy = Literal["patience", "length"]

SMOOTH = 1e-5
"""Keeps the loss of a class defined that is nowhere."""


@dataclass(frozen=True)
class Looking:
    """A look at the segmenter every so many images, and how long nothing better is waited for."""

    validate: Callable[[nn.Module], float]
    """Network -> its Dice on other patients; it looks, and changes nothing."""
    every: int
    """Images seen between two looks."""
    patience: int
    """Looks without a better Dice that end the training."""


@dataclass(frozen=True)
class Best:
    """The weights of the best look so far."""

    kept: Kept
    dice: float
    waited: int
    """Looks since then."""


@dataclass(frozen=True)
class Trained:
    """How a training stands."""

    images_seen: int
    best: Best | None
    """None before the first look."""


def train_segmenter(
    network: nn.Module,
    images: Tensor,
    maps: Tensor,
    background: int,
    recipe: Recipe,
    looking: Looking,
    *,
    state_path: Path,
    log: Log,
    step: Step = silent,
    stop: Asked = never,
) -> Trained:
    """Train ``network`` in place on ``images`` (N, C, *S) and their ``maps`` (N, *S), numbers of classes.

    Soft Dice loss, Adam at a constant learning rate; of ``recipe`` neither moving average nor gradient clip is used. It
    starts from ``state_path`` where that exists and saves there every ``checkpoint_every_s``, at the end, and when
    ``stop`` says so. It is looked at, and logged, every ``looking.every`` images and at the end.

    Raises:
        Stopped: ``stop`` said so; the state is saved.
        TrainingError: the loss is no longer a number.
        CheckpointError: ``state_path`` is damaged or belongs to another recipe or architecture.
    """
    device = next(network.parameters()).device
    layout = fast_layout(images.shape[2:], device)
    set_layout(network, layout).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=recipe.learning_rate, fused=True)
    seen, best = _restore(state_path, network, optimizer, recipe) if state_path.exists() else (0, None)

    window, window_steps, last_save = torch.zeros((), device=device), 0, time.monotonic()
    while ended_by(seen, best, recipe, looking) is None:
        indices = batch_indices(recipe.seed, seen, recipe.batch_size, len(images))
        batch = images[indices].to(device, memory_format=layout, non_blocking=True)
        truth = maps[indices].to(device, non_blocking=True)

        optimizer.zero_grad(set_to_none=True)
        with autocast(device, recipe.precision):
            logits = network(batch)
        loss = soft_dice_loss(logits.float(), truth, background)
        loss.backward()
        optimizer.step()
        before, seen = seen, seen + recipe.batch_size
        step(min(seen, recipe.images) - before)

        window, window_steps = window + loss.detach(), window_steps + 1
        if seen // looking.every > before // looking.every or seen >= recipe.images:
            mean = window.item() / window_steps
            refuse_non_finite("loss", mean, recipe, seen)
            dice = looking.validate(network.eval())
            network.train()
            best = better(best, seen, network, dice)
            log({"phase": recipe.phase, "images_seen": seen, "loss": mean, "validation_dice": dice})
            window, window_steps = torch.zeros((), device=device), 0
        stopping, ended = stop(), ended_by(seen, best, recipe, looking) is not None
        if stopping or ended or time.monotonic() - last_save > recipe.checkpoint_every_s:
            refuse_non_finite("loss", loss.item(), recipe, seen)  # the last good state must stay
            _save(state_path, network, optimizer, recipe, seen, best)
            last_save = time.monotonic()
        if stopping and not ended:
            raise Stopped
    return Trained(seen, best)


def ended_by(images_seen: int, best: Best | None, recipe: Recipe, looking: Looking) -> EndedBy | None:
    """What ends a training that stands so; None if it goes on."""
    if best is not None and best.waited >= looking.patience:
        return "patience"
    return "length" if images_seen >= recipe.images else None


def looks(images_seen: int, batch_size: int, every: int) -> int:
    """How many looks a training of so many images has that ends with a look."""
    steps = math.ceil(images_seen / batch_size)
    if every <= batch_size or not steps:
        return steps
    seen = steps * batch_size
    return seen // every + (seen // every == (seen - batch_size) // every)


def better(best: Best | None, images_seen: int, network: nn.Module, dice: float) -> Best:
    """The best look after another one, at which ``network`` reached ``dice``."""
    if best is None or dice > best.dice:
        return Best(Kept.of(images_seen, network), dice, 0)
    return Best(best.kept, best.dice, best.waited + 1)


def soft_dice_loss(logits: Tensor, maps: Tensor, background: int) -> Tensor:
    """1 - Dice of probabilities, the mean over all classes but ``background``; a scalar.

    Of ``logits`` (B, K, *S) and numbers of classes ``maps`` (B, *S). Milletari et al., arXiv 1606.04797, section 3:
    squares in the denominator. Sums run over the whole batch, since a class may be absent from single images.
    """
    classes = logits.shape[1]
    p = logits.softmax(1)
    g = functional.one_hot(maps.long(), classes).movedim(-1, 1).to(p.dtype)
    axes = (0, *range(2, p.ndim))
    both, either = (p * g).sum(axes), (p.square() + g.square()).sum(axes)
    dice = (2 * both + SMOOTH) / (either + SMOOTH)
    return 1 - dice[torch.arange(classes, device=dice.device) != background].mean()


@torch.inference_mode()
def segment_images(
    network: nn.Module, images: Tensor, batch_size: int, precision: Precision, *, step: Step = silent
) -> Tensor:
    """The most probable class of each voxel of ``images`` (N, C, *S): numbers of classes (N, *S) uint8 on the CPU."""
    device = next(network.parameters()).device
    layout = fast_layout(images.shape[2:], device)
    found = []
    for batch in images.split(batch_size):
        with autocast(device, precision):
            logits = network(batch.to(device, memory_format=layout))
        found.append(logits.argmax(1).to("cpu", torch.uint8))
        step(len(batch))
    return torch.cat(found)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The arithmetic of a segmenter."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def state_of(state_path: Path, network: nn.Module, recipe: Recipe) -> Trained:
    """How the training in ``state_path`` stands; ``network`` gets its weights. Raises as ``train_segmenter``."""
    return Trained(*_restore(state_path, network, None, recipe))


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    images_seen: int,
    best: Best | None,
) -> None:
    tensors = {
        **with_prefix("network", network.state_dict()),
        **with_prefix("optimizer", optimizer_tensors(optimizer, network)),
    }
    more = {} if best is None else {"best_dice": best.dice, "waited": best.waited}
    save_state(path, tensors, recipe.phase, images_seen, None if best is None else best.kept, **more)


def _restore(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer | None, recipe: Recipe
) -> tuple[int, Best | None]:
    """Fill network and optimiser from the file; how many images were seen, and the best look."""
    tensors, about = load_state(path, recipe.phase)
    load_weights(network, without_prefix("network", tensors), path)
    if optimizer is not None:
        restore_optimizer(optimizer, network, without_prefix("optimizer", tensors), path)
    kept = kept_in(tensors, about, network, path)
    if kept is None:
        return about["images_seen"], None
    dice, waited = about.get("best_dice"), about.get("waited")
    if type(dice) is not float or type(waited) is not int:
        raise CheckpointError(
            f"{path} does not say how good its best weights are", fix="delete it, and repeat the command to begin anew"
        )
    return about["images_seen"], Best(kept, dice, waited)
