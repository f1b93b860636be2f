"""Where an audit puts what does not fit into its memory: files in one folder of the user's choice."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from lichen.errors import AuditError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scratch:
    """A folder and a bound of memory. The folder comes to hold images of patients, as numbers: keep it private."""

    folder: Path
    memory_mb: int
    """MiB for what is held at once, beside what the program itself takes and what the system lends as file cache."""
    device: torch.device | None = None
    """Where products are made; None: where the pool is."""

    @property
    def bytes_held(self) -> int:
        """``memory_mb`` in bytes."""
        return self.memory_mb * 2**20

    def made(self) -> Path:
        """The folder, made if needed, for the user alone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.folder

    def require(self, needed: int, what: str) -> None:
        """Raise ``AuditError`` unless ``needed`` bytes for ``what`` are free."""
        free = shutil.disk_usage(self.made()).free
        if needed > 0.95 * free:
            raise AuditError(
                f"{what} need {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free in {self.folder}",
                fix="use a folder on another disk, or give more --audit.memory-mb",
            )

    def zeros(self, shape: tuple[int, ...], what: str, like: Tensor) -> Tensor:
        """A float32 tensor of 0: in memory beside ``like`` if a quarter of it is enough, else mapped from a file.

        The file has no name and goes with the tensor, also when the process is killed. Raises ``AuditError`` where the
        disk is too small for ``what``.
        """
        size = 4 * math.prod(shape)
        if size <= self.bytes_held // 4:
            return like.new_zeros(shape, dtype=torch.float32)
        self.require(size, what)
        with tempfile.TemporaryFile(dir=self.folder) as file:
            if hasattr(os, "posix_fallocate"):  # a full disk is an error here and not a dead process later
                os.posix_fallocate(file.fileno(), 0, size)
            return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="w+", shape=shape))
