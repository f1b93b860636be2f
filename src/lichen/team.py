"""Several processes that work on one job, started by torchrun; one alone is a team of one.

All of them run the same code. What they share is said here and nowhere else: which part of the work is whose, sums
over all, and waiting for each other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from lichen.errors import ConfigError, RunError

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = timedelta(days=1)
"""The others may have to wait for the first while it does what only one can; a process that dies is noticed at once."""


@dataclass(frozen=True)
class Team:
    """This process among those of its job."""

    rank: int = 0
    """From 0; the process 0 leads: it alone writes what there is one of."""
    size: int = 1
    local_rank: int = 0
    """From 0 on each machine: which of its GPUs is this process's."""

    @property
    def leads(self) -> bool:
        """Whether this process writes what there is one of, and talks to people."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """This process's part of ``count`` things: parts follow each other and differ by at most one."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place and with the same bits in each."""
        if self.size == 1:
            return
        from torch import distributed

        for tensor in tensors:
            try:
                distributed.all_reduce(tensor)
            except RuntimeError as error:
                raise RunError(
                    "another process of this job has ended", fix="see what it said; then repeat the command"
                ) from error

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` holds in some process."""
        return flag if self.size == 1 else self._sum(int(flag)) > 0

    def agree(self, value: int) -> bool:
        """Whether all processes give the same ``value``."""
        return not self.any(self._sum(value) != self.size * value) if self.size > 1 else True

    def wait(self) -> None:
        """Return when every process has come here."""
        self.any(False)

    def _sum(self, value: int) -> int:
        import torch

        total = torch.tensor(value, dtype=torch.int64)
        self.add_up([total])
        return int(total)


ALONE = Team()


@contextmanager
def joined(environment: Mapping[str, str] | None = None) -> Iterator[Team]:
    """The team that torchrun's variables describe, connected while the context is open; without them ``ALONE``.

    Raises ConfigError if the variables are no numbers.
    """
    environment = os.environ if environment is None else environment
    team = described(environment)
    if team.size == 1:
        yield team
        return
    import torch
    from torch import distributed

    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(team.local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    distributed.init_process_group(backend, timeout=PATIENCE)
    try:
        yield team
    finally:
        distributed.destroy_process_group()


def described(environment: Mapping[str, str]) -> Team:
    """The team that torchrun's variables describe, not connected; ``ALONE`` without them."""
    try:
        rank, size, local_rank = (
            int(environment.get(name, default)) for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
        )
    except ValueError as error:
        raise ConfigError(
            f"one of the variables RANK, WORLD_SIZE and LOCAL_RANK is no number ({error})",
            fix="start with torchrun, or unset them",
        ) from error
    return Team(rank, size, local_rank) if size > 1 else ALONE
