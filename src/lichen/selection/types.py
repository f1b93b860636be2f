"""What a search chooses among, and what is known of each: nothing here knows how anything is trained.

Costs are joules: grams are a view of them at a place (``lichen.carbon``). ``Range`` holds low, estimate and high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lichen.carbon import Range

Direction = Literal["higher", "lower"]
"""Which qualities are better."""
State = Literal["waiting", "running", "finished", "stopped", "refused", "failed"]
"""'finished': trained until it was done; 'stopped': ended before, by a decision; 'refused': never to be trained."""
Setting = float | str
"""Of a varied setting: numbers may be compared, words only told apart."""


@dataclass(frozen=True)
class CurvePoint:
    """What a candidate could do when so much had been spent on its training."""

    spent_j: float
    quality: float
    """On the images that choose, never on those that are reported."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.spent_j) and math.isfinite(self.quality)):
            raise ValueError(f"a quality of {self.quality} for {self.spent_j} J is no point of a curve")


@dataclass(frozen=True)
class Measured:
    """A quality that may be reported, on images that chose nothing, with its 95 % interval."""

    quality: float
    low: float | None
    """None, as ``high``, where there is no interval."""
    high: float | None
    spent_j: float
    """On the training that led to it."""

    def __post_init__(self) -> None:
        if not all(
            math.isfinite(value) for value in (self.quality, self.low, self.high, self.spent_j) if value is not None
        ):
            raise ValueError(f"a quality of {self.quality} ({self.low} to {self.high}) for {self.spent_j} J is none")


@dataclass(frozen=True)
class Candidate:
    """One way to make the model, and all that is known of it so far."""

    name: str
    """Also that of its run folder."""
    settings: Mapping[str, Setting]
    """The varied settings, by their names in the search's file."""
    seed: int
    """Of weights and batches: candidates that differ in nothing else are repetitions of one configuration."""
    state: State
    training_j: Range | None
    """Of the whole training: forecast before it, measured after it; None: not known yet, or nothing can be measured."""
    synthesis_j: Range | None
    """Of the planned images, likewise; None where the task makes none."""
    spent_j: float
    """On it so far, probes included; 0 where it never ran."""
    curve: tuple[CurvePoint, ...]
    """In the order of what was spent."""
    found: Measured | None
    """What it can do, trained until it was done; None before that, or where it never is."""
    cut: Measured | None
    """What it could do when a budget for each candidate was spent; None where there is none, or it kept within it."""
    training_s: float | None
    """Time of training, measured; None before it is finished."""
    parameters: int | None
    """Of the networks that are trained."""
    training_flop: float | None
    """Operations of the training, on paper."""
    peak_memory_bytes: int | None
    copy_rate: float | None
    """Upper end of the share of copies in its synthetic images; None where no audit says."""
    reason: str
    """Why it was stopped or refused, or is finished without a quality, in words; empty otherwise."""
    forecast_j: Range | None = None
    """Of its training, as it was before it began: what ``training_j`` then was."""
    forecast_synthesis_j: Range | None = None
    """Of the planned images, likewise."""
    cut_untested: bool = False
    """Whether its budget was spent before there was anything to test."""

    @property
    def cost_j(self) -> Range | None:
        """Training and planned synthesis together; None where the training's cost is not known."""
        if self.training_j is None:
            return None
        return self.training_j if self.synthesis_j is None else self.training_j + self.synthesis_j


@dataclass(frozen=True)
class Decision:
    """What is to be done next."""

    start: tuple[str, ...]
    """Candidates to train now, the most promising first; no more than places are free."""
    stop: Mapping[str, str]
    """Running candidates to end, each with the reason in words."""
    refuse: Mapping[str, str]
    """Waiting candidates never to be trained, each with the reason in words."""


@dataclass(frozen=True)
class Limits:
    """What a search and each of its candidates may take; None: no such limit."""

    candidate_j: float | None = None
    """Training and planned synthesis of one candidate, at the upper edge of its forecast's place and PUE."""
    search_j: float | None = None
    """All trainings of the search together."""
    peak_memory_bytes: int | None = None
    copy_rate: float | None = None
