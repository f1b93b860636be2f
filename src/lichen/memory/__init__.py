"""How much memory work takes: estimated before it begins, measured while it runs."""

from lichen.memory.choosing import Option, Options, choose, smallest_budget
from lichen.memory.resident import Peak, peak_memory
from lichen.memory.training import (
    TrainingMemory,
    estimate_training_memory,
    gigabytes,
    measure_peak_memory,
    measure_training_memory,
)

__all__ = [
    "Option",
    "Options",
    "Peak",
    "TrainingMemory",
    "choose",
    "estimate_training_memory",
    "gigabytes",
    "measure_peak_memory",
    "measure_training_memory",
    "peak_memory",
    "smallest_budget",
]
