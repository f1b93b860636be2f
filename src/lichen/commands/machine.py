"""The machines that do the work: slurm, doctor."""

from __future__ import annotations

import dataclasses
import sys

from lichen.arguments import parse
from lichen.commands.common import say, show


def slurm(arguments: list[str]) -> int:
    """Print a batch script for a Slurm cluster."""
    from lichen.options import SlurmOptions

    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parse(SlurmOptions, "slurm", arguments[:split])
    from lichen.slurm import Job, batch_script

    say(batch_script(Job(**dataclasses.asdict(options)), arguments[split + 1 :], sys.executable).rstrip("\n"))
    return 0


def doctor(arguments: list[str]) -> int:
    """Say what each meter, device and optional package can do here, and why not."""
    from lichen.options import DoctorOptions

    options = parse(DoctorOptions, "doctor", arguments)
    from lichen.doctor import examine, in_lines

    findings = examine()
    show(options.json, [dataclasses.asdict(finding) for finding in findings], in_lines(findings))
    return 0
