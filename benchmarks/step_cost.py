"""FLOPs, seconds and joules of a training step of several networks, measured side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lichen.energy import Trace, find_meters, read_traces
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.ema import ema_decay, update_ema

TURNS, STEPS = 12, 8
"""Turns of each network, and steps in each turn."""


@dataclass(frozen=True)
class StepCost:
    """What one training step of a network takes."""

    parameters: int
    flops: int
    seconds: float
    joules: float


def step_costs(
    networks: Mapping[str, nn.Module], batch: Tensor, trace_file: Path
) -> tuple[dict[str, StepCost], list[str]]:
    """The cost of each network's step on ``batch`` (B, L, *s), and the sources of the energy figures.

    The networks take turns within this process, so that a busy machine is busy for all of them.
    """
    steps = {name: training_step(network, batch) for name, network in networks.items()}
    flops = {name: flops_of(step) for name, step in steps.items()}
    trace_file.unlink(missing_ok=True)
    with Trace(trace_file, find_meters()) as trace:
        for _ in range(TURNS):
            for name, step in steps.items():
                with trace.phase(name):
                    for _ in range(STEPS):
                        step()
    phases = {phase.phase: phase for phase in read_traces([trace_file])}
    costs = {}
    for name, network in networks.items():
        joules = phases[name].total.energy_j
        assert joules is not None, "no meter gave a reading"
        parameters = sum(weight.numel() for weight in network.parameters())
        costs[name] = StepCost(
            parameters, flops[name], phases[name].duration_s / (TURNS * STEPS), joules / (TURNS * STEPS)
        )
    sources = {part.source for name in networks for part in phases[name].components}
    return costs, sorted(sources)


def training_step(network: nn.Module, batch: Tensor) -> Callable[[], None]:
    """A step as lichen's training loop takes it: loss, gradient, clipping, AdamW, average."""
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.train().parameters(), lr=1e-5, weight_decay=1e-4, fused=True)
    loss_of = denoiser_loss("v", torch.device("cpu"))
    size = len(batch)
    draws = Draws(torch.Generator().manual_seed(0), size, slice(0, size))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(network, batch, draws).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        update_ema(average, network, ema_decay(100 * size, size, 100 * size))

    return step


def flops_of(work: Callable[[], object]) -> int:
    """FLOPs of the convolutions, products and attention in ``work``, those of backward and recomputation included."""
    counter = _Flops()
    with counter:
        work()
    return counter.total


class _Flops(TorchDispatchMode):
    """torch's ``FlopCounterMode`` watches modules too, and a backward pass within a backward pass stops it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch does not type it
        self.total: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func.overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out
