"""Energy and grams of a Lightning training: a callback for the Trainer of ``lightning`` or ``pytorch_lightning``.

    from lichen.lightning import EnergyCallback

    cost = EnergyCallback(grid="FR")
    Trainer(callbacks=[cost]).fit(model)
    print(cost)

Importing this module imports Lightning. Raises DependencyError if it is not installed.
"""

from __future__ import annotations

import logging
import math
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lichen.carbon import intensity
from lichen.energy import NO_READING, PhaseEnergy, Trace, find_meters, read_traces, trace_name
from lichen.errors import ConfigError, DependencyError, EnergyError
from lichen.measuring import Measured, synchronise

PHASES = ("fit", "validate", "test", "predict")
"""What a Trainer does. Validation within ``fit`` counts as ``validate``."""

_log = logging.getLogger(__name__)


def _callback_classes() -> tuple[type, ...]:
    """What callbacks are made from, in each Lightning installed: usually both are, and either may be in use."""
    found, problem = [], None
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            found.append(import_module(name).Callback)
        except (ImportError, AttributeError) as error:  # not there, or too old for the rest and not the one in use
            problem = error
    if not found:
        raise DependencyError(
            f"lichen.lightning needs Lightning, which cannot be imported ({problem})",
            fix="pip install 'lichen[lightning]'",
        ) from problem
    return tuple(found)


if TYPE_CHECKING:

    class _Callback:
        """What the type checker is told, so that it needs no Lightning."""

else:
    _Callback = type("_Callback", _callback_classes(), {})


class EnergyCallback(Measured, _Callback):
    """Measures what a Trainer uses, by phase: fit (training), validate, test and predict.

    Each process appends to its own trace, ``energy-<host>-<rank>.jsonl`` in ``folder`` (default: the trainer's
    ``default_root_dir``), and what belongs to the whole machine is read by one process on each. At the end of each
    training epoch the sums over all processes are logged, up to two seconds old: ``energy_kwh`` and, where the place is
    known, ``carbon_g``. The properties are the sums of all traces in the folder, those of earlier attempts included:
    give each run a folder of its own. Meters that fail never disturb the training.

    ``grid``, ``month`` and ``pue`` say where the electricity comes from, as in ``lichen.carbon``; an unknown place
    gives a range. ``rank`` numbers the trace; default: the trainer's global rank. Raises CarbonError for an unknown
    place, an impossible month or PUE.
    """

    def __init__(
        self,
        grid: str | None = None,
        month: int | None = None,
        pue: float | None = None,
        folder: str | Path | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__("Lightning", intensity(grid, month), pue)
        self._given = self._folder = None if folder is None else Path(folder)
        self._rank = rank
        self._earlier = NO_READING
        self._trace: Trace | None = None
        self._open = ExitStack()
        self._validating = ExitStack()

    @property
    def phases(self) -> tuple[PhaseEnergy, ...]:
        """Energy and duration by phase and component, of all attempts and processes, as far as their traces tell."""
        paths = sorted(self._folder.glob("energy-*.jsonl")) if self._folder else []
        try:
            found = {phase.phase: phase for phase in read_traces(paths)}
        except EnergyError as error:
            _log.warning("the energy is not known: %s", error)
            return ()
        return tuple(found[name] for name in PHASES if name in found)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """Begin with phase ``stage``.

        Raises ConfigError if there is a second EnergyCallback, or no local folder for the trace.
        """
        if sum(isinstance(callback, EnergyCallback) for callback in trainer.callbacks) > 1:
            raise ConfigError("the Trainer has two EnergyCallbacks, which would count twice", fix="leave one out")
        self._close()
        self._folder = self._given or _local(trainer.default_root_dir)
        # the first process speaks for all, so that the log goes on where an earlier attempt on other machines ended
        self._earlier = self.energy if trainer.is_global_zero else NO_READING
        path = self._folder / trace_name(trainer.global_rank if self._rank is None else self._rank)
        meters = find_meters(whole_machine=trainer.local_rank == 0)
        self._trace = self._open.enter_context(Trace(path, meters, synchronise=synchronise))
        self._open.enter_context(self._trace.phase(stage))

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 (Lightning's signature)
        """From here on the energy is that of validation."""
        if self._trace is not None:
            self._validating.enter_context(self._trace.phase("validate"))

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 (Lightning's signature)
        """Training resumes."""
        self._validating.close()

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log what all processes have used so far."""
        if self._trace is None or trainer.barebones:
            return
        energy = self._earlier + self._trace.spent()
        if energy.kwh is None and trainer.world_size == 1:
            return
        known = self.place.g_per_kwh.estimate is not None
        carbon_g = self._grams(energy)
        figures = {"energy_kwh": energy.kwh} | ({"carbon_g": carbon_g and carbon_g.estimate} if known else {})
        for name, value in figures.items():
            # all processes take part in the sum, also one that has no reading: its nan keeps the sum from being wrong
            pl_module.log(name, math.nan if value is None else value, sync_dist=True, reduce_fx="sum", batch_size=1)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002 (Lightning's signature)
        """The end: the trace is on disk."""
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """The end that was not meant: the trace is on disk, too."""
        self._close()

    def _close(self) -> None:
        self._validating.close()
        self._open.close()
        if self._trace is not None and self._trace.problem:
            _log.warning("the energy trace is incomplete: %s", self._trace.problem)
        self._trace = None


def _local(folder: str) -> Path:
    """The trainer's folder; raises ConfigError if it is on no disk."""
    if "://" in folder:
        raise ConfigError(
            f"default_root_dir is {folder}, where no energy trace can be appended to",
            fix="give EnergyCallback a local folder, e.g. folder='energy'",
        )
    return Path(folder)
