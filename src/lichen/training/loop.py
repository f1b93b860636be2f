"""The training loop, top to bottom, for everything that lichen trains.

Step k is a pure function of the state before it and of (seed, images seen): batches and noise are drawn from
generators seeded by position, so a resumed run computes the same bits as an uninterrupted one, and several processes
compute what one would, up to rounding.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from lichen.config import Precision
from lichen.errors import TrainingError
from lichen.models.layout import fast_layout, set_layout
from lichen.progress import Step, silent
from lichen.stopping import Asked, Stopped, never
from lichen.team import ALONE, Team
from lichen.training.batches import batch_indices
from lichen.training.checkpoint import (
    load_weights,
    optimizer_tensors,
    restore_optimizer,
    with_prefix,
    without_prefix,
)
from lichen.training.draws import Draws
from lichen.training.ema import ema_decay, update_ema
from lichen.training.state import Kept, kept_in, load_state, save_state

Loss = Callable[[nn.Module, Tensor, Draws], Tensor]
"""(network, batch (B, ...), random numbers for its images) -> a scalar loss, the mean over the images."""

Log = Callable[[Mapping[str, float | int | str]], None]

Probe = Callable[[int, nn.Module], bool]
"""(images seen, averaged network) -> whether to stop; it looks, and changes nothing."""

STOP = "stop"
"""The phase, in the log, of the record that a probe ended training."""

LOG_POINTS = 200
"""How many points a loss curve has, whatever the length of the run."""


@dataclass(frozen=True)
class Recipe:
    """How long and how fast: everything about a training run but the network, the data and the loss."""

    phase: str
    images: int
    batch_size: int
    learning_rate: float
    ema_images: int
    gradient_clip: float
    precision: Precision
    seed: int
    checkpoint_every_s: float


@dataclass(frozen=True)
class Probing:
    """A look at the averaged network every so many images."""

    probe: Probe
    every: int
    """Images seen between two looks."""
    stops: bool
    """Whether the probe may stop training; the averaged weights of the last quiet probe are then kept."""


def train(
    network: nn.Module,
    examples: Tensor,
    loss: Loss,
    recipe: Recipe,
    *,
    state_path: Path,
    log: Log,
    step: Step = silent,
    stop: Asked = never,
    team: Team = ALONE,
    probing: Probing | None = None,
) -> nn.Module:
    """Train ``network`` in place on ``examples`` (N, ...) and return the moving average of its weights.

    Training starts from ``state_path`` where it exists and saves there every ``checkpoint_every_s``, at the end, and
    when ``stop`` says so. In a ``team`` each process takes its part of every batch, and all have the same weights.
    A probe is asked by the process that leads, the others wait. If it says stop, what is returned are the averaged
    weights at the probe before, which are in the state, so that a killed and resumed training ends the same.

    Raises:
        Stopped: ``stop`` said so, in this process or another; the state is saved.
        TrainingError: the loss or its gradient is no longer a number, or already the first probe says stop.
        CheckpointError: ``state_path`` is damaged or belongs to another recipe or architecture.
    """
    part, share = part_of_batch(recipe, team)
    device = next(network.parameters()).device
    layout = fast_layout(examples.shape[2:], device)
    set_layout(network, layout).train()
    average = copy.deepcopy(network).requires_grad_(False).eval()
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-4, fused=True)
    seen, kept = _restore(state_path, network, average, optimizer, recipe) if state_path.exists() else (0, None)
    check_agreed(seen, state_path, team)

    log_every = max(recipe.batch_size, recipe.images // LOG_POINTS)
    window, window_steps, last_save = torch.zeros((), device=device), 0, time.monotonic()
    while seen < recipe.images:
        indices = batch_indices(recipe.seed, seen, recipe.batch_size, len(examples))
        batch = examples[indices[part]].to(device, memory_format=layout, non_blocking=True)
        draws = Draws.of_step(recipe.seed, recipe.phase, seen, recipe.batch_size, part, device)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(seen, recipe)

        optimizer.zero_grad(set_to_none=True)  # before forward, so that old gradients take no memory beside activations
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            value = loss(network, batch, draws) * share
        value.backward()
        add_up_gradients(network, team)
        norm = nn.utils.clip_grad_norm_(network.parameters(), recipe.gradient_clip)
        optimizer.step()
        before, seen = seen, seen + recipe.batch_size
        update_ema(average, network, ema_decay(seen, recipe.batch_size, recipe.ema_images))
        step(min(seen, recipe.images) - before)

        window, window_steps = window + value.detach(), window_steps + 1
        if seen // log_every > before // log_every or seen >= recipe.images:
            team.add_up([window])
            mean = window.item() / window_steps
            refuse_non_finite("loss", mean, recipe, seen)
            refuse_non_finite("gradient", norm.item(), recipe, seen)
            record: dict[str, float | int | str] = {"phase": recipe.phase, "images_seen": seen, "loss": mean}
            if team.leads:
                log(record | {"learning_rate": learning_rate(before, recipe), "gradient_norm": norm.item()})
            window, window_steps = torch.zeros((), device=device), 0
        if probing is not None and seen // probing.every > before // probing.every:
            if team.any(team.leads and probing.probe(seen, average)):
                return as_before(average, kept, recipe, seen, log if team.leads else nowhere)
            if probing.stops:
                kept = Kept.of(seen, average)
        stopping = team.any(stop())
        if stopping or seen >= recipe.images or time.monotonic() - last_save > recipe.checkpoint_every_s:
            refuse_non_finite("gradient", norm.item(), recipe, seen)  # the last good state must stay
            if team.leads:
                _save(state_path, network, average, optimizer, recipe, seen, kept)
            last_save = time.monotonic()
        if stopping and seen < recipe.images:
            raise Stopped
    return average


def part_of_batch(recipe: Recipe, team: Team) -> tuple[slice, float]:
    """This process's part of every batch, and its share of it; raises TrainingError where some have none."""
    part = team.part(recipe.batch_size)
    share = (part.stop - part.start) / recipe.batch_size
    if team.any(share == 0):
        raise TrainingError(
            f"{team.size} processes share batches of {recipe.batch_size} images in the {recipe.phase}",
            fix=f"use at most {recipe.batch_size} processes, or larger batches",
        )
    return part, share


def check_agreed(images_seen: int, state_path: Path, team: Team) -> None:
    """Raise TrainingError unless all processes of the team go on from the same state."""
    if not team.agree(images_seen):
        raise TrainingError(
            f"the processes do not all see the same {state_path}",
            fix="put the run folder on a disk that all machines share",
        )


def as_before(average: nn.Module, kept: Kept | None, recipe: Recipe, images_seen: int, log: Log) -> nn.Module:
    """The averaged network as it was at the last quiet probe."""
    if kept is None:
        raise TrainingError(
            f"already the first probe of the {recipe.phase}, after {images_seen} images, finds what is to stop it",
            fix="probe more often with a smaller --probe.every, or train on without --probe.stop",
        )
    log({"phase": STOP, "images_seen": images_seen, "kept_images_seen": kept.images_seen})
    average.load_state_dict(dict(kept.weights))
    return average


def nowhere(_: Mapping[str, float | int | str]) -> None:
    """A ``Log`` for processes that do not lead."""


def refuse_non_finite(name: str, figure: float, recipe: Recipe, images_seen: int) -> None:
    """Raise TrainingError where a ``figure`` of the training is no longer a number."""
    if not math.isfinite(figure):
        raise TrainingError(
            f"the {name} of the {recipe.phase} became {figure} after {images_seen} images",
            fix=f"lower the learning rate (now {recipe.learning_rate:g}), or use fp32 if this ran in bf16",
        )


def add_up_gradients(network: nn.Module, team: Team) -> None:
    """Replace each gradient by its sum over the team, in one exchange for all of them."""
    if team.size == 1:
        return
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    team.add_up([flat])
    for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(total.view_as(gradient))


def learning_rate(images_seen: int, recipe: Recipe) -> float:
    """Linear warm-up over the first 2 % of the images, then a cosine to zero."""
    share = images_seen / recipe.images
    warm_up = min(1.0, (images_seen + recipe.batch_size) / (0.02 * recipe.images))
    return recipe.learning_rate * warm_up * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))


def _save(
    path: Path,
    network: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    images_seen: int,
    kept: Kept | None,
) -> None:
    tensors = {
        **with_prefix("network", network.state_dict()),
        **with_prefix("average", average.state_dict()),
        **with_prefix("optimizer", optimizer_tensors(optimizer, network)),
    }
    save_state(path, tensors, recipe.phase, images_seen, kept)


def _restore(
    path: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, recipe: Recipe
) -> tuple[int, Kept | None]:
    """Fill all three from the file; how many images were seen, and what was kept of the last quiet probe."""
    tensors, about = load_state(path, recipe.phase)
    load_weights(network, without_prefix("network", tensors), path)
    load_weights(average, without_prefix("average", tensors), path)
    restore_optimizer(optimizer, network, without_prefix("optimizer", tensors), path)
    return about["images_seen"], kept_in(tensors, about, average, path)
