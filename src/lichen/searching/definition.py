"""What a search is: a task, the settings that all candidates share, those that differ, and what counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

TaskName = Literal["segmentation", "generation"]
"""'segmentation': each candidate is trained and tested; 'generation': trained, sampled and audited."""
QualityName = Literal["dice", "kernel_distance"]
Method = Literal["grid", "random", "optuna"]


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of some values, each as it stands in the file."""

    setting: str
    """Its name, such as ``segmenter.width``."""
    values: tuple[yaml.Node, ...]
    names: tuple[str, ...]
    """Of the values, for tables and folders: ``32x32`` for a list of two."""


@dataclass(frozen=True)
class Span:
    """A setting that takes any value between two; a grid cannot have one."""

    setting: str
    low: float
    high: float
    logarithmic: bool
    whole: bool
    """Whole numbers only."""


@dataclass(frozen=True)
class Search:
    """The file of a search, read."""

    path: Path
    title: str
    task: TaskName
    base: yaml.Node | None
    """Settings of all candidates, in place of the task's own."""
    space: tuple[Choices | Span, ...]
    seeds: tuple[int, ...]
    """Each configuration is trained once with each."""
    quality: QualityName
    beta: float
    """Of the scalar objective loss + beta * kilograms of CO2e (Selvan, MIDL 2021)."""
    planned_images: int
    """Synthetic images that each candidate's cost counts beside its training; 0 for a segmentation."""
    peak_memory_gb: float | None
    """The most that a candidate may take; None: any."""
    copy_rate: float | None
    """The largest share of copies that may be in what a candidate makes, at the upper end; None: any."""
