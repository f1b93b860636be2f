"""The denoiser compiled for one batch size: fewer seconds for each network call, after the time of compiling it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from lichen.errors import DependencyError
from lichen.training.generator import Diffusion


def compiled(generator: Diffusion, first_use: Callable[[Diffusion], object]) -> Diffusion:
    """The ``generator`` with its denoiser compiled by ``torch.compile`` for the shapes and layouts of ``first_use``.

    It is the first use that compiles. Within a process a shape is compiled once; later processes find PyTorch's own
    cache in the temporary folder and take a part of the time.

    Raises:
        DependencyError: there is no C++ compiler here, or PyTorch cannot compile this network.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch about itself: none of them is about the network
        from torch._dynamo.exc import TorchDynamoException  # takes seconds to load

        ready = replace(generator, denoiser=cast("nn.Module", torch.compile(generator.denoiser, dynamic=False)))
        try:
            first_use(ready)
        except TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise DependencyError(
                f"the denoiser cannot be compiled here ({reason})",
                fix="install a C++ compiler such as g++, or leave --sampling.compile out",
            ) from error
    return ready


@dataclass(frozen=True)
class BreakEven:
    """From how many network calls on compiling has paid for itself; costs are joules, or seconds without a reading."""

    compile_cost: float
    eager_cost: float
    """Of one network call."""
    compiled_cost: float

    @property
    def calls(self) -> float | None:
        """compile / (eager - compiled), the calls after which both have cost the same; None: it never pays."""
        saved = self.eager_cost - self.compiled_cost
        return self.compile_cost / saved if saved > 0 else None

    def pays(self, planned_calls: float) -> bool:
        """Whether so many calls cost less compiled, the compiling itself included."""
        return self.calls is not None and planned_calls > self.calls
