"""What candidates will take, before they are trained: each plan among them is probed once, by one runner, and kept."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lichen.config import BudgetConfig, CarbonConfig
from lichen.energy import Trace, find_meters, trace_name
from lichen.files import write_json
from lichen.runs import RunFolder
from lichen.searching.shared import my_turn
from lichen.searching.tasks import Expected, Settings, Task
from lichen.settings import dump_settings, from_plain


class Forecasts:
    """The folder of forecasts of a search; the energy of the probes is in traces beside it."""

    def __init__(self, folder: Path, task: Task, planned_images: int) -> None:
        self._folder, self._task, self._planned_images = folder, task, planned_images
        self._known: dict[str, Expected] = {}

    def of(self, config: Settings, threads: int, tell: Callable[[str], None]) -> Expected:
        """The forecast of a candidate; where its plan was never probed, ``tell`` is told and it is probed now.

        Probes have the ``threads`` that the candidate will have, unless its settings say how many.

        Raises:
            LichenError: settings or images cannot be used.
        """
        key = self._key(config)
        if key not in self._known:
            self._known[key] = self._read(key) or self._ask(key, _on(config, threads), tell)
        return self._known[key]

    def _ask(self, key: str, config: Settings, tell: Callable[[str], None]) -> Expected:
        if RunFolder(self._folder).is_locked():
            tell("waiting, while another process times steps")
        with my_turn(self._folder):
            found = self._read(key)  # another runner was a moment faster
            if found is None:
                tell("timing some real steps")
                trace = Trace(self._folder.parent / trace_name(os.getpid()), find_meters())
                with trace, trace.phase("probe"):
                    found = self._task.expect(config, self._planned_images)
                write_json(self._path(key), asdict(found))
        return found

    def _key(self, config: Settings) -> str:
        plan = replace(self._task.plan(config), carbon=CarbonConfig(), budget=BudgetConfig())
        return hashlib.sha256(f"{dump_settings(plan)}{self._planned_images}".encode()).hexdigest()[:32]

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"

    def _read(self, key: str) -> Expected | None:
        try:
            found = from_plain(Expected, json.loads(self._path(key).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # it is made anew
            return None
        costs = [cost for cost in (found.training_j, found.synthesis_j) if cost is not None]
        return found if all(0 <= cost.low <= cost.high < math.inf for cost in costs) else None


def _on(config: Settings, threads: int) -> Settings:
    training: Any = replace(config.training, threads=config.training.threads or threads)
    return replace(config, training=training)
