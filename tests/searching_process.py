"""A process of ``test_audit_tiles.py``: search with the finished blocks kept in a folder; on request die on the way.

Usage: searching_process.py FOLDER OUT [BLOCKS]; after BLOCKS blocks it kills itself (SIGKILL) during the next one.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lichen.audit.pearson import prepare_within
from lichen.audit.scores import Nearest
from lichen.audit.scratch import Scratch
from lichen.audit.work import Work, search_in_blocks
from lichen.progress import Step


def sets() -> tuple[Tensor, Tensor]:
    """Queries and a pool of made-up images."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn((200, 1, 16, 16), generator=generator), torch.randn((300, 1, 16, 16), generator=generator)


def main(folder: Path, out: Path, blocks: int = 10**6) -> None:
    torch.set_num_threads(1)
    images, pool = sets()
    search = prepare_within(pool, torch.arange(300) // 2, Scratch(folder, memory_mb=1))

    def mortal(queries: Tensor, *, k: int, step: Step) -> Nearest:
        nonlocal blocks
        found = search(queries, k=k, step=step)
        blocks -= 1
        if blocks < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    found = search_in_blocks(mortal, images, k=6, work=Work.bound(folder, score="pearson"))
    np.savez(out, similarity=found.similarity.numpy(), index=found.index.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))
