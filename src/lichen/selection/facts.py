"""What is said of one candidate wherever candidates are compared: its configuration, its cost, the limits it breaks."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lichen.carbon import Range, number
from lichen.selection.types import Candidate, Limits, Setting

Key = tuple[tuple[str, Setting], ...]


def key(settings: Mapping[str, Setting]) -> Key:
    """Equal for repetitions of one configuration."""
    return tuple(sorted(settings.items()))


def middle(amount: Range) -> float:
    """The estimate; its upper end where any single figure would be a guess, so that nobody is promised too little."""
    return amount.high if amount.estimate is None else amount.estimate


def middle_j(candidate: Candidate) -> float:
    """What it costs, in one figure; infinite where that is not known."""
    return math.inf if candidate.cost_j is None else middle(candidate.cost_j)


def broken(candidate: Candidate, limits: Limits) -> str:
    """Which limit keeps a candidate from being taken, in words; empty where none does.

    A synthetic image is a suspect until it is audited: where a limit of copies is set, what was trained and has no
    audit cannot be taken. Before it is trained nothing can be known of its copies, and nothing is held against it.
    """
    memory, most = candidate.peak_memory_bytes, limits.peak_memory_bytes
    if most is not None and memory is not None and memory > most:
        return f"takes {memory / 1e9:.3g} GB of memory, and may take {most / 1e9:.3g} GB"
    if limits.copy_rate is None or candidate.found is None:
        return ""
    if candidate.copy_rate is None:
        return "no audit says how many of its images may be copies"
    if candidate.copy_rate > limits.copy_rate:
        up_to, allowed = number(100 * candidate.copy_rate), number(100 * limits.copy_rate)
        return f"up to {up_to} % of its images may be copies, and {allowed} % are allowed"
    return ""
