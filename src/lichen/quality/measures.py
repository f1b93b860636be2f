"""All figures of a synthetic set, each beside the same figure between real sets of the same sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lichen.errors import AuditError
from lichen.plurals import plural
from lichen.progress import Step, silent
from lichen.quality.estimates import LEAST_PATIENTS, Interval, drawn, most_pairs
from lichen.quality.extractors import Classifier, Extractor
from lichen.quality.frechet import frechet_distance
from lichen.quality.inception import inception_score
from lichen.quality.kernel import squared_mmd
from lichen.quality.neighbours import NEAREST, least_patients, prdc
from lichen.quality.scaling import standardisation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lichen.images.types import ImageSet

MOST_COMPARED = 5000
"""Images of a set among which all pairs are compared, for the kernel distance and the neighbours; drawn at random."""
WORSE = {
    "frechet": 1,
    "frechet-extrapolated": 1,
    "kernel": 1,
    "precision": -1,
    "recall": -1,
    "density": -1,
    "coverage": -1,
    "ms-ssim": 1,
    "inception-score": -1,
}
"""The figures, and in which direction each is worse."""


@dataclass(frozen=True)
class Reading:
    """A figure of some images against others."""

    value: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
    images: int
    """Of the set that is judged."""
    reference_images: int | None
    """Of the real images that it is held against; None for a figure that asks nothing of them."""

    @staticmethod
    def of(interval: Interval, images: int, reference_images: int | None) -> Reading:
        """What an ``interval`` says of so many images."""
        return Reading(interval.value, interval.low, interval.high, images, reference_images)


@dataclass(frozen=True)
class Figure:
    """One figure, of the synthetic images and of real ones. None: a set has too few patients or too small images."""

    name: str
    """A key of ``WORSE``."""
    extractor: str
    """Of the features; ``voxels, 3 scales`` for MS-SSIM."""
    synthetic: Reading | None
    """Of all synthetic images, against all reference images."""
    real: Reading | None
    """Of real images against other real images: the yardstick."""
    matched: Reading | None
    """Of as many synthetic images against the same real ones as in ``real``; nearly all figures depend on the sizes."""

    @property
    def finding(self) -> str:
        """How the synthetic images compare with real ones, in a word: ``as real``, ``worse``, ``better``, ``unknown``.

        ``matched`` and ``real`` are told apart where their difference is beyond the error of both, as in one of twenty
        figures it is by chance. ``better`` than real images is no praise: copies are.
        """
        if self.matched is None or self.real is None:
            return "unknown"
        upper, lower = sorted((self.matched, self.real), key=lambda reading: reading.value, reverse=True)
        if upper.value - lower.value <= np.hypot(upper.value - upper.low, lower.high - lower.value):
            return "as real"
        return "worse" if (upper is self.matched) == (WORSE[self.name] > 0) else "better"


@dataclass(frozen=True)
class Quality:
    """The figures of a synthetic set."""

    figures: tuple[Figure, ...]
    real_from: str
    """What ``real`` compares with the reference: ``training images`` or ``half of the reference images``."""

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values, with what they are found by."""
        return {
            "real_from": self.real_from,
            "nearest_neighbours": NEAREST,
            "figures": [{**asdict(figure), "finding": figure.finding} for figure in self.figures],
        }

    def figure(self, name: str, extractor: str) -> Figure:
        """The one of ``name`` in the features of ``extractor``; KeyError if it was not measured."""
        found = {(figure.name, figure.extractor): figure for figure in self.figures}
        return found[name, extractor]

    def table(self) -> tuple[tuple[str, ...], ...]:
        """Rows of words, the first a heading: figure, features, synthetic, same sizes, real, and the finding."""
        heading = ("figure", "features", "synthetic", "at the sizes of real", "real against real", "finding")
        return heading, *(
            (f.name, f.extractor, _words(f.synthetic), _words(f.matched), _words(f.real), f.finding)
            for f in self.figures
        )


def measure_quality(
    synthetic: ImageSet,
    reference: ImageSet,
    train: ImageSet | None,
    extractors: Sequence[Extractor],
    *,
    step: Step = silent,
) -> Quality:
    """All figures of ``synthetic`` against ``reference`` (real, held out) in the features of each of ``extractors``.

    The yardstick holds as many ``train`` images against the reference or, without any, one half of the reference
    patients against the other. Patients of ``synthetic`` are ignored: each of its images stands for itself. ``step``
    counts images, ``quality_steps`` of them.

    Raises:
        AuditError: synthetic or reference images are of fewer than four patients, or the reference images are equal.
    """
    for images, patients in ((synthetic, len(synthetic.names)), (reference, len(set(reference.patients)))):
        if patients < LEAST_PATIENTS:
            raise AuditError(
                "too few to measure quality with: "
                f"{plural(len(images.names), 'image')} of {plural(patients, 'patient')}",
                fix=f"give images of at least {LEAST_PATIENTS} patients in each set",
            )
    figures = [
        figure for extractor in extractors for figure in figures_in(extractor, synthetic, reference, train, step=step)
    ]
    real_from = "half of the reference images" if train is None else "training images"
    return Quality((*figures, _diversity(synthetic, reference, step)), real_from)


def figures_in(
    extractor: Extractor, synthetic: ImageSet, reference: ImageSet, train: ImageSet | None, *, step: Step = silent
) -> tuple[Figure, ...]:
    """The figures of ``measure_quality`` in the features of one ``extractor``; ``step`` counts ``steps_in`` images.

    Raises:
        AuditError: the reference images are equal.
    """
    compared = _Compared.of(synthetic, reference, train, extractor, step)
    return tuple(_figures(extractor.name, *(_readings(*pair, extractor) for pair in compared)))


def quality_steps(synthetic: ImageSet, reference: ImageSet, train: ImageSet | None, extractors: int) -> int:
    """How many images ``measure_quality`` counts with so many ``extractors``, at most."""
    pairs = most_pairs(len(synthetic.names)) + most_pairs(len(reference.names))
    return extractors * steps_in(synthetic, reference, train) + pairs


def steps_in(synthetic: ImageSet, reference: ImageSet, train: ImageSet | None) -> int:
    """How many images ``figures_in`` counts."""
    made, real = len(synthetic.names), len(reference.names)
    return made + real + (0 if train is None else min(made, len(train.names)))


@dataclass(frozen=True)
class _Rows:
    """Features (n, d) and whose they are."""

    features: NDArray[np.float64]
    patients: tuple[str, ...]

    def take(self, chosen: Sequence[int]) -> _Rows:
        return _Rows(self.features[chosen], tuple(self.patients[i] for i in chosen))

    def at_most(self, count: int) -> _Rows:
        return self.take(drawn("drawn", len(self.patients), count))

    @property
    def people(self) -> int:
        return len(set(self.patients))


class _Compared(NamedTuple):
    """What each column of the figures compares: the judged set with the set that it is held against."""

    synthetic: tuple[_Rows, _Rows]
    real: tuple[_Rows, _Rows]
    matched: tuple[_Rows, _Rows]

    @staticmethod
    def of(
        synthetic: ImageSet, reference: ImageSet, train: ImageSet | None, extractor: Extractor, step: Step
    ) -> _Compared:
        def rows(images: ImageSet, chosen: Sequence[int]) -> _Rows:
            features = extractor(images.voxels[chosen], step=step)
            return _Rows(scaled(features), tuple(images.patients[i] for i in chosen))

        raw = extractor(reference.voxels, step=step)
        standard = standardisation(raw)
        if standard is None:
            raise AuditError(
                f"{extractor.name}: the features of all {len(raw)} reference images are equal, or no numbers",
                fix="give different images of different patients",
            )
        scaled = standard if extractor.standardised else np.asarray
        held_out = _Rows(scaled(raw), reference.patients)
        features = scaled(extractor(synthetic.voxels, step=step))
        made = _Rows(features, tuple(map(str, range(len(features)))))
        if train is None:
            other, against = _two_halves(held_out)
        else:
            other, against = rows(train, drawn("drawn", len(train.names), len(features))), held_out
        count = min(len(features), len(other.patients))
        return _Compared((made, held_out), (other.at_most(count), against), (made.at_most(count), against))


def _two_halves(rows: _Rows) -> tuple[_Rows, _Rows]:
    """The images of one half of the patients, and those of the other."""
    people = sorted(set(rows.patients))
    chosen = {people[i] for i in drawn("drawn", len(people), len(people) // 2)}
    first = [i for i, patient in enumerate(rows.patients) if patient in chosen]
    second = [i for i, patient in enumerate(rows.patients) if patient not in chosen]
    return rows.take(first), rows.take(second)


def _readings(judged: _Rows, against: _Rows, extractor: Extractor) -> dict[str, Reading]:
    """The figures that these sets have enough patients for."""
    if min(judged.people, against.people) < LEAST_PATIENTS:
        return {}
    sets = judged.features, against.features
    frechet = frechet_distance(*sets, judged.patients, against.patients)
    found: dict[str, Interval] = {"frechet": frechet.plain, "frechet-extrapolated": frechet.extrapolated}
    x, y = judged.at_most(MOST_COMPARED), against.at_most(MOST_COMPARED)
    pairwise: dict[str, Interval] = {"kernel": squared_mmd(x.features, y.features, x.patients, y.patients)}
    if min(x.people, y.people) >= least_patients():
        pairwise |= vars(prdc(x.features, y.features, NEAREST, x.patients, y.patients))
    alone: dict[str, Interval] = {}
    if isinstance(extractor, Classifier):
        alone["inception-score"] = inception_score(extractor.probabilities(judged.features), judged.patients)
    size_x, size_y = len(judged.patients), len(against.patients)
    return {
        **{name: Reading.of(figure, size_x, size_y) for name, figure in found.items()},
        **{name: Reading.of(figure, len(x.patients), len(y.patients)) for name, figure in pairwise.items()},
        **{name: Reading.of(figure, size_x, None) for name, figure in alone.items()},
    }


def _figures(features: str, *columns: dict[str, Reading]) -> Iterator[Figure]:
    """One for each figure that any of the three ``columns`` has."""
    for name in WORSE:
        if any(name in column for column in columns):
            yield Figure(name, features, *(column.get(name) for column in columns))


def _diversity(synthetic: ImageSet, reference: ImageSet, step: Step) -> Figure:
    """Mean MS-SSIM of pairs of synthetic images, and of pairs of reference images; it does not depend on the sizes."""
    from lichen.quality.diversity import ms_ssim_diversity, scales_for

    shape = tuple(reference.voxels.shape[2:])
    try:
        scales = scales_for(shape)
    except AuditError:
        return Figure("ms-ssim", "voxels", None, None, None)
    made = ms_ssim_diversity(synthetic.voxels, step=step)
    real = ms_ssim_diversity(reference.voxels, reference.patients, step=step)
    own = Reading.of(made, len(synthetic.names), None)
    return Figure("ms-ssim", f"voxels, {scales} scales", own, Reading.of(real, len(reference.names), None), own)


def _words(reading: Reading | None) -> str:
    if reading is None:
        return "too few images"
    sizes = f"{reading.images}" if reading.reference_images is None else f"{reading.images}, {reading.reference_images}"
    return f"{reading.value:.3g} ({reading.low:.3g} to {reading.high:.3g}; {sizes} images)"
