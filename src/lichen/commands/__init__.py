"""The commands, one short function each: words of the command line in, exit code out."""

from __future__ import annotations

from collections.abc import Callable

from lichen.commands.cost import card, measure, predict, whatif
from lichen.commands.judging import audit, quality, report, runs
from lichen.commands.machine import doctor, slurm
from lichen.commands.making import images, init, run, sample, train
from lichen.commands.segmenting import segment
from lichen.commands.selecting import select
from lichen.commands.sharing import release
from lichen.commands.studying import study

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "init": init,
    "images": images,
    "predict": predict,
    "run": run,
    "train": train,
    "sample": sample,
    "segment": segment,
    "audit": audit,
    "quality": quality,
    "release": release,
    "report": report,
    "whatif": whatif,
    "card": card,
    "runs": runs,
    "study": study,
    "select": select,
    "measure": measure,
    "slurm": slurm,
    "doctor": doctor,
}
