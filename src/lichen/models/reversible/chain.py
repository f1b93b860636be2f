"""Chains of invertible steps whose backward pass recomputes every state from the last one (RevNet, arXiv 1707.04585).

The state of a network is two streams of features, each (B, C, *S). A step maps a state to a state of as many numbers
and can be undone, so that only the last state of a chain is stored, however long the chain is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.func import functional_call

State = tuple[Tensor, Tensor]
"""The two streams, each (B, C, *S); or the gradients with respect to them."""


class Step(nn.Module, ABC):
    """One invertible map of a state, conditioned on an embedding (B, E)."""

    @abstractmethod
    def forward(self, state: State, embedding: Tensor) -> State:
        """The state after the step, by ordinary operations that autograd can follow."""

    @abstractmethod
    def undo(self, state: State, towards: State, embedding: Tensor) -> tuple[State, State]:
        """From the state after the step and the gradient towards it, both as they were before the step.

        ``state`` and ``towards`` are given away: their memory is written to, so that no second state is ever held.
        Gradients of the step's parameters and of ``embedding``, all leaves of autograd, are added to their ``.grad``.
        """


class Coupling(Step):
    """Additive coupling (a, b) -> (b, a + F(b)); two in a row update both streams, each from the other.

    F is computed again in backward, so it must not be random.
    With a ``grid``, F's output is rounded to multiples of it, with the gradient passed straight through: on states that
    are multiples of it too, sums are exact (below 2^24 grids in fp32), so the step is undone without any error.
    """

    def __init__(self, branch: nn.Module, grid: float | None = None) -> None:
        super().__init__()
        self.branch = branch
        self.grid = grid

    def forward(self, state: State, embedding: Tensor) -> State:
        """(a, b) -> (b, a + F(b))."""
        a, b = state
        return b, a + self._change(b, embedding)

    def undo(self, state: State, towards: State, embedding: Tensor) -> tuple[State, State]:
        """(b, a + F(b)) -> (a, b), with the gradient."""
        (b, c), (towards_b, towards_c) = state, towards
        b = b.detach().requires_grad_()
        with torch.enable_grad():
            change = self._change(b, embedding)
        a = c.sub_(change.detach())
        torch.autograd.backward(change, towards_c.to(change.dtype))
        if b.grad is not None:
            towards_b.add_(b.grad)
        return (a, b.detach()), (towards_c, towards_b)

    def _change(self, b: Tensor, embedding: Tensor) -> Tensor:
        change: Tensor = self.branch(b, embedding)
        return change if self.grid is None else snap(change.to(b.dtype), self.grid)


class Chain(Step):
    """Steps one after another."""

    def __init__(self, steps: Iterable[Step]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, state: State, embedding: Tensor) -> State:
        """The state after all steps."""
        for step in self.steps:
            state = step(state, embedding)
        return state

    def undo(self, state: State, towards: State, embedding: Tensor) -> tuple[State, State]:
        """The state before all steps, with the gradient."""
        for step in reversed(self.steps):
            assert isinstance(step, Step)
            state, towards = step.undo(state, towards, embedding)
        return state, towards


def run_reversibly(step: Step, state: State, embedding: Tensor) -> State:
    """``step(state, embedding)`` with the same gradients, of which only the result is stored for backward."""
    if not torch.is_grad_enabled():
        return step(state, embedding)  # type: ignore[no-any-return]  # nn.Module's call is untyped
    return _recorded(step, state, embedding)


@torch._disable_dynamo  # type: ignore[attr-defined]  # noqa: SLF001  # as torch.compiler.disable, but without importing the compiler at once
def _recorded(step: Step, state: State, embedding: Tensor) -> State:
    names, parameters = zip(*step.named_parameters(), strict=True)
    after: State = _Reversible.apply(step, names, *state, embedding, *parameters)  # type: ignore[no-untyped-call]
    return after


def snap(x: Tensor, grid: float) -> Tensor:
    """``x`` rounded to multiples of ``grid`` (a power of two, so that it is exact); the gradient passes unchanged."""
    snapped: Tensor = _Snap.apply(x, grid)  # type: ignore[no-untyped-call]
    return snapped


class _Snap(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: FunctionCtx, x: Tensor, grid: float) -> Tensor:
        return torch.round(x / grid) * grid

    @staticmethod
    def backward(_ctx: FunctionCtx, *towards: Tensor) -> tuple[Tensor, None]:
        return towards[0], None


class _Reversible(torch.autograd.Function):
    """A step as one node of autograd's graph, with its parameters as inputs: hooks and DDP see nothing unusual."""

    @staticmethod
    def forward(
        ctx: Any, step: Step, names: tuple[str, ...], a: Tensor, b: Tensor, embedding: Tensor, *parameters: Tensor
    ) -> State:
        ctx.step, ctx.names = step, names
        ctx.arithmetic = _Arithmetic(a.device.type)
        with ctx.arithmetic.restored():
            after: State = step((a, b), embedding)
        ctx.save_for_backward(*after, embedding, *parameters)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *towards: Tensor) -> tuple[Any, ...]:
        # a copy, so that backward can run again on a retained graph; the gradients are nobody's but this function's
        a, b, *leaves = ctx.saved_tensors
        a, b = a.clone(), b.clone()
        ctx.maybe_clear_saved_tensors()
        # leaves of graphs of their own: the hooks of the real parameters run once, on what this function returns
        embedding, *parameters = (
            leaf.detach().requires_grad_(needed) for leaf, needed in zip(leaves, ctx.needs_input_grad[4:], strict=True)
        )
        undoing = _Undoing(ctx.step)
        given = {f"step.{name}": parameter for name, parameter in zip(ctx.names, parameters, strict=True)}
        with ctx.arithmetic.restored():
            _, before = functional_call(undoing, given, ((a, b), towards, embedding))
        return None, None, *before, embedding.grad, *(parameter.grad for parameter in parameters)


class _Undoing(nn.Module):
    """``Step.undo`` as a module's call, for ``functional_call``."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, state: State, towards: State, embedding: Tensor) -> tuple[State, State]:
        return self.step.undo(state, towards, embedding)


class _Arithmetic:
    """The autocast of the forward pass, for the recomputation to be the same.

    Without autocast's cache of weights: what is cast where no gradient is recorded must not be reused where one is.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._known = torch.amp.is_autocast_available(device)  # not for fake devices such as "meta"
        if self._known:
            self._enabled = torch.is_autocast_enabled(device)
            self._dtype = torch.get_autocast_dtype(device)

    def restored(self) -> AbstractContextManager[object]:
        if not self._known:
            return nullcontext()
        return torch.autocast(self._device, dtype=self._dtype, enabled=self._enabled, cache_enabled=False)
