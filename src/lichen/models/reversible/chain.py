"""Chains of invertible steps whose backward pass recomputes every state from the last one (RevNet, arXiv 1707.04585).

The state of a network is two streams of features, each (B, C, *S). A step maps a state to a state of as many numbers
and can be undone, so that only the last state of a chain is stored, however long the chain is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from lichen.models.reversible.arithmetic import Arithmetic
from lichen.models.reversible.convolution import Later

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

    F is computed again in backward, so it must not be random, but for what depends on seeds that stay the same.
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
            later = Later(change)
        dtype = change.dtype
        a = c.sub_(change.detach())
        del change
        later.backward(towards_c.to(dtype))
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


def run_reversibly(step: Step, state: State, embedding: Tensor, *, private: bool = False) -> State:
    """``step(state, embedding)`` with the same gradients, of which only the result is stored for backward.

    ``private``: nothing else reads the gradients that come towards the two streams of the result, so that backward
    need not copy them before it writes to them. Not so where they are added to each other, or to anything that needs
    a gradient: autograd then hands out one tensor twice.
    """
    if not torch.is_grad_enabled():
        return step(state, embedding)  # type: ignore[no-any-return]  # nn.Module's call is untyped
    if torch.compiler.is_compiling():  # as a decorator it would load the compiler, which takes seconds
        return torch.compiler.disable(_recorded)(step, state, embedding, private)  # type: ignore[no-any-return]  # torch's own
    return _recorded(step, state, embedding, private)


def _recorded(step: Step, state: State, embedding: Tensor, private: bool) -> State:
    names, parameters = zip(*step.named_parameters(), strict=True)
    after: State = _Reversible.apply(step, names, private, *state, embedding, *parameters)  # type: ignore[no-untyped-call]
    return after


def snap(x: Tensor, grid: float) -> Tensor:
    """``x`` rounded to multiples of ``grid`` (a power of two, so that it is exact); the gradient passes unchanged."""
    snapped: Tensor = _Snap.apply(x, grid)  # type: ignore[no-untyped-call]
    return snapped


class _Snap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: float) -> Tensor:
        ctx.strides = x.stride()
        return torch.round(x / grid) * grid

    @staticmethod
    def backward(ctx: Any, *towards: Tensor) -> tuple[Tensor, None]:
        # the axes in memory in the order of forward: convolutions round differently in another
        (given,) = towards
        return given.new_empty_strided(given.shape, ctx.strides).copy_(given), None


class _Reversible(torch.autograd.Function):
    """A step as one node of autograd's graph, with its parameters as inputs: hooks and DDP see nothing unusual."""

    @staticmethod
    def forward(
        ctx: Any,
        step: Step,
        names: tuple[str, ...],
        private: bool,
        a: Tensor,
        b: Tensor,
        embedding: Tensor,
        *parameters: Tensor,
    ) -> State:
        ctx.step, ctx.names, ctx.private = step, names, private
        ctx.arithmetic = Arithmetic(a.device.type)
        with ctx.arithmetic.restored():
            after: State = step((a, b), embedding)
        ctx.save_for_backward(*after, embedding, *parameters)
        return after

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_a: Tensor, to_b: Tensor) -> tuple[Any, ...]:
        a, b, *leaves = ctx.saved_tensors
        a, b = a.clone(), b.clone()  # backward may run again on a retained graph; the result may be in use elsewhere
        ctx.maybe_clear_saved_tensors()  # without documentation, but in PyTorch since 2.0: frees all but the copies
        towards = (to_a, to_b) if ctx.private else (to_a.clone(), to_b.clone())
        # leaves of graphs of their own: the hooks of the real parameters run once, on what this function returns
        embedding, *parameters = (
            leaf.detach().requires_grad_(needed) for leaf, needed in zip(leaves, ctx.needs_input_grad[5:], strict=True)
        )
        undoing = _Undoing(ctx.step)
        given = {f"step.{name}": parameter for name, parameter in zip(ctx.names, parameters, strict=True)}
        with ctx.arithmetic.restored():
            _, before = functional_call(undoing, given, ((a, b), towards, embedding))
        return None, None, None, *before, embedding.grad, *(parameter.grad for parameter in parameters)


class _Undoing(nn.Module):
    """``Step.undo`` as a module's call, for ``functional_call``."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, state: State, towards: State, embedding: Tensor) -> tuple[State, State]:
        return self.step.undo(state, towards, embedding)
