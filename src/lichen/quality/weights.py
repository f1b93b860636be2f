"""Reading weights that the user brings: tensors by name, and nothing that could be run."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lichen.errors import CheckpointError

_COUNTER = ".num_batches_tracked"
"""Of batch normalisation while training; older files do not have it, and nothing here reads it."""
_AS_DICT = "save its weights alone: torch.save(network.state_dict(), PATH), or as safetensors"
MOST_NAMED = 3
"""Names of weights in a message."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in ``path``, safetensors or a state dict that ``torch.save`` wrote, by name, in float32.

    A state dict may lie under ``state_dict``, and names may begin with ``module.``, as networks trained on several
    GPUs have them.

    Raises:
        CheckpointError: there is no such file, it is damaged, holds code or anything else but tensors.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist", fix="give the path of a file of weights; none is downloaded")
    found = _safetensors(path) if path.suffix == ".safetensors" else _torch_file(path)
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items()
    ):
        raise CheckpointError(f"{path} is no state dict: it holds more than tensors by name", fix=_AS_DICT)
    return {name.removeprefix("module."): value.float() for name, value in found.items() if not name.endswith(_COUNTER)}


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})", fix="copy it again") from error
    return weights


def _torch_file(path: Path) -> Any:
    if _holds_code(path):
        raise CheckpointError(f"{path} is TorchScript, which holds code; code is not run", fix=_AS_DICT)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a strange file makes the reader stumble in ways that it does not list
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise CheckpointError(f"{path} cannot be read as weights alone ({reason})", fix=_AS_DICT) from error


def _holds_code(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") or "/code/" in name for name in archive.namelist())


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Give ``network``, which may be on the device meta, the weights ``tensors`` from ``path``, and make it ready.

    Raises:
        CheckpointError: weights of ``what``, the network's name in words, are missing, of another shape, or too many.
    """
    wanted = {name: value for name, value in network.state_dict().items() if not name.endswith(_COUNTER)}
    missing = [name for name in wanted if name not in tensors]
    shaped = [name for name in wanted if name in tensors and tensors[name].shape != wanted[name].shape]
    surplus = [name for name in tensors if name not in wanted]
    for names, problem in (
        (missing, f"lacks {len(missing)} of its {len(wanted)} weights"),
        (shaped, f"has {len(shaped)} of its weights in another shape"),
        (surplus, f"has {len(surplus)} weights that it does not have"),
    ):
        if names:
            raise CheckpointError(
                f"{path} does not fit {what}: it {problem}: {_some(names)}",
                fix="give the file under the name of its own network; lichen quality --help lists them",
            )
    counters = {name: torch.zeros((), dtype=torch.long) for name in network.state_dict() if name.endswith(_COUNTER)}
    network.load_state_dict({**tensors, **counters}, assign=True)
    network.eval().requires_grad_(requires_grad=False)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
