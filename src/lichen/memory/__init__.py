"""How much memory work takes: estimated before it begins, measured while it runs."""

from lichen.memory.choosing import Option, choose, smallest_budget
from lichen.memory.resident import Peak, peak_memory
from lichen.memory.training import (
    TrainingMemory,
    estimate_training_memory,
    measure_peak_memory,
    measure_training_memory,
)
from lichen.memory.words import gigabytes, gigabytes_up

__all__ = [
    "Option",
    "Peak",
    "TrainingMemory",
    "choose",
    "estimate_training_memory",
    "gigabytes",
    "gigabytes_up",
    "measure_peak_memory",
    "measure_training_memory",
    "peak_memory",
    "smallest_budget",
]
