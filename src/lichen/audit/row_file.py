"""Unit rows in a file: written once, in blocks, and read in blocks by every process that needs them.

The file is a plain .npy of float32, (N, V); a JSON file beside it says which images and which mask it was made from.
Its name is a digest of both, so rows of other images are never taken for these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.lib import format as npy

from lichen.audit.rows import image_blocks, unit_rows
from lichen.files import replacing, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from lichen.audit.scratch import Scratch

MadeFrom = dict[str, int | str]
"""What rows depend on, by name."""
LAYOUT = 1
"""Raised whenever standardising changes what comes out."""


@dataclass(frozen=True)
class RowFile:
    """Unit rows in the file ``path``; each reading copies its block, so that memory stays bounded."""

    path: Path
    offset: int
    """Bytes before the first row."""
    voxels: int
    """V."""
    contrast: Tensor
    """(N,) bool."""

    def __len__(self) -> int:
        """N."""
        return len(self.contrast)

    def read(self, block: slice) -> tuple[Tensor, Tensor]:
        """Rows ``block``, read from the file."""
        start, stop, _ = block.indices(len(self))
        values = np.fromfile(
            self.path, np.dtype("<f4"), (stop - start) * self.voxels, offset=self.offset + 4 * start * self.voxels
        )
        return torch.from_numpy(values.reshape(stop - start, self.voxels)), self.contrast[block]


def rows_on_disk(scratch: Scratch, images: Tensor, mask: Tensor) -> RowFile:
    """The rows of ``images`` (N, C, *S) under ``mask`` (C * prod(S),), written to ``scratch`` unless they are there.

    Two processes that write the same file at once write the same bytes, and the last one's stay. Raises ``AuditError``
    where the disk is too small.
    """
    made_from: MadeFrom = {"layout": LAYOUT, "images": voxels_digest(images), "mask": _digest_of([mask])}
    key = hashlib.blake2b(json.dumps(made_from).encode(), digest_size=16).hexdigest()
    path = scratch.made() / f"patient-rows-{key}.npy"
    if (known := open_rows(path, made_from)) is not None:
        return known
    scratch.require(4 * len(images) * int(mask.sum()), f"standardised rows of {len(images)} images")
    write_rows(path, (images[block] for block in image_blocks(images)), len(images), mask, made_from)
    written = open_rows(path, made_from)
    assert written is not None
    return written


def write_rows(path: Path, blocks: Iterable[Tensor], count: int, mask: Tensor, made_from: MadeFrom) -> None:
    """Write the rows of ``count`` images, which come in ``blocks`` (n, C, *S), to ``path``: wholly or not at all.

    ``made_from``: what the rows depend on, for ``open_rows`` to compare.
    """
    voxels = int(mask.sum())
    flat: list[int] = []
    seen = 0
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (count, voxels)}
            npy.write_array_header_1_0(file, header)
            for images in blocks:
                rows, contrast = unit_rows(images, mask)
                rows.cpu().numpy().astype("<f4", copy=False).tofile(file)
                flat += [seen + at for at in (~contrast).nonzero().flatten().tolist()]
                seen += len(images)
        if seen != count:
            raise ValueError(f"{seen} images came and {count} were announced")
        write_json(path.with_suffix(".json"), {**made_from, "without_contrast": flat})


def open_rows(path: Path, made_from: MadeFrom) -> RowFile | None:
    """The rows in ``path``; None if they are not there, not whole, or not made from what ``made_from`` says."""
    try:
        about = json.loads(path.with_suffix(".json").read_text("utf-8"))
        with path.open("rb") as file:
            if npy.read_magic(file) != (1, 0):
                return None
            (count, voxels), by_column, kind = npy.read_array_header_1_0(file)
            offset = file.tell()
        contrast = torch.ones(count, dtype=torch.bool)
        contrast[about.pop("without_contrast")] = False
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    whole = path.stat().st_size == offset + 4 * count * voxels
    is_ours = about == made_from and kind == np.dtype("<f4") and not by_column
    return RowFile(path, offset, voxels, contrast) if whole and is_ours else None


def voxels_digest(images: Tensor) -> str:
    """A digest of ``images`` (N, C, *S), read in blocks."""
    return _digest_of(images[block] for block in image_blocks(images))


def _digest_of(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(repr((tuple(tensor.shape), str(tensor.dtype))).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()
