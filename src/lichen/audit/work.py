"""A long search in blocks of queries: each finished block is kept, so that the same command goes on after a kill.

The blocks follow from the number of queries alone. Whoever does them, in whatever order, finds the same bits: one
process or a team, at one go or after ten kills, or two commands that were started on one folder.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import lichen
from lichen.audit.scores import Nearest, Search
from lichen.files import replacing, write_json
from lichen.progress import Step, silent
from lichen.team import ALONE, Team

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS = 32
"""Into so many blocks a set of queries is cut: as many processes can share it, and a kill costs about 3 %."""
LEAST_QUERIES = 16
"""In a block: fewer leave the products too thin."""


@dataclass(frozen=True)
class Work:
    """The finished blocks of one search, in a folder of their own."""

    folder: Path

    @staticmethod
    def bound(folder: Path, **made_from: str | int) -> Work:
        """The work on one search in ``folder``, under a digest of all that its result depends on.

        That is ``made_from``, by name, and the versions of lichen and torch.
        """
        whole = {**made_from, "lichen": lichen.__version__, "torch": str(torch.__version__)}
        key = hashlib.blake2b(json.dumps(whole, sort_keys=True).encode(), digest_size=16).hexdigest()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the mode is not that of parents made on the way
        work = Work(folder / f"search-{key}")
        work.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(work.folder / "made_from.json", whole)
        return work

    def read(self, number: int, queries: int, k: int) -> Nearest | None:
        """A finished block; None if it is not there or damaged, so that it is searched for again."""
        try:
            with np.load(self._path(number), allow_pickle=False) as arrays:
                similarity, index = arrays["similarity"], arrays["index"]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
            return None
        fits = similarity.shape == index.shape == (queries, k)
        fits = fits and similarity.dtype == np.float32 and index.dtype == np.int64
        return Nearest(torch.from_numpy(similarity), torch.from_numpy(index)) if fits else None

    def write(self, number: int, found: Nearest) -> None:
        """Keep a finished block."""
        with replacing(self._path(number)) as temporary:
            np.savez(temporary, similarity=found.similarity.cpu().numpy(), index=found.index.cpu().numpy())
        self._claim(number).unlink(missing_ok=True)

    def claim(self, number: int) -> bool:
        """Say to other processes that this block is being searched for; False if another has said so.

        The claim of a killed process stays. So it only puts a block off to the end, and is no lock: a block searched
        for twice is the same twice.
        """
        try:
            self._claim(number).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number:06}.npz"

    def _claim(self, number: int) -> Path:
        return self.folder / f"block-{number:06}.claimed"


def search_in_blocks(
    search: Search, queries: Tensor, *, k: int, work: Work | None = None, team: Team = ALONE, step: Step = silent
) -> Nearest:
    """What ``search`` finds for ``queries`` (Q, C, *S), block by block, on the CPU.

    Each process of the ``team`` searches for its part of the blocks. With ``work`` finished blocks are kept there, and
    those that are there already are not searched for again.
    """
    similarity = torch.zeros((len(queries), k))
    index = torch.zeros((len(queries), k), dtype=torch.int64)
    blocks = query_blocks(len(queries))
    counted = 0

    def count(images: int) -> None:
        nonlocal counted
        counted += images
        step(images)

    for block, found in _found(search, queries, dict(list(enumerate(blocks))[team.part(len(blocks))]), k, work, count):
        similarity[block], index[block] = found.similarity.cpu(), found.index.cpu()
    if team.size > 1:
        team.add_up([similarity, index])  # each row was left 0 by all processes but one
        step(len(queries) - counted)
    return Nearest(similarity, index)


def query_blocks(count: int) -> list[slice]:
    """How ``count`` queries are cut, however many processes there are."""
    size = max(LEAST_QUERIES, -(-count // BLOCKS))
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def _found(
    search: Search, queries: Tensor, blocks: dict[int, slice], k: int, work: Work | None, step: Step
) -> Iterator[tuple[slice, Nearest]]:
    """Each of ``blocks``, by number, with what is found there; what others have claimed comes last."""
    put_off = []
    for number, block in blocks.items():
        if work is None:
            yield block, search(queries[block], k=k, step=step)
        elif (known := work.read(number, block.stop - block.start, k)) is not None:
            step(len(known.index))
            yield block, known
        elif work.claim(number):
            yield block, _kept(search(queries[block], k=k, step=step), number, work)
        else:
            put_off.append(number)
    # The others are at the first of these: from the last on, the two meet in the middle.
    for number in reversed(put_off):
        block = blocks[number]
        assert work is not None
        known = work.read(number, block.stop - block.start, k)
        if known is not None:
            step(len(known.index))
        yield block, known or _kept(search(queries[block], k=k, step=step), number, work)


def _kept(found: Nearest, number: int, work: Work) -> Nearest:
    work.write(number, found)
    return found
