"""What turns images into the features in which sets of images are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from lichen.progress import Step, silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

RANDOM_CONV = "random-conv-v1"
RADIOMICS = "radiomics-first-order-glcm-glrlm-v1"


class Extractor(Protocol):
    """Features of images. An image's features depend on nothing but the image."""

    @property
    def name(self) -> str:
        """Name of these features; figures in different features cannot be compared."""

    @property
    def standardised(self) -> bool:
        """Whether distances are taken after bringing each feature to mean 0 and deviation 1 over the reference images.

        False for features whose published distance is that of the features as they are, such as Inception's.
        """

    def __call__(self, voxels: Tensor, *, step: Step = silent) -> NDArray[np.float64]:
        """Features (N, d) of ``voxels`` (N, C, *S) float32 in [-1, 1]; ``step`` counts images."""


@runtime_checkable
class Classifier(Protocol):
    """An extractor that also names classes, which the inception score needs."""

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of classes (N, K), rows that add up to 1, of ``features`` (N, d) that it extracted."""


@dataclass(frozen=True)
class RandomConv:
    """The convolution network with random, fixed weights: ``lichen.quality.features``."""

    name: str = RANDOM_CONV
    standardised: bool = True

    def __call__(self, voxels: Tensor, *, step: Step = silent) -> NDArray[np.float64]:
        """Features (N, 256) of ``voxels`` (N, C, *S), fewer of images below 32 voxels along an axis."""
        from lichen.quality.features import random_features

        return random_features(voxels, step=step)


@dataclass(frozen=True)
class Radiomics:
    """Grey values and texture by name: ``lichen.quality.radiomics``."""

    name: str = RADIOMICS
    standardised: bool = True

    def __call__(self, voxels: Tensor, *, step: Step = silent) -> NDArray[np.float64]:
        """Features (N, 49 C) of ``voxels`` (N, C, *S)."""
        from lichen.quality.radiomics import radiomics_features

        return radiomics_features(voxels, step=step)
