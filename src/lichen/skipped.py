"""Images that were left out because they cannot be used, in words beside a verdict or a figure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SETS: Mapping[str, str] = MappingProxyType(
    {"synthetic": "synthetic", "train": "training", "reference": "reference", "withheld": "withheld"}
)
"""Set, as in files -> the adjective for its images."""


def skipped_words(skipped: Mapping[str, float]) -> str:
    """How many of which set, such as ``2 synthetic, 1 training and 1 reference images``; empty where none were.

    ``skipped``: images left out, by set.
    """
    parts = [f"{number:.0f} {SETS[name]}" for name, number in skipped.items() if number]
    if not parts:
        return ""
    *others, last = parts
    listed = f"{', '.join(others)} and {last}" if others else last
    return f"{listed} {'image' if sum(skipped.values()) == 1 else 'images'}"
