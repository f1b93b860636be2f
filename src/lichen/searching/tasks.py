"""The seam between a search and what its candidates are: what it asks of a task, and the tasks there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import yaml

from lichen.carbon import Range
from lichen.config import CarbonConfig, RunConfig, SegmentationConfig
from lichen.energy import NO_READING, Energy, Interval, PhaseEnergy, read_traces, total
from lichen.errors import EnergyError
from lichen.runs import RunFolder
from lichen.searching.definition import TaskName
from lichen.selection.types import CurvePoint, Measured

Settings = RunConfig | SegmentationConfig
"""All settings of a candidate."""
LEAST_S = 60.0
"""A trace is written every ten seconds: of a shorter training it does not say yet how much it took."""


@dataclass(frozen=True)
class Expected:
    """What is known of a candidate before it is trained."""

    training_j: Range | None
    """Of the whole training; None, as below, where nothing can be measured."""
    synthesis_j: Range | None
    """Of the planned images; None where there are none."""
    duration_s: Interval
    """Of what it does, reading, audit and quality left out."""
    peak_memory_bytes: int | None
    parameters: int | None
    training_flop: float | None


@dataclass(frozen=True)
class Findings:
    """What the folder of a candidate says."""

    state: Literal["finished", "cut", "unfinished"]
    """'cut': a budget ended its training, and what it could do by then was tested."""
    training: Energy
    """Of the training so far."""
    rest: Energy
    """What is expected of it until it is done; no reading before enough is done to tell."""
    training_s: float
    spent_j: float
    """On everything so far."""
    synthesis_j: Range | None
    """Of the planned images, by what was drawn; None before that."""
    curve: tuple[CurvePoint, ...]
    measured: Measured | None
    """What may be reported, at the end or at the cut."""
    parameters: int | None
    training_flop: float | None
    copy_rate: float | None
    unmeasured: str = ""
    """Why a finished one has no quality, in words; empty where it has one."""


class Task(Protocol):
    """What candidates are, how they are made, and what is to be learned from their folders."""

    @property
    def default(self) -> Settings:
        """Settings to try a search's values on."""
        ...

    def command(self, settings: Path, out: Path) -> list[str]:
        """What makes a candidate of a file of settings, in the folder ``out``, or goes on with it there."""
        ...

    @property
    def takes_budget(self) -> bool:
        """Whether the command ends well at a budget, testing what it has; the others break off."""
        ...

    def begin(self, base: yaml.Node | None, path: Path, data: Path | None, carbon: CarbonConfig) -> Settings:
        """The settings that all candidates share: of the task, then of ``base`` in the file at ``path``."""
        ...

    def seeded(self, config: Any, seed: int) -> Settings:
        """With weights, batches and samples by ``seed``; patients stay the same."""
        ...

    def plan(self, config: Any) -> Settings:
        """Without what changes nothing in its cost."""
        ...

    def expect(self, config: Any, planned_images: int) -> Expected:
        """Probe the real work on this machine; raises LichenError for settings or images that cannot be used."""
        ...

    def find(self, config: Any, folder: RunFolder, planned_images: int) -> Findings:
        """Read the folder of a candidate; raises RunError where it is damaged."""
        ...


def task_of(name: TaskName) -> Task:
    """The task called ``name``."""
    from lichen.searching.generation import Generation
    from lichen.searching.segmentation import Segmentation

    return Generation() if name == "generation" else Segmentation()


def range_of(energy: Energy) -> Range | None:
    """Joules with their bounds; None where there is no reading."""
    bounds_j = energy.bounds_j()
    return None if bounds_j is None else Range(*bounds_j)


def phases_in(folder: RunFolder) -> Mapping[str, PhaseEnergy]:
    """What the traces of a folder say so far, by phase; empty where they say nothing yet."""
    try:
        return {phase.phase: phase for phase in read_traces(folder.traces)}
    except EnergyError:  # a process that has only begun
        return {}


def energy_of(phases: Iterable[Mapping[str, Any]]) -> Energy:
    """The sum of phases of a summary."""
    return total(Energy(phase["low_j"], phase["energy_j"], phase["high_j"]) for phase in phases)


def of(phases: Mapping[str, PhaseEnergy], names: Sequence[str]) -> tuple[Energy, float]:
    """Energy and seconds of some phases together."""
    found = [phases[name] for name in names if name in phases]
    return total(phase.total for phase in found), sum(phase.duration_s for phase in found)


def joules(energy: Energy) -> float:
    """In one figure; 0 where there is no reading."""
    return energy.energy_j or 0.0


NOTHING = Findings("unfinished", NO_READING, NO_READING, 0.0, 0.0, None, (), None, None, None, None)
"""Of a folder that is not there."""
