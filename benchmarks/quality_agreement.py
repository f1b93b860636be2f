"""Whether the figures of quality are those that torchmetrics, prdc and MONAI give on the same features.

PYTHONPATH=SITE python benchmarks/quality_agreement.py SHARED_DATA; holds chest-xray-pediatric and mri-hippocampus.
SITE holds prdc 0.2 with scikit-learn; torchmetrics comes with lightning. Two minutes on one core.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from report import write_results
from scipy.special import softmax
from torch import Tensor, nn

from lichen.images import ImageSet, load_set, open_folder, split_by_patient
from lichen.quality.diversity import WEIGHTS, ms_ssim, scales_for
from lichen.quality.extractors import Extractor, Radiomics, RandomConv
from lichen.quality.frechet import squared_frechet
from lichen.quality.inception import inception_score
from lichen.quality.kernel import squared_mmd
from lichen.quality.neighbours import NEAREST, prdc
from lichen.quality.scaling import standardisation

HEADER = (
    "images",
    "features",
    "figure",
    "lichen",
    "the other",
    "whose",
    "difference / value",
    "seconds, lichen and other",
)
MOST = 300
"""Images of each set."""
PAIRS = 32
CLASSES = 10
Array = NDArray[np.float64]


class Identity(nn.Module):
    """Features in place of a network that finds some."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def their_frechet(x: Array, y: Array) -> float:
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=Identity(x.shape[1]))
    metric.update(torch.from_numpy(y), real=True)
    metric.update(torch.from_numpy(x), real=False)
    return float(metric.compute())


def monai_frechet(x: Array, y: Array) -> float:
    from monai.metrics.fid import get_fid_score

    return float(get_fid_score(torch.from_numpy(x), torch.from_numpy(y)))


def their_kernel(x: Array, y: Array) -> float:
    from torchmetrics.image.kid import KernelInceptionDistance

    metric = KernelInceptionDistance(feature=Identity(x.shape[1]), subsets=1, subset_size=len(x))
    metric.update(torch.from_numpy(y), real=True)
    metric.update(torch.from_numpy(x), real=False)
    return float(metric.compute()[0])


def their_inception_score(logits: Array) -> float:
    from torchmetrics.image.inception import InceptionScore

    metric = InceptionScore(feature=Identity(logits.shape[1]), splits=1)
    metric.update(torch.from_numpy(logits))
    return float(metric.compute()[0])


def their_ms_ssim(x: Tensor, y: Tensor, weights: list[float]) -> float:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    similarity = multiscale_structural_similarity_index_measure(
        x, y, data_range=2.0, betas=tuple(weights), normalize="relu"
    )
    return float(similarity)


def monai_ms_ssim(x: Tensor, y: Tensor, weights: list[float]) -> float:
    from monai.metrics.regression import compute_ms_ssim

    return float(compute_ms_ssim(x, y, x.ndim - 2, data_range=2.0, weights=weights).mean())


@dataclass(frozen=True)
class Comparison:
    """One figure, by us and by another package, of the same features."""

    figure: str
    own: Callable[[], float]
    package: str
    theirs: Callable[[], float]

    def row(self, images: str, features: str) -> list[str]:
        own, own_s = timed(self.own)
        start = [images, features, self.figure, f"{own:.6g}"]
        try:
            value, their_s = timed(self.theirs)
        except (ValueError, RuntimeError, TypeError) as error:
            return [*start, f"refused ({type(error).__name__})", self.package, "-", "-"]
        return [
            *start,
            f"{value:.6g}",
            self.package,
            f"{abs(own - value) / (abs(value) or 1):.0e}",
            f"{own_s:.2f}, {their_s:.2f}",
        ]


def timed(function: Callable[[], float]) -> tuple[float, float]:
    """Its value, and seconds of the processor."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the other packages' own
        value = function()
    return value, time.process_time() - start


def of_features(x: Array, y: Array) -> Iterator[Comparison]:
    yield Comparison("Frechet", lambda: squared_frechet(x, y), "torchmetrics", lambda: their_frechet(x, y))
    yield Comparison("Frechet", lambda: squared_frechet(x, y), "MONAI", lambda: monai_frechet(x, y))
    count = min(len(x), len(y))  # the other takes sets of one size
    same_x, same_y = x[:count], y[:count]
    own = partial(squared_mmd, same_x, same_y)
    yield Comparison("kernel", lambda: own().value, "torchmetrics", lambda: their_kernel(same_x, same_y))
    for name in ("precision", "recall", "density", "coverage"):
        yield Comparison(name, partial(own_neighbours, name, x, y), "prdc", partial(their_neighbours, name, x, y))
    logits = x[:, :CLASSES]
    own_score = partial(inception_score, softmax(logits, axis=1))
    yield Comparison(
        "inception score", lambda: own_score().value, "torchmetrics", lambda: their_inception_score(logits)
    )


def own_neighbours(name: str, x: Array, y: Array) -> float:
    return float(getattr(prdc(x, y), name).value)


def their_neighbours(name: str, x: Array, y: Array) -> float:
    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        return float(compute_prdc(y, x, nearest_k=NEAREST)[name])


def of_pairs(x: Tensor, y: Tensor) -> Iterator[Comparison]:
    scales = scales_for(tuple(x.shape[2:]))
    weights = [weight / sum(WEIGHTS[:scales]) for weight in WEIGHTS[:scales]]
    figure = f"MS-SSIM, {scales} scales"
    for package, theirs in (("torchmetrics", their_ms_ssim), ("MONAI", monai_ms_ssim)):
        yield Comparison(figure, lambda: float(ms_ssim(x, y, scales).mean()), package, partial(theirs, x, y, weights))


def sides(folder: Path, size: tuple[int, ...], column: str) -> tuple[ImageSet, ImageSet]:
    """Up to ``MOST`` images of each side of a split by patient."""
    train, held_out = split_by_patient(open_folder(folder, patient_column=column), 0.4, 0)
    return load_set(train[:MOST], size), load_set(held_out[:MOST], size)


def standardised(extractor: Extractor, x: ImageSet, y: ImageSet) -> tuple[Array, Array]:
    found = extractor(y.voxels)
    scaled = standardisation(found)
    assert scaled is not None
    return scaled(extractor(x.voxels)), scaled(found)


def gaussian(count: int, features: int) -> tuple[Array, Array]:
    """Features whose spread falls as that of real ones, and such with other means and spreads."""
    generator = np.random.default_rng(0)
    scale = 1 / np.sqrt(np.arange(1, features + 1))
    x, y = generator.normal(size=(2, count, features)) * scale
    return 1.05 * x + 0.1 * scale, y


def main() -> None:
    torch.set_num_threads(1)
    data = Path(sys.argv[1])
    rows = []
    for title, folder, size, column in (
        ("chest X-ray 64 x 64", "chest-xray-pediatric", (64, 64), "group"),
        ("hippocampus 32 x 48 x 32", "mri-hippocampus", (32, 48, 32), "subject"),
    ):
        x, y = sides(data / folder, size, column)
        images = f"{title}, {len(x.names)} and {len(y.names)}"
        for extractor in (RandomConv(), Radiomics()):
            features = standardised(extractor, x, y)
            rows += [c.row(images, f"{extractor.name} ({features[0].shape[1]})") for c in of_features(*features)]
        pairs = x.voxels[:PAIRS], y.voxels[:PAIRS]
        rows += [c.row(f"{title}, {PAIRS} pairs", "voxels") for c in of_pairs(*pairs)]
    rows += [c.row("made, 150 and 150", "Gaussian (500)") for c in of_features(*gaussian(150, 500))]
    note = (
        "Training and held-out images, features standardised by the held-out ones. The inception score is that of the\n"
        f"first {CLASSES} features as logits. Neighbours: k = {NEAREST}. Seconds are of the processor, one thread;\n"
        "lichen's of kernel, neighbours and inception score hold the 100 halves of the interval. MS-SSIM:\n"
        "torchmetrics takes the coarsest scale over a mirrored border too, much of so small images; lichen and\n"
        "MONAI take whole windows alone."
    )
    write_results(__file__, HEADER, rows, note)


if __name__ == "__main__":
    main()
