"""How much memory work takes: estimated before it begins, measured while it runs."""

from lichen.memory.resident import Peak, peak_memory

__all__ = ["Peak", "peak_memory"]
