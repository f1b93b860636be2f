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
_AGAIN = f"download or copy it again; or, where it was made, {_AS_DICT}"
_PICKLE = b"\x80"
"""The first byte of what torch.save wrote before it wrote archives."""
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
    if strange := [name for name, value in found.items() if not _is_plain(value)]:
        raise CheckpointError(f"{path} holds what are no plain numbers: {_some(strange)}", fix=_AS_DICT)
    return {name.removeprefix("module."): value.float() for name, value in found.items() if not name.endswith(_COUNTER)}


def _is_plain(value: Tensor) -> bool:
    """Whether a tensor is numbers in memory, each of them finite: a few bytes may claim to be any number of them."""
    if value.layout != torch.strided or value.device.type != "cpu" or value.is_complex() or value.is_quantized:
        return False
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return False
    return bool(value.float().isfinite().all())


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error})", fix="copy it again") from error
    return weights


def _torch_file(path: Path) -> Any:
    _check_archive(path)
    with path.open("rb") as file:
        begins_as_one = file.read(1) == _PICKLE
    if not (begins_as_one or zipfile.is_zipfile(path)):
        raise CheckpointError(f"{path} is not a file of weights", fix=_AGAIN)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a strange file makes the reader stumble in ways that it does not list
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]
        raise CheckpointError(f"{path} cannot be read as weights alone ({reason})", fix=_AGAIN) from error


def _check_archive(path: Path) -> None:
    """Raise CheckpointError for code, and for what is compressed, as torch.save never does: it may be of any size."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error})", fix="copy it again") from error
    if any(part.filename.endswith("/constants.pkl") or "/code/" in part.filename for part in parts):
        raise CheckpointError(f"{path} is TorchScript, which holds code; code is not run", fix=_AS_DICT)
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise CheckpointError(f"{path} is a compressed archive, which torch.save does not write", fix=_AS_DICT)


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
