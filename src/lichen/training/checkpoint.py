"""Checkpoints: safetensors files, whole or not there, with everything that is needed to use them inside.

No file is ever unpickled: tensors are safetensors, the rest is JSON in its header.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lichen.errors import CheckpointError
from lichen.files import replacing

FORMAT = 1
MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What AdamW keeps of each weight."""


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write ``tensors`` and the JSON-able ``about`` to ``path``: to a temporary name, synced, then renamed."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    about = {"format": FORMAT, "sha256": digest(whole), **about}
    with replacing(path) as temporary:
        try:
            save_file(whole, temporary, metadata={"lichen": json.dumps(about, sort_keys=True)})
        except SafetensorError as error:
            raise OSError(f"{path} cannot be written ({error})") from error


def load_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save_tensors`` wrote.

    Raises:
        CheckpointError: the file is missing, cut short, changed since, not lichen's, of another ``kind`` or version.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"{path} does not exist", fix="train first, or give the path of a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("lichen")
            about = json.loads(header) if header else {}
            # cloned: what the file hands out is a view of it, unaligned and gone if the file is cut
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is not a whole safetensors file ({error})",
            fix="delete it and repeat the command that made it",
        ) from error
    if not isinstance(about, dict) or about.get("kind") != kind:
        found = about.get("kind", "none of lichen's") if isinstance(about, dict) else "none of lichen's"
        raise CheckpointError(
            f"{path} is a checkpoint of kind {found!r}, not {kind!r}", fix=f"give a {kind} checkpoint"
        )
    if about.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {about.get('format')}; this version reads format {FORMAT}",
            fix="use the version of lichen that wrote it, or train again",
        )
    if about.pop("sha256", None) != digest(tensors):
        raise CheckpointError(
            f"{path} holds other numbers than were written to it",
            fix="copy it again from where it came, or train again",
        )
    return tensors, about


def read_about(path: Path) -> dict[str, Any]:
    """What a checkpoint says of itself, without its tensors; nothing where there is none or it cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("lichen", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError):
        return {}
    return about if isinstance(about, dict) else {}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes of contiguous tensors on the CPU, in hexadecimal."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``{"a": t}`` -> ``{"prefix.a": t}``."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under ``prefix``, with the prefix taken off."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Fill ``network`` with ``tensors``; one missing, surplus, misshapen or of another type: ``CheckpointError``."""
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        have, want = tensors.get(name), wanted.get(name)
        if have is None or want is None or have.shape != want.shape:
            shapes = [tuple(t.shape) if t is not None else "absent" for t in (have, want)]
            raise CheckpointError(
                f"{path} is of another architecture: {name} is {shapes[0]} in the file and {shapes[1]} in the model",
                fix="use the settings it was trained with, or start in a new folder",
            )
        if have.dtype != want.dtype:
            raise CheckpointError(
                f"{path} holds {name} as {have.dtype}, the model as {want.dtype}",
                fix="give the file as lichen wrote it; a converted one is not read",
            )
    on_meta = any(parameter.is_meta for parameter in network.parameters())
    network.load_state_dict(dict(tensors), assign=on_meta)


def optimizer_tensors(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """The state of an optimiser over ``network.parameters()`` as named tensors."""
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Put back what ``optimizer_tensors`` took out; CheckpointError unless each weight has its moments in ``path``.

    Moments get the memory layout of their weights: a fused optimiser walks both by memory position, so moments of
    another layout would silently belong to other weights.
    """
    places = {name: (index, weight) for index, (name, weight) in enumerate(network.named_parameters())}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, _, key = name.rpartition("/")
        if parameter not in places:
            raise CheckpointError(
                f"{path} has moments of {parameter!r}, which the model does not have",
                fix="use the settings it was begun with, or start in a new folder",
            )
        index, weight = places[parameter]
        if value.shape != (() if key == "step" else weight.shape) or value.dtype != torch.float32:
            raise CheckpointError(
                f"{path} has {name} of shape {tuple(value.shape)} and {value.dtype}, which is no moment of its weight",
                fix="delete it, and repeat the command to begin anew",
            )
        alike = torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value
        state.setdefault(index, {})[key] = alike.detach()
    if any(state.get(index, {}).keys() != MOMENTS for index, _ in places.values()):
        raise CheckpointError(
            f"{path} lacks moments of some weights", fix="delete it, and repeat the command to begin anew"
        )
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
