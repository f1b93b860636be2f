"""Are synthetic label maps those of training patients? Told beside the verdict, which the images alone decide.

Label maps take no part in the scores. A map is smooth and holds few numbers, so those of two patients are alike by
nature, and a generator's average map is nearer to all of them than a new patient's: as a part of a score it would make
strangers look like copies, and a copied image under another map look like a stranger. Left out, the image is judged as
if it had no map. What the maps say by themselves is told here: how many equal a training patient's voxel by voxel, and
how many are nearer to one, by Dice's coefficient, than the maps of all but a few held-out patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lichen.audit.conformal import conformal_p_values, maxima_by_patient

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lichen.images.types import ImageSet

LEVEL = 0.05
"""The share of new patients above whom a label map counts as near."""
BLOCK_BYTES = 64 * 2**20
"""Working memory of one block of label maps; one at least."""


@dataclass(frozen=True)
class LabelMaps:
    """What the label maps of a synthetic set have in common with those of training patients."""

    compared: int
    """Synthetic label maps in which anything is labelled."""
    identical: int
    """Of these, equal to a training patient's in every voxel."""
    near: int
    """Nearer to a training patient's than the maps of all but a share ``LEVEL`` of held-out patients."""
    level: float
    """That share, or what there is with fewer than 19 held-out patients."""
    identical_held_out: int
    """Held-out label maps that equal a training patient's: how much equality says with these patients and classes."""


def compare_label_maps(synthetic: ImageSet, train: ImageSet, reference: ImageSet) -> LabelMaps | None:
    """Compare label maps alone; None where the images have none. All sets with the classes of ``train``."""
    if not train.classes:
        return None
    pool = train.voxels[:, -1:]
    made, held_out = (nearest_dice(images.voxels[:, -1:], pool, train.classes) for images in (synthetic, reference))
    null = np.array([*maxima_by_patient(held_out, reference.patients).values()])
    level = max(LEVEL, 1 / (len(null) + 1))
    p_values = conformal_p_values(made, null)
    return LabelMaps(
        compared=int(np.isfinite(made).sum()),
        identical=int((made == 1).sum()),
        near=int((p_values <= level).sum()) if len(null) else 0,
        level=level,
        identical_held_out=int((held_out == 1).sum()),
    )


def nearest_dice(queries: Tensor, pool: Tensor, classes: Sequence[int]) -> NDArray[np.float64]:
    """The highest Dice's coefficient of each of ``queries`` (Q, 1, *S) with one of ``pool`` (M, 1, *S), (Q,).

    Twice the voxels that have the same class in both, over the labelled voxels of both; background does not count.
    Dice, Ecology 1945. 1 only for maps that agree in every voxel; -inf where nothing is labelled.
    """
    import torch

    from lichen.images.labels import background_class, spread

    found = []
    labels = [label for label in classes if label != background_class(classes)]
    points = spread(np.array(labels, np.float32), classes).tolist()
    for some in _blocks(queries):
        best = torch.full((len(some),), -torch.inf, dtype=torch.float64)
        for others in _blocks(pool):
            rows, columns = some.flatten(1), others.flatten(1)
            same = torch.zeros((len(rows), len(columns)), dtype=torch.float64)
            labelled = [torch.zeros(len(side), dtype=torch.float64) for side in (rows, columns)]
            for point in points:
                ours, theirs = (rows == point).float(), (columns == point).float()
                same += (ours @ theirs.T).double()
                labelled[0] += ours.sum(1)
                labelled[1] += theirs.sum(1)
            dice = 2 * same / (labelled[0][:, None] + labelled[1]).clamp(min=1)
            dice[labelled[0] == 0] = -torch.inf
            best = best.maximum(dice.amax(1))
        found.append(best)
    return torch.cat(found).numpy() if found else np.empty(0)


def _blocks(maps: Tensor) -> Iterator[Tensor]:
    size = max(1, BLOCK_BYTES // (12 * max(1, maps[:1].numel())))
    return iter(maps.split(size)) if len(maps) else iter(())
