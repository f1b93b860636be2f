"""How the searches of an audit are run: by whom, within which memory, and where their finished parts are kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lichen.audit.scores import NEIGHBOURS, Nearest, Pool, Score, Search
from lichen.audit.scratch import Scratch
from lichen.audit.work import Work, search_in_blocks
from lichen.images.types import spacing_mm
from lichen.progress import Step, silent
from lichen.team import ALONE, Team

if TYPE_CHECKING:
    from lichen.images.types import ImageSet


@dataclass(frozen=True)
class Searching:
    """Searches in the images of the training patients."""

    train: ImageSet
    team: Team = ALONE
    step: Step = silent
    scratch: Scratch | None = None
    """None: everything is held in memory, and nothing is kept."""
    train_sha256: str = ""
    """What the finished parts are bound to, beside the queries and the settings."""

    @staticmethod
    def kept_in(folder: Path, train: ImageSet, memory_mb: int, *, team: Team = ALONE, step: Step = silent) -> Searching:
        """Searches within ``memory_mb`` MiB whose finished parts stay in ``folder``."""
        return Searching(train, team, step, Scratch(folder, memory_mb), train.sha256())

    def among(self, images: ImageSet) -> Searching:
        """The same searches, in other images."""
        return replace(self, train=images, train_sha256=self.train_sha256 and images.sha256())

    def prepare(self, score: Score) -> Search:
        """The training images made ready for ``score``; raises ``AuditError`` where the disk is too small for them."""
        numbers: dict[str, int] = {}
        patients = torch.tensor([numbers.setdefault(patient, len(numbers)) for patient in self.train.patients])
        if self.scratch is not None and not self.team.leads:
            self.team.wait()  # until the leader has written the file that all of them read
        spacing = spacing_mm(self.train.affine, self.train.voxels.ndim - 2)
        search = score.prepare(Pool(self.train.voxels, patients, spacing, self.scratch))
        if self.scratch is not None and self.team.leads:
            self.team.wait()
        return search

    def nearest(self, score: Score, search: Search, queries: ImageSet) -> Nearest:
        """What ``search``, which is ``score``'s, finds for all ``queries``; each process gives the same, on the CPU."""
        work = None
        if self.scratch is not None:
            work = Work.bound(
                self.scratch.folder,
                score=score.name,
                train=self.train_sha256,
                queries=queries.sha256(),
                memory_mb=self.scratch.memory_mb,
                device=str(self.train.voxels.device),
            )
        return search_in_blocks(search, queries.voxels, k=NEIGHBOURS, work=work, team=self.team, step=self.step)
