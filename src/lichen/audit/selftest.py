"""The self-test: which copies would this audit find, and whom would it accuse, measured on the user's own images.

Each disturbance of ``planted`` is done to some training images, which makes copies that ought to be found, and to
images of some held-out patients, which ought not to be flagged. A copy is judged as a synthetic image would be, by its
conformal p-value against all held-out patients. An image of a held-out patient is judged against the other ones,
p = (1 + number of others >= s) / n, so that nobody is compared with themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lichen.audit.conformal import bonferroni, conformal_p_values
from lichen.audit.planted import DISTURBANCES, Disturbance, RoundTrip
from lichen.audit.scores import NEIGHBOURS, Search
from lichen.progress import Step, silent
from lichen.seeds import mix_seed
from lichen.team import ALONE, Team

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lichen.images.types import ImageSet

MIXED = ("inversion", "autoencoder round trip", "combination of four", "half an image in another", "mean of two")
"""Told one by one and left out of every mean: several disturbances at once, or more than pixels can follow."""
SINGLE_TRANSFORMATIONS = tuple(name for name in DISTURBANCES if name not in MIXED)
"""Names of the disturbances that change one thing, as copies of a generator differ from their originals."""
BLOCK_BYTES = 64 * 2**20
"""Images that are disturbed at once; one image at least."""


@dataclass(frozen=True)
class Tested:
    """What one disturbance came to."""

    name: str
    words: str
    """What was done, for a report."""
    power: float | None
    """Share of the planted copies with p <= level; None: none could be planted."""
    false_positive_rate: float | None
    """Share of the equally disturbed images of held-out patients with p <= level; None: none could be judged."""
    copies: int
    """How many copies were planted."""
    new: int
    """How many images of held-out patients, one of each patient, were judged."""


@dataclass(frozen=True, eq=False)
class SelfTest:
    """The power and the false-positive rate of an audit at one level, for S scores and T copies of each kind."""

    level: float
    """The level at which copies were judged; see ``new_level``."""
    new_level: float
    """The same for held-out images, whose smallest p-value is 1 / n and not 1 / (n + 1): the larger, or equal."""
    tested: tuple[Tested, ...]
    """One for each disturbance, in the order of ``DISTURBANCES``; without a round trip that one is missing."""
    planted: NDArray[np.float64]
    """(S, T) similarities of all copies of ``SINGLE_TRANSFORMATIONS``, scores in the order given."""
    planted_patients: tuple[str, ...]
    """(T,) whose images they are copies of."""

    @property
    def mean_power(self) -> float | None:
        """The mean power over the ``SINGLE_TRANSFORMATIONS``."""
        return _mean([t.power for t in self.tested if t.name in SINGLE_TRANSFORMATIONS])

    @property
    def mean_false_positive_rate(self) -> float | None:
        """The same of the false-positive rate."""
        return _mean([t.false_positive_rate for t in self.tested if t.name in SINGLE_TRANSFORMATIONS])

    def as_json(self) -> dict[str, Any]:
        """``self_test`` of ``audit.json``: by name power, false-positive rate and the numbers behind them."""
        return {
            t.name: {
                "power": t.power,
                "false_positive_rate": t.false_positive_rate,
                "n": t.copies,
                "n_new": t.new,
            }
            for t in self.tested
        }


def self_test(
    searches: Mapping[str, Search],
    nulls: Mapping[str, Mapping[str, float]],
    train: ImageSet,
    reference: ImageSet,
    *,
    level: float,
    images: int = 30,
    seed: int = 0,
    round_trip: RoundTrip | None = None,
    spacing: Sequence[float] | None = None,
    step: Step = silent,
    team: Team = ALONE,
) -> SelfTest:
    """Plant disturbed copies of up to ``images`` training images, disturb as many held-out patients, and judge all.

    ``searches`` hold ``train``, by the names of the scores; ``nulls`` say for the same scores how near each held-out
    patient comes (``conformal.maxima_by_patient``). ``level``: p-values up to it count as found. Where the held-out
    patients are too few to reach it, the smallest p-value that there is takes its place. ``spacing``: how far apart
    voxels are along each axis, in any unit; None: equally. ``round_trip``: the generator's autoencoder, if known.

    The copies are of different patients as far as there are enough; images without contrast are passed over. The same
    ``seed`` gives the same images and the same figures. ``step`` counts the ``self_test_steps``. In a ``team`` each
    process asks for its part. Raises ``ValueError`` if scores are missing, and ``AuditError`` for a bad round trip.
    """
    if not searches or list(searches) != list(nulls):
        raise ValueError(f"searches by {list(searches)}, held-out similarities by {list(nulls)}")
    copies = _Side(train, _chosen(train, images, mix_seed(seed, "copies"), one_each=False), mix_seed(seed, "copies"))
    new = _Side(reference, _chosen(reference, images, mix_seed(seed, "new"), one_each=True), mix_seed(seed, "new"))
    scale = _Scale.of(copies, new)
    disturbances = _disturbances(round_trip is not None)
    found = {side: torch.zeros(len(searches), len(disturbances), len(side.chosen)).double() for side in (copies, new)}
    for (side, similarity), (row, disturbance) in itertools.product(found.items(), enumerate(disturbances)):
        mine = team.part(len(side.chosen))
        for block in _blocks(mine, side.images.voxels[:1].nbytes):
            made = side.disturbed(disturbance, block, scale, spacing, round_trip)
            for score, search in enumerate(searches.values()):
                nearest = search(made, k=NEIGHBOURS, step=step).similarity[:, 0]
                similarity[score, row, block] = nearest.double().cpu()
        step(len(searches) * (len(side.chosen) - (mine.stop - mine.start)))
    team.add_up(list(found.values()))  # each number was left 0 by all processes but one
    return _judged(found[copies].numpy(), found[new].numpy(), disturbances, copies, new, list(nulls.values()), level)


def self_test_steps(
    train: ImageSet, reference: ImageSet, *, scores: int, images: int = 30, round_trip: bool = False
) -> int:
    """How many queries ``self_test`` counts, for a progress bar."""
    copies = _chosen(train, images, 0, one_each=False)
    new = _chosen(reference, images, 0, one_each=True)
    return scores * len(_disturbances(round_trip)) * (len(copies) + len(new))


def _disturbances(round_trip: bool) -> list[Disturbance]:
    return [d for d in DISTURBANCES.values() if round_trip or not d.needs_round_trip]


@dataclass(frozen=True)
class _Scale:
    """The range of grey values; disturbances are defined for [-1, 1]."""

    low: float
    high: float

    @staticmethod
    def of(*sides: _Side) -> _Scale:
        """The range of the chosen images and [-1, 1]: rounding may leave an image a little outside, or units may."""
        ends = [torch.stack(image.aminmax()) for side in sides for image in side.images.voxels[list(side.chosen)]]
        both = torch.stack(ends) if ends else torch.tensor([[-1.0, 1.0]])
        return _Scale(min(-1.0, float(both[:, 0].amin())), max(1.0, float(both[:, 1].amax())))

    def into(self, images: Tensor) -> Tensor:
        """``images`` in [-1, 1]."""
        if (self.low, self.high) == (-1.0, 1.0):
            return images
        return ((images - self.low) * (2 / (self.high - self.low)) - 1).clamp(-1, 1)

    def back(self, images: Tensor) -> Tensor:
        """The inverse of ``into``."""
        if (self.low, self.high) == (-1.0, 1.0):
            return images
        return (images + 1) * ((self.high - self.low) / 2) + self.low


@dataclass(frozen=True, eq=False)
class _Side:
    """The images of one set that are disturbed."""

    images: ImageSet
    chosen: tuple[int, ...]
    """Positions in ``images``."""
    seed: int

    @property
    def patients(self) -> tuple[str, ...]:
        return tuple(self.images.patients[at] for at in self.chosen)

    def can(self, disturbance: Disturbance) -> bool:
        return len(self.chosen) > (1 if disturbance.needs_partner else 0)

    def disturbed(
        self,
        disturbance: Disturbance,
        block: slice,
        scale: _Scale,
        spacing: Sequence[float] | None,
        round_trip: RoundTrip | None,
    ) -> Tensor:
        """The chosen images of ``block``, disturbed; the partner of each is the next one of those chosen."""
        indices = self.chosen[block]
        partners = (self.chosen[1:] + self.chosen[:1])[block]
        made = disturbance(
            scale.into(self.images.voxels[list(indices)]),
            seed=self.seed,
            indices=indices,
            spacing=spacing,
            partners=scale.into(self.images.voxels[list(partners)]),
            round_trip=round_trip,
        )
        return scale.back(made)


def _chosen(images: ImageSet, most: int, seed: int, *, one_each: bool) -> tuple[int, ...]:
    """Up to ``most`` images with contrast, drawn at random: one of each patient, then a second, unless ``one_each``."""
    order = torch.randperm(len(images.names), generator=torch.Generator().manual_seed(seed)).tolist()
    turns: dict[str, int] = {}
    ranked = []
    for at in order:
        if len(turns) == most:
            break
        low, high = images.voxels[at].aminmax()
        if low < high:
            turn = turns[images.patients[at]] = turns.get(images.patients[at], -1) + 1
            ranked.append((turn, at))
    ranked.sort(key=lambda entry: entry[0])  # stable: the drawn order stays among equals
    return tuple(at for turn, at in ranked if turn == 0 or not one_each)[:most]


def _judged(
    copies: NDArray[np.float64],
    new: NDArray[np.float64],
    disturbances: Sequence[Disturbance],
    copied: _Side,
    held_out: _Side,
    nulls: Sequence[Mapping[str, float]],
    level: float,
) -> SelfTest:
    """From the similarities (S, D, T) of copies and (S, D, U) of held-out images."""
    scores, patients = len(nulls), min(len(null) for null in nulls)
    level, new_level = max(level, scores / (patients + 1)), max(level, scores / max(patients, 1))
    p_copies = bonferroni(
        np.stack([conformal_p_values(s, np.array([*null.values()])) for s, null in zip(copies, nulls, strict=True)])
    )
    p_new = bonferroni(np.stack([_without_own(s, held_out.patients, null) for s, null in zip(new, nulls, strict=True)]))
    tested = []
    for row, disturbance in enumerate(disturbances):
        planted = len(copied.chosen) if copied.can(disturbance) else 0
        judged = len(held_out.chosen) if held_out.can(disturbance) and patients > 1 else 0
        power = _share(p_copies[row, :planted], level)
        tested.append(
            Tested(disturbance.name, disturbance.words, power, _share(p_new[row, :judged], new_level), planted, judged)
        )
    single = [row for row, disturbance in enumerate(disturbances) if disturbance.name in SINGLE_TRANSFORMATIONS]
    return SelfTest(
        level=level,
        new_level=new_level,
        tested=tuple(tested),
        planted=copies[:, single].reshape(scores, -1),
        planted_patients=copied.patients * len(single),
    )


def _without_own(
    similarity: NDArray[np.float64], patients: Sequence[str], null: Mapping[str, float]
) -> NDArray[np.float64]:
    """p-values (D, U) of ``similarity`` (D, U), the images of ``patients`` (U,), each against the other patients."""
    p_values = np.ones_like(similarity)
    for column, patient in enumerate(patients):
        others = np.array([value for other, value in null.items() if other != patient])
        p_values[:, column] = conformal_p_values(similarity[:, column], others)
    return p_values


def _share(p_values: NDArray[np.float64], level: float) -> float | None:
    return float((p_values <= level).mean()) if len(p_values) and level < 1 else None  # p = 1 is no evidence


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _blocks(part: slice, bytes_each: int) -> Iterator[slice]:
    size = max(1, BLOCK_BYTES // max(1, bytes_each))
    return (slice(start, min(start + size, part.stop)) for start in range(part.start, part.stop, size))
