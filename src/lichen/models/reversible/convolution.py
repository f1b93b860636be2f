"""Norm, SiLU, dropout and convolution as one step that stores its input alone; a tensor let go before its gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from lichen.models.reversible.arithmetic import arithmetic, as_given

CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_CONVOLVE = {4: functional.conv2d, 5: functional.conv3d}


Drop = Callable[[Tensor], Tensor]
"""Dropout: (B, C, *S) -> (B, C, *S), the same at every call."""


def convolve_activated(x: Tensor, norm: nn.GroupNorm, convolution: nn.Module, drop: Drop | None = None) -> Tensor:
    """``convolution(drop(silu(norm(x))))``, x (B, C, *S) -> (B, C', *S), for a convolution of size 3 with padding 1.

    What is between is computed again in backward: it is cheap, and as large as x twice over. The norm is computed in
    the precision of x, its statistics in fp32, and the convolution in autocast's. The compiler decides by itself what
    to compute again, and is left to it.
    """
    assert isinstance(convolution.weight, Tensor)
    dtype = arithmetic(x)
    weights = norm.weight.to(x.dtype), norm.bias.to(x.dtype), convolution.weight.to(dtype)
    bias = convolution.bias.to(dtype) if isinstance(convolution.bias, Tensor) else None
    with as_given(x.device.type):
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            convolved: Tensor = _ActivatedConvolution.apply(x, *weights, bias, norm.num_groups, norm.eps, drop)  # type: ignore[no-untyped-call]
            return convolved
        scale, shift, kernel = weights
        return _convolved(_activated(x, scale, shift, norm.num_groups, norm.eps, dtype, drop), kernel, bias)


class Later:
    """Backward from a tensor that is let go before: its memory is free for what comes between."""

    def __init__(self, tensor: Tensor) -> None:
        self._towards: list[Tensor] = []
        self._end: Tensor = _End.apply(tensor, self._towards)  # type: ignore[no-untyped-call]

    def backward(self, towards: Tensor) -> None:
        """``tensor.backward(towards)``."""
        self._towards.append(towards)
        del towards
        torch.autograd.backward(self._end)


class _End(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, towards: list[Tensor]) -> Tensor:
        ctx.towards = towards
        return tensor.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None]:
        return ctx.towards.pop(), None


class _ActivatedConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        kernel: Tensor,
        bias: Tensor | None,
        groups: int,
        eps: float,
        drop: Drop | None,
    ) -> Tensor:
        ctx.save_for_backward(x, scale, shift, kernel)
        ctx.norm, ctx.drop = (groups, eps), drop
        return _convolved(_activated(x, scale, shift, groups, eps, kernel.dtype, drop), kernel, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, towards: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, shift, kernel = ctx.saved_tensors
        groups, eps = ctx.norm
        x, scale, shift = (
            leaf.detach().requires_grad_(needed)
            for leaf, needed in zip((x, scale, shift), ctx.needs_input_grad[:3], strict=True)
        )
        with torch.enable_grad(), as_given(kernel.device.type):
            activated = _activated(x, scale, shift, groups, eps, kernel.dtype, ctx.drop)
            later = Later(activated) if activated.requires_grad else None
        one, zero, width = [1] * (kernel.ndim - 2), [0] * (kernel.ndim - 2), [len(kernel)]
        needed = [later is not None, *ctx.needs_input_grad[3:5]]
        given = [
            *torch.ops.aten.convolution_backward(
                towards, activated.detach(), kernel, width, one, one, one, False, zero, 1, needed
            )
        ]
        del activated
        if later is not None:
            later.backward(given.pop(0))  # and nobody else holds it
        return x.grad, scale.grad, shift.grad, *given[-2:], None, None, None


def _activated(
    x: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float, dtype: torch.dtype, drop: Drop | None
) -> Tensor:
    activated = functional.silu(functional.group_norm(x, groups, scale, shift, eps).to(dtype))
    return activated if drop is None else drop(activated)


def _convolved(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    return _CONVOLVE[kernel.ndim](x, kernel, bias, padding=1)
