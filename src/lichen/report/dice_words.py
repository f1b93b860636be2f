"""Dice's coefficients in words, the same for a terminal and for pages."""

from __future__ import annotations

from lichen.plurals import plural
from lichen.report.evidence import Facts

ENDS = {
    "patience": "no longer better on other patients",
    "length": "as long as planned",
    "budget": "the budget is spent: repeat with a larger one to go on",
}
"""Why a segmenter was trained no longer."""


def dice_parts(found: Facts) -> tuple[str, str]:
    """``("0.853", "0.841 to 0.865, 25 patients")``."""
    if not found:
        return "none", ""
    estimate, low, high, patients = (found.number(key) for key in ("estimate", "low", "high", "n"))
    if estimate is None:
        return "none: nobody has it", ""
    span = "" if low is None or high is None else f"{low:.3f} to {high:.3f}, "
    return f"{estimate:.3f}", f"{span}{plural(patients or 0, 'patient')}"


def dice_words(found: Facts) -> str:
    """``0.853 (0.841 to 0.865, 25 patients)``."""
    figure, beside = dice_parts(found)
    return f"{figure} ({beside})" if beside else figure


def difference_finding(found: Facts) -> str:
    """Whether a difference by patient is ``worse``, ``better`` or ``near``, by its interval; empty where unknown."""
    low, high = found.number("low"), found.number("high")
    if low is None or high is None:
        return ""
    return "worse" if high < 0 else "better" if low > 0 else "near"


def difference_words(found: Facts) -> str:
    """``-0.036 (-0.054 to -0.018)``; empty where there is none."""
    estimate, low, high = (found.number(key) for key in ("estimate", "low", "high"))
    if estimate is None:
        return ""
    return f"{estimate:+.3f}" + ("" if low is None or high is None else f" ({low:+.3f} to {high:+.3f})")
