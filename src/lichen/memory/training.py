"""The memory of one training step: reckoned on fake tensors before there is a network, or measured on real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lichen.memory.lifetimes import Lifetimes, bytes_of
from lichen.memory.words import gigabytes

Precision = Literal["fp32", "bf16"]

Loss = Callable[[nn.Module, Any], Tensor]
"""(network, batch) -> a scalar."""


@dataclass(frozen=True)
class TrainingMemory:
    """What one step of training takes, in bytes of tensors, and its arithmetic.

    The peak is less than the sum of the parts: gradients come while activations go.
    """

    weights_bytes: int
    """Parameters and buffers, with those of a moving average where one is kept."""
    gradients_bytes: int
    optimizer_bytes: int
    """AdamW's two moments of every weight."""
    activations_bytes: int
    """The most that everything else takes at one time: what backward needs, temporaries, the batch."""
    peak_bytes: int
    """The most at one time, of all of it."""
    flops: int
    """Floating-point operations of the step's matrix products, convolutions and attention."""

    def __str__(self) -> str:
        parts = (
            ("weights", self.weights_bytes),
            ("gradients", self.gradients_bytes),
            ("optimiser", self.optimizer_bytes),
            ("activations", self.activations_bytes),
        )
        return f"{gigabytes(self.peak_bytes)} ({', '.join(f'{name} {gigabytes(size)}' for name, size in parts)})"


def estimate_training_memory(
    build: Callable[[], nn.Module],
    batch: Callable[[], Any],
    loss: Loss,
    *,
    precision: Precision = "fp32",
    averaged: bool = False,
) -> TrainingMemory:
    """The memory of a step of AdamW (fused), before anything is trained; takes none itself and draws no random numbers.

    ``build`` makes the network and is called with the meta device as default; ``batch`` and ``loss`` are called with
    fake tensors, so they may neither read a value (``.item()``) nor branch on one. ``averaged``: a moving average of
    the weights is kept beside them. Operations are those of a CPU, attention by its fused kernel; a GPU has kernels of
    the same kind, whose outputs have the same sizes. What an operation takes and lets go within itself, such as a
    convolution's workspace, is not in it.
    """
    with torch.random.fork_rng([]):
        with torch.device("meta"):
            network = build()
        with FakeTensorMode(allow_non_fake_inputs=True):
            _fake(network)
            return _of_a_step(network.train(), batch, loss, precision, averaged=averaged)


def measure_training_memory(
    network: nn.Module, batch: Callable[[], Any], loss: Loss, *, precision: Precision = "fp32", averaged: bool = False
) -> TrainingMemory:
    """What ``estimate_training_memory`` foretells, of a real step that changes ``network``: tensors' lifetimes.

    On a GPU the peak is PyTorch's own count, with all that it holds beside.
    """
    return _of_a_step(network.train(), batch, loss, precision, averaged=averaged)


def measure_peak_memory(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes of tensors while ``work`` runs, those that it finds and uses included.

    On a CPU by the lifetimes of storages, on a GPU by PyTorch's own count (``torch.cuda.max_memory_allocated``).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return int(torch.cuda.max_memory_allocated(device))
    lifetimes = Lifetimes()
    with lifetimes:
        work()
    return lifetimes.peak_bytes()


def _of_a_step(
    network: nn.Module, batch: Callable[[], Any], loss: Loss, precision: Precision, *, averaged: bool
) -> TrainingMemory:
    weights = [*network.parameters(), *network.buffers()]
    device = weights[0].device
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    for weight in network.parameters():  # moments come with the first step; it is a later one that is looked at
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    optimizer.step()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            value = loss(network, batch())
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    lifetimes = Lifetimes()

    def watched() -> None:
        with lifetimes:
            step()

    counted = measure_peak_memory(watched, device) if device.type == "cuda" else None
    if counted is None:
        watched()
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    moments = [value for state in optimizer.state.values() for value in state.values()]
    found = TrainingMemory(
        weights_bytes=bytes_of(weights),
        gradients_bytes=bytes_of(gradients),
        optimizer_bytes=bytes_of(moments),
        activations_bytes=lifetimes.peak_bytes(without=chain(weights, gradients, moments)),
        peak_bytes=lifetimes.peak_bytes() if counted is None else counted,
        flops=lifetimes.flops,
    )
    if not averaged:
        return found
    kept = found.weights_bytes
    return replace(found, weights_bytes=2 * kept, peak_bytes=found.peak_bytes + kept)


def _fake(network: nn.Module) -> None:
    """Give a network on the meta device fake weights; ``Module.to`` cannot."""
    made: dict[int, Tensor] = {}
    for module in network.modules():
        plain = [(name, value) for name, value in vars(module).items() if isinstance(value, Tensor)]
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False), *plain)
        for name, tensor in own:
            setattr(module, name, made.setdefault(id(tensor), _like(tensor)))


def _like(tensor: Tensor) -> Tensor:
    blank = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    return nn.Parameter(blank, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else blank
