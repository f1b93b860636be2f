"""The rules of earlier papers, for comparison: what they would have said of the same images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Classic:
    """What a published rule says; it decides nothing here."""

    name: str
    words: str
    """The rule and its source, for a report."""
    threshold: float | None
    """The similarity above which the rule calls an image a copy; None: it has no threshold."""
    flagged: int | None
    """How many synthetic images it calls copies; None: it calls none."""
    of: int
    """Synthetic images compared."""
    mean_similarity: float | None
    """Mean over the synthetic images of the similarity to the nearest training image."""
