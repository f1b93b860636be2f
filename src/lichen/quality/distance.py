"""How far synthetic images are from real ones, beside how far real ones are from each other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lichen.errors import AuditError
from lichen.progress import Step, silent
from lichen.quality.estimates import Estimate, drawn
from lichen.quality.extractors import RANDOM_CONV
from lichen.quality.kernel import squared_mmd
from lichen.quality.scaling import standardisation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from lichen.images.types import ImageSet


@dataclass(frozen=True)
class KernelDistance:
    """Squared MMD of the synthetic images to the held-out ones, and of training to held-out images as the yardstick."""

    synthetic: Estimate
    """Synthetic against held-out images."""
    real: Estimate | None
    """Training against held-out images, with as many training as synthetic images where there are enough."""
    ratio: float | None
    """``synthetic`` / ``real``; None where ``real`` cannot be told from 0, which is what a good split gives."""
    ratio_to_real_high: float | None
    """``synthetic`` / upper end of ``real``'s 95 % interval: in units of the largest distance between real sets that
    these images allow. None without training images."""
    synthetic_images: int
    train_images: int | None
    """How many of the training images were used."""
    reference_images: int
    features: str
    """Name of the features; distances in different features cannot be compared."""

    def as_json(self) -> dict[str, Any]:
        """This distance for ``summary.json``."""
        return asdict(self)


@dataclass(frozen=True)
class KernelRuler:
    """Real images as features, to measure one set of images after the other against."""

    scaled: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """Brings features to mean 0 and standard deviation 1 over these images, so that none counts for its size."""
    features: NDArray[np.float64]
    """(n, d) of these images, scaled."""
    patients: Sequence[str] | None

    @staticmethod
    def of(voxels: Tensor, patients: Sequence[str] | None = None, *, step: Step = silent) -> KernelRuler:
        """The ruler of real images ``voxels`` (n, C, *S) of ``patients`` (default: all different).

        Raises:
            AuditError: the images are all equal.
        """
        from lichen.quality.features import random_features

        raw = random_features(voxels, step=step)
        scaled = standardisation(raw)
        if scaled is None:
            raise AuditError(
                f"all {len(voxels)} held-out images are equal; there is no spread to measure a distance in",
                fix="give different images of different patients",
            )
        return KernelRuler(scaled, scaled(raw), patients)

    def distance(self, voxels: Tensor, patients: Sequence[str] | None = None, *, step: Step = silent) -> Estimate:
        """The squared MMD of images ``voxels`` (m, C, *S) of ``patients`` (default: all different) to these ones.

        Raises:
            AuditError: a set has fewer than four patients.
        """
        from lichen.quality.features import random_features

        return squared_mmd(self.scaled(random_features(voxels, step=step)), self.features, patients, self.patients)


def kernel_distance(
    synthetic: ImageSet, reference: ImageSet, train: ImageSet | None = None, *, step: Step = silent
) -> KernelDistance:
    """The kernel distance of ``synthetic`` to ``reference`` (real, held out), in units of the reference's spread.

    Patients of ``synthetic`` are ignored: each of its images stands for itself. ``step`` counts
    images of all sets. Raises ``AuditError`` for fewer than four patients in a set, or equal reference images.
    """
    ruler = KernelRuler.of(reference.voxels, reference.patients, step=step)
    distance = ruler.distance(synthetic.voxels, step=step)
    real, chosen = None, None
    if train is not None:
        chosen = drawn("kernel-distance", len(train.names), len(synthetic.names))
        real = ruler.distance(train.voxels[chosen], [train.patients[i] for i in chosen], step=step)
    return KernelDistance(
        synthetic=distance,
        real=real,
        ratio=distance.value / real.value if real is not None and real.low > 0 else None,
        ratio_to_real_high=distance.value / real.high if real is not None and real.high > 0 else None,
        synthetic_images=len(synthetic.names),
        train_images=len(chosen) if chosen is not None else None,
        reference_images=len(reference.names),
        features=RANDOM_CONV,
    )
