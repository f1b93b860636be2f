"""How good a synthetic set is: distances to real images. Torch is loaded only where features are computed."""

from lichen.quality.distance import KernelDistance, KernelRuler, kernel_distance
from lichen.quality.estimates import LEAST_COMPARED, LEAST_PATIENTS, Estimate, Share
from lichen.quality.extractors import Classifier, Extractor, Radiomics, RandomConv
from lichen.quality.frechet import FrechetDistance, frechet_distance
from lichen.quality.inception import inception_score
from lichen.quality.kernel import polynomial_kernel, squared_mmd
from lichen.quality.measures import Figure, Quality, Reading, figures_in, measure_quality, quality_steps, steps_in
from lichen.quality.neighbours import Neighbourhood, prdc

__all__ = [
    "LEAST_COMPARED",
    "LEAST_PATIENTS",
    "Classifier",
    "Estimate",
    "Extractor",
    "Figure",
    "FrechetDistance",
    "KernelDistance",
    "KernelRuler",
    "Neighbourhood",
    "Quality",
    "Radiomics",
    "RandomConv",
    "Reading",
    "Share",
    "figures_in",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "measure_quality",
    "polynomial_kernel",
    "prdc",
    "quality_steps",
    "squared_mmd",
    "steps_in",
]
