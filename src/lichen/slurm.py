"""A batch script for the Slurm scheduler: torchrun on every node, and a job that is queued again before its time is up.

Slurm sends SIGUSR1 to the script some time before the limit. The script has torchrun end its processes, which save
first, and puts the job back into the queue, where the same command goes on. A run that was just finished ends at once.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from lichen.errors import ConfigError

COMMANDS = ("run", "train", "sample", "audit")
"""Those that share their work between processes."""
RENDEZVOUS_PORT = 29_500
_TIME = re.compile(r"(\d+-\d{1,2}(:\d{2}){0,2}|\d+(:\d{2}){0,2})")


@dataclass(frozen=True)
class Job:
    """What is asked of the scheduler."""

    nodes: int
    gpus: int
    """On each node; 0: one process on each, on the CPU."""
    cpus: int
    """On each node."""
    time: str
    """The limit, as Slurm writes it: minutes, hours:minutes:seconds, days-hours."""
    notice_s: int
    """How long before the limit the processes are told."""
    partition: str | None = None
    account: str | None = None


def batch_script(job: Job, command: Sequence[str], python: str) -> str:
    """The sbatch script for the lichen ``command``, e.g. ``["train", "--out", "runs/x"]``, run by ``python``.

    Raises ConfigError for a command that does not share work, or figures that Slurm would refuse.
    """
    _check(job, command)
    asked = {
        "job-name": f"lichen-{command[0]}",
        "nodes": job.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": job.cpus,
        **({"gpus-per-node": job.gpus} if job.gpus else {}),
        "time": job.time,
        **({"partition": job.partition} if job.partition else {}),
        **({"account": job.account} if job.account else {}),
        "signal": f"B:USR1@{job.notice_s}",
        "open-mode": "append",
    }
    options = "\n".join(f"#SBATCH --{name}={value}" for name, value in asked.items())
    torchrun = [
        *(python, "-m", "torch.distributed.run"),
        *("--nnodes", str(job.nodes), "--nproc-per-node", str(job.gpus or 1)),
    ]
    work = shlex.join(["-m", "lichen", "--", *command])
    return f"""#!/bin/bash
{options}
#SBATCH --requeue

# Slurm tells this script before the time is up; torchrun passes SIGTERM on, and the processes save and end.
told=no
trap 'told=yes; kill -TERM "$work"' USR1

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun {shlex.join(torchrun)} \\
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first:{RENDEZVOUS_PORT}" \\
    {work} &
work=$!
wait "$work"
code=$?
if [ "$told" = yes ]; then
    wait "$work"  # the signal ended the first wait, not the work
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$code"
"""


def _check(job: Job, command: Sequence[str]) -> None:
    if not command or command[0] not in COMMANDS:
        raise ConfigError(
            f"lichen slurm is for {', '.join(COMMANDS)}, not for {command[0] if command else 'nothing'}",
            fix="e.g. lichen slurm --gpus 4 -- train --config mine.yaml --out runs/mine",
        )
    for name, value, least in (("nodes", job.nodes, 1), ("gpus", job.gpus, 0), ("cpus", job.cpus, 1)):
        if value < least:
            raise ConfigError(f"{name} is {value}; it must be at least {least}", fix=f"set --{name} to {least} or more")
    if not _TIME.fullmatch(job.time):
        raise ConfigError(
            f"time is {job.time!r}, which Slurm does not understand",
            fix="give it as hours:minutes:seconds, e.g. 08:00:00",
        )
    for name, text in (("partition", job.partition), ("account", job.account)):
        if text is not None and not re.fullmatch(r"[\w.,+-]+", text):
            raise ConfigError(f"{name} is {text!r}; it names nothing that Slurm knows", fix=f"correct --{name}")
