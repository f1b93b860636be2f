"""How good a synthetic set is: distances to real images. Torch is loaded only where features are computed."""

from lichen.quality.distance import KernelDistance, KernelRuler, kernel_distance
from lichen.quality.estimates import LEAST_PATIENTS, Estimate
from lichen.quality.kernel import polynomial_kernel, squared_mmd

__all__ = [
    "LEAST_PATIENTS",
    "Estimate",
    "KernelDistance",
    "KernelRuler",
    "kernel_distance",
    "polynomial_kernel",
    "squared_mmd",
]
