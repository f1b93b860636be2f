"""When tensors' memory is taken and let go: every storage once, from its first use until it dies.

The resident set of a process says little about tensors (allocators keep what was freed), so lifetimes are counted.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

_FLASH = torch.ops.aten._scaled_dot_product_flash_attention  # noqa: SLF001 (operators have no public names)
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_backward  # noqa: SLF001
_ON_CPU = {  # PyTorch's table of operations lacks the CPU's fused attention
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[_FLASH],  # noqa: SLF001
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: flop_registry[_FLASH_BACKWARD],  # noqa: SLF001
}
_FLOPS = {**flop_registry, **_ON_CPU}


class Lifetimes(TorchDispatchMode):
    """While it is entered, notes the storages that operations read and make, and the operations' FLOPs.

    A storage read before it was seen to be made was there from the beginning. Memory that an operation takes and lets
    go within itself is not seen. Works on fake tensors as on real ones.

    Attributes:
        flops: floating-point operations of matrix products, convolutions and attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self._alive: dict[int, int] = {}
        self._sizes: list[int] = []
        self._there: list[int] = []
        self._changes: list[tuple[int, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run ``func`` and note what it reads and makes."""
        del types
        kwargs = kwargs or {}
        for tensor in _tensors((args, kwargs)):
            self._note(tensor, there=True)
        out = func(*args, **kwargs)
        formula = _FLOPS.get(func._overloadpacket)  # noqa: SLF001 (the key of PyTorch's own table)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=out)
        for tensor in _tensors(out):
            self._note(tensor, there=False)
        return out

    def peak_bytes(self, without: Iterable[Tensor] = ()) -> int:
        """The most bytes alive at one time, leaving out the storages of the tensors ``without``."""
        left_out = {self._alive.get(_key(tensor)) for tensor in without}
        start = sum(self._sizes[serial] for serial in self._there if serial not in left_out)
        changes = (sign * self._sizes[serial] for serial, sign in self._changes if serial not in left_out)
        return max(accumulate(changes, initial=start))

    def _note(self, tensor: Tensor, *, there: bool) -> None:
        key = _key(tensor)
        if key in self._alive:
            return
        serial = len(self._sizes)
        self._alive[key] = serial
        self._sizes.append(tensor.untyped_storage().nbytes())
        if there:
            self._there.append(serial)
        else:
            self._changes.append((serial, 1))
        weakref.finalize(tensor.untyped_storage(), self._gone, key)

    def _gone(self, key: int) -> None:
        self._changes.append((self._alive.pop(key), -1))


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages of ``tensors``, each counted once."""
    return sum({_key(tensor): tensor.untyped_storage().nbytes() for tensor in tensors}.values())


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 (the only identity that a storage has)


def _tensors(tree: Any) -> Iterable[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))
