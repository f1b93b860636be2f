"""What came out of one training, for a study: how near its images are to training patients, how many are copies.

Everything is read from the run folder, but for the plain correlations and the Frechet distance, which are computed from
its images: the audit compares by other scores, and a score more that votes would cost it resolution. Nothing here names
a patient or an image; similarities are sorted, so that their order says nothing of who is who.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from lichen.audit.classics import highest_correlation
from lichen.chain import load_samples, read_images
from lichen.chain.data import check_bound
from lichen.config import RunConfig
from lichen.energy import PhaseEnergy, read_traces, total
from lichen.errors import LichenError, RunError
from lichen.footprint import TRAINING
from lichen.images import ImageSet, open_folder
from lichen.progress import silent
from lichen.quality import Estimate
from lichen.quality.estimates import LEAST_PATIENTS
from lichen.quality.features import random_features
from lichen.quality.frechet import frechet_distance
from lichen.quality.scaling import standardisation
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.statistics import Interval, share
from lichen.watch import watching

if TYPE_CHECKING:
    from torch import Tensor

USUAL = 0.95
"""Share of the held-out images that lie below the limit of what is usual."""


@dataclass(frozen=True)
class Correlations:
    """The highest correlation of each image with any training image, over all voxels: Akbar et al. (arXiv 2305.07644).

    Held-out images search the same training images in the same direction, so they say how near new patients are.
    Images without contrast have no correlation and are not among these.
    """

    synthetic: tuple[float, ...]
    """Sorted."""
    held_out: tuple[float, ...]
    """Sorted."""

    @property
    def limit(self) -> float | None:
        """The correlation that 95 % of the held-out images do not exceed; None without such images."""
        return float(np.quantile(self.held_out, USUAL)) if self.held_out else None

    @property
    def unusual(self) -> Interval | None:
        """The share of synthetic images above ``limit``; 0.05 is to be expected of a generator that copies nobody.

        The interval is that of the synthetic images; the limit is taken as it is. None without held-out images.
        """
        limit = self.limit
        if limit is None:
            return None
        return share(sum(value > limit for value in self.synthetic), len(self.synthetic))

    def as_json(self) -> dict[str, Any]:
        """The distributions and what is said of them."""
        return {
            "limit": self.limit,
            "unusual": None if self.unusual is None else self.unusual.as_json(),
            **{
                name: {"mean": float(np.mean(values)) if values else None, "values": [round(v, 6) for v in values]}
                for name, values in (("synthetic", self.synthetic), ("held_out", self.held_out))
            },
        }


@dataclass(frozen=True)
class Outcomes:
    """The figures of one training; None where there is none, which is never 0."""

    verdict: str | None
    """Of the audit."""
    train_patients: int | None
    train_images: int | None
    synthetic_images: int | None
    correlations: Correlations | None
    copy_rate: Interval | None
    """Share of copies among the synthetic images, corrected for power and false positives."""
    memorised_patients: Interval | None
    """Share of the training patients of whom there is a copy; grows with ``synthetic_images``."""
    kernel_distance: Interval | None
    """Squared MMD of synthetic and held-out images."""
    frechet_distance: Interval | None
    """Of synthetic and held-out images in the features of a fixed-seed network; to be compared at equal numbers."""
    training_energy_j: Interval | None
    """Joules of all phases of training, the autoencoder's included; n counts phases with a reading."""
    training_s: float | None
    """Seconds of the same phases."""

    def as_json(self) -> dict[str, Any]:
        """These outcomes for a results file."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "correlations"},
            "correlations": None if self.correlations is None else self.correlations.as_json(),
        }


@dataclass(frozen=True)
class Images:
    """The images of a run, on one grid, without label maps."""

    synthetic: ImageSet
    train: ImageSet
    held_out: ImageSet


def outcomes_of(folder: RunFolder) -> Outcomes:
    """The outcomes of the run in ``folder``, as far as it went.

    Reads the run's images again, where they still are what it was trained on, to compare its samples with them: keep
    ``as_json`` of the result. The energy of that is not added to the run's.

    Raises:
        RunError: the audit or the summary of the run is damaged.
        EnergyError: a trace of the run is.
    """
    phases = [phase for phase in read_traces(folder.traces) if phase.phase in TRAINING]
    images = _images_of(folder)
    try:
        quality = _read(folder.summary).get("quality", {})
        audit = _read(folder.audit)
        counts = audit.get("counts", {})
        return Outcomes(
            verdict=audit.get("verdict"),
            train_patients=counts.get("train_patients"),
            train_images=counts.get("train_images"),
            synthetic_images=counts.get("synthetic_images"),
            correlations=None if images is None else correlations_of(images),
            copy_rate=_rate(audit.get("copy_rate")),
            memorised_patients=_rate(audit.get("memorised_patients")),
            kernel_distance=_distance(quality.get("kernel_distance")),
            frechet_distance=None if images is None else _frechet(images.synthetic, images.held_out),
            training_energy_j=_energy(phases),
            training_s=sum(phase.duration_s for phase in phases) if phases else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunError(
            f"the audit or the summary of {folder.path} is damaged ({type(error).__name__}: {error})",
            fix="repeat the command of the run; they are written anew",
        ) from error


def correlations_of(images: Images) -> Correlations:
    """The correlations of the synthetic and of the held-out ``images``."""
    queries = (images.synthetic, images.held_out)
    return Correlations(*(_highest(each.voxels, images.train.voxels) for each in queries))


def _highest(queries: Tensor, train: Tensor) -> tuple[float, ...]:
    found = highest_correlation(queries, train).values
    return tuple(sorted(found[found.isfinite()].tolist()))


def _frechet(synthetic: ImageSet, held_out: ImageSet) -> Interval | None:
    """None where there are too few images, or held-out images without any difference."""
    raw = random_features(held_out.voxels)
    scaled = standardisation(raw)
    if scaled is None or min(len(synthetic.names), len(set(held_out.patients))) < LEAST_PATIENTS:
        return None
    features = scaled(random_features(synthetic.voxels))
    found = frechet_distance(features, scaled(raw), None, held_out.patients).plain
    return Interval(found.value, found.low, found.high, len(features))


def _images_of(folder: RunFolder) -> Images | None:
    """The images of the run in ``folder``; None where some cannot be read, or are not those it was trained on."""
    try:
        config = load_settings(folder.config, RunConfig())
        samples = open_folder(folder.samples)
        with TemporaryDirectory(prefix="lichen-") as elsewhere:  # a trace of its own
            with watching(Path(elsewhere), config.carbon, quiet=True) as watch:
                data = read_images(config, watch)
            check_bound(folder, data.train)
            synthetic = load_samples(samples, data.train, config.images.window, silent)
    except LichenError:
        return None
    return Images(synthetic.without_label_map, data.train.without_label_map, data.held_out.without_label_map)


def _read(path: Path) -> dict[str, Any]:
    """A JSON file of the run; empty where it is not there yet."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _rate(found: Mapping[str, Any] | None) -> Interval | None:
    return None if found is None else Interval(found["estimate"], found["low"], found["high"], found["of"])


def _distance(found: Mapping[str, Any] | None) -> Interval | None:
    """Of synthetic and held-out images, with the normal law's interval."""
    if found is None:
        return None
    estimate = Estimate(**found["synthetic"])
    return Interval(estimate.value, estimate.low, estimate.high, found["synthetic_images"])


def _energy(phases: Sequence[PhaseEnergy]) -> Interval | None:
    bounds = total(phase.total for phase in phases).bounds_j()
    if bounds is None:
        return None
    low, energy_j, high = bounds
    return Interval(energy_j, low, high, sum(phase.total.energy_j is not None for phase in phases))
