"""How well label maps agree with those that people drew: Dice's coefficient by class and patient (Dice, Ecology 1945).

All images of a patient are one: what they have in common is added up before it is divided, so that a slice with two
labelled voxels does not count as much as one with a thousand. A patient who has a class neither in truth nor in what
was found says nothing of it and is left out for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lichen.images.labels import background_class
from lichen.statistics import Interval, mean

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class DiceScores:
    """Dice's coefficient of each patient in each class, background aside."""

    classes: tuple[int, ...]
    """The values of the label map, K of them."""
    patients: tuple[str, ...]
    """P of them, sorted."""
    by_class: NDArray[np.float64]
    """(P, K); nan where a patient does not have the class, nor was it found."""

    @property
    def by_patient(self) -> tuple[float | None, ...]:
        """The mean over the classes of each patient; None of one who has none."""
        return tuple(float(np.nanmean(row)) if np.isfinite(row).any() else None for row in self.by_class)

    @property
    def dice(self) -> Interval:
        """The mean over patients of their means over classes, with Student's 95 % interval over patients."""
        return mean(self.by_patient).within(0.0, 1.0)

    def of_class(self, number: int) -> Interval:
        """The same of one class, by its place in ``classes``."""
        values = [None if np.isnan(value) else float(value) for value in self.by_class[:, number]]
        return mean(values).within(0.0, 1.0)

    def as_json(self) -> dict[str, Any]:
        """These figures for a summary."""
        return {
            "dice": self.dice.as_json(),
            "classes": [
                {"value": value, "dice": self.of_class(number).as_json()} for number, value in enumerate(self.classes)
            ],
        }


def dice_scores(found: Tensor, truth: Tensor, patients: Sequence[str], classes: Sequence[int]) -> DiceScores:
    """Dice's coefficients of label maps ``found`` against the ``truth``, both (N, *S) numbers of ``classes``.

    ``patients`` (N,) say whose the images are.
    """
    who, owner = np.unique(np.asarray(patients), return_inverse=True)
    numbers = [number for number, value in enumerate(classes) if value != background_class(classes)]
    both, either = np.zeros((len(who), len(numbers))), np.zeros((len(who), len(numbers)))
    for column, number in enumerate(numbers):
        ours, theirs = found == number, truth == number
        common, sizes = (ours & theirs).flatten(1).sum(1), ours.flatten(1).sum(1) + theirs.flatten(1).sum(1)
        np.add.at(both[:, column], owner, common.numpy())
        np.add.at(either[:, column], owner, sizes.numpy())
    values = np.divide(2 * both, either, out=np.full_like(both, np.nan), where=either > 0)
    return DiceScores(tuple(classes[number] for number in numbers), tuple(map(str, who)), values)
