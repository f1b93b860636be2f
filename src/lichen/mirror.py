"""The log of a run, shown in TensorBoard, Weights & Biases or MLflow as well.

``log.jsonl`` stays the truth. A mirror is filled from it anew whenever a run starts or resumes, so no point is in it
twice, and then gets each new record. Only figures of training go there: losses, rates, images seen. Everything stays in
the run folder; Weights & Biases works offline unless WANDB_MODE says otherwise.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from lichen.config import MirrorName
from lichen.errors import DependencyError
from lichen.runs import RunFolder, read_log

Record = Mapping[str, float | int | str]
Write = Callable[[Record], None]


@contextmanager
def mirroring(names: Sequence[MirrorName], folder: RunFolder) -> Iterator[Write]:
    """A function that passes a record on to the mirrors ``names``, which by then show what the log holds.

    Raises:
        DependencyError: the package of a mirror is not installed.
    """
    with ExitStack() as stack:
        writers = [stack.enter_context(_MIRRORS[name](folder.path / name)) for name in dict.fromkeys(names)]
        shown: set[tuple[object, object]] = set()

        def write_once(record: Record) -> None:
            """A resumed run repeats, to the same bits, what came after its last checkpoint."""
            place = record["phase"], record["images_seen"]
            if place not in shown:
                shown.add(place)
                for write in writers:
                    write(record)

        for records in read_log(folder.log).values() if writers else ():
            for record in records:
                write_once(record)
        yield write_once


def check_mirrors(names: Sequence[MirrorName]) -> None:
    """Raise DependencyError if the package of a mirror is missing, before hours of work and not after."""
    from importlib.util import find_spec

    for name in names:
        if find_spec(name) is None:
            raise DependencyError(
                f"training.mirror names {name}, which is not installed", fix=f"pip install 'lichen[{name}]'"
            )


@contextmanager
def _tensorboard(folder: Path) -> Iterator[Write]:
    from torch.utils.tensorboard.writer import SummaryWriter

    _empty(folder)
    with SummaryWriter(str(folder)) as writer:

        def write(record: Record) -> None:
            for name, value in figures(record).items():
                writer.add_scalar(name, value, int(record["images_seen"]))

        yield write


@contextmanager
def _wandb(folder: Path) -> Iterator[Write]:
    import wandb

    _empty(folder)
    mode: Any = os.environ.get("WANDB_MODE", "offline")
    run = wandb.init(project="lichen", name=folder.parent.name, dir=str(folder), mode=mode, settings={"silent": True})
    for phase in ("autoencoder", "diffusion", "gan", "probe"):  # images seen begin anew with each phase; steps must not
        run.define_metric(f"{phase}/*", step_metric=f"{phase}/images_seen")

    def write(record: Record) -> None:
        run.log({**figures(record), f"{record['phase']}/images_seen": record["images_seen"]})

    try:
        yield write
    finally:
        run.finish()


@contextmanager
def _mlflow(folder: Path) -> Iterator[Write]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers of every run
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # the other stores need a database, or a server
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"file:{folder.resolve()}")
    known = client.get_experiment_by_name("lichen")
    experiment = known.experiment_id if known else client.create_experiment("lichen")
    for earlier in client.search_runs([experiment]):
        client.delete_run(earlier.info.run_id)
    run = client.create_run(experiment, run_name=folder.parent.name).info.run_id

    def write(record: Record) -> None:
        for name, value in figures(record).items():
            client.log_metric(run, name, value, step=int(record["images_seen"]))

    try:
        yield write
    finally:
        client.set_terminated(run)


_MIRRORS: dict[MirrorName, Callable[[Path], Any]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


def figures(record: Record) -> dict[str, float]:
    """The numbers of a record by phase and name: ``diffusion/loss``."""
    numbers = {
        name: value for name, value in record.items() if isinstance(value, int | float) and name != "images_seen"
    }
    return {f"{record['phase']}/{name}": float(value) for name, value in numbers.items()}


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
