"""Are the gradients of a reversible network those of ordinary autograd?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lichen.models.reversible.unet import ReversibleUNet


@dataclass(frozen=True)
class GradientCheck:
    """How far the gradients of the two backward passes lie apart."""

    differences: dict[str, float]
    """Norm of the difference over the norm of the ordinary gradient, per parameter, and for the input as 'x'."""
    bitwise: bool
    """Whether all gradients are equal to the last bit."""

    @property
    def largest(self) -> float:
        """The largest of the differences."""
        return max(self.differences.values())


def check_gradients(network: ReversibleUNet, x: Tensor, timesteps: Tensor) -> GradientCheck:
    """Compare ``network``'s backward pass with the ordinary one that keeps all activations.

    x (B, C, *S), timesteps (B,). The loss is the output times fixed numbers from N(0, 1). Call it within
    ``torch.autocast`` to check bf16 branches. Gradients and settings of the network stay as they are. A new network's
    last layers are zero, and so are most of its gradients: give all weights some noise first.
    """
    weights = torch.randn(
        network(x[:1], timesteps[:1]).shape[1:], generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).to(x)
    recomputed, ordinary = (_gradients(network, x, timesteps, weights, invert=invert) for invert in (True, False))
    return GradientCheck(
        differences={name: _difference(recomputed[name], ordinary[name]) for name in ordinary},
        bitwise=all(torch.equal(recomputed[name], ordinary[name]) for name in ordinary),
    )


def _gradients(
    network: ReversibleUNet, x: Tensor, timesteps: Tensor, weights: Tensor, *, invert: bool
) -> dict[str, Tensor]:
    leaves = {"x": x.detach().requires_grad_()}
    leaves |= {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    before, network.invert = network.invert, invert
    try:
        loss = (network(leaves["x"], timesteps) * weights).sum()
        found = torch.autograd.grad(loss, list(leaves.values()))
    finally:
        network.invert = before
    return dict(zip(leaves, found, strict=True))


def _difference(one: Tensor, other: Tensor) -> float:
    scale = float(other.double().norm())
    apart = float((one.double() - other.double()).norm())
    return apart / scale if scale else apart
