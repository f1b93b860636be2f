"""In what precision a network computes: the autocast of its forward pass, to be the same again in backward."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def arithmetic(x: Tensor) -> torch.dtype:
    """The precision in which a convolution of x is computed: autocast's, where it is on."""
    device = x.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device) and x.dtype == torch.float32:
        return torch.get_autocast_dtype(device)
    return x.dtype


def as_given(device: str) -> AbstractContextManager[object]:
    """Operations in the precision of what they are given, without autocast."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()


class Arithmetic:
    """The autocast of the moment on ``device``, for a recomputation to be the same.

    Without autocast's cache of weights: what is cast where no gradient is recorded must not be reused where one is.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._known = torch.amp.is_autocast_available(device)  # not for fake devices such as "meta"
        if self._known:
            self._enabled = torch.is_autocast_enabled(device)
            self._dtype = torch.get_autocast_dtype(device)

    def restored(self) -> AbstractContextManager[object]:
        """A context in which it is as it was."""
        if not self._known:
            return nullcontext()
        return torch.autocast(self._device, dtype=self._dtype, enabled=self._enabled, cache_enabled=False)
