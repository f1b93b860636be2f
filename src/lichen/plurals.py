"""Counts in words; it needs nothing, so that every room can say "1 patient" alike."""

from __future__ import annotations


def plural(number: float, noun: str) -> str:
    """``1 image``, ``2 images``, ``2 copies``, ``2 classes``."""
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,.0f} {noun if number == 1 else many}"
