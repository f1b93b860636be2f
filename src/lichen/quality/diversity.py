"""Diversity of a set by structural similarity at several scales, MS-SSIM, of pairs of its images.

Wang, Simoncelli and Bovik, "Multiscale structural similarity for image quality assessment" (Asilomar 2003); as a
measure of diversity Odena, Olah and Shlens, "Conditional image synthesis with auxiliary classifier GANs" (ICML 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from lichen.audit.ssim import RADIUS, Local, contrast_structure, ssim_map
from lichen.errors import AuditError
from lichen.progress import Step, silent
from lichen.quality.estimates import Estimate, mean_of_pairs, numbered, random_pairs, require_patients

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales, finest first; Wang et al. 2003, section 3.2. Of fewer scales the first ones, made to add up to 1."""
_RANGE = 2.0
_BATCH_VOXELS = 2**18


def ms_ssim_diversity(images: Tensor, groups: Sequence[str] | None = None, *, step: Step = silent) -> Estimate:
    """The mean MS-SSIM of up to 500 random pairs of ``images`` (N, C, *S) in [-1, 1], of different patients.

    It is 1 if all images are equal, and lower the more they differ. ``groups`` names the patient of each
    image (default: all different). ``step`` counts pairs.

    Raises:
        AuditError: there are fewer than four patients, or an axis is shorter than the window of 11 voxels.
    """
    patients = numbered(len(images), groups)
    require_patients("a diversity", patients)
    scales = scales_for(tuple(images.shape[2:]))
    first, second = random_pairs(patients)
    size = max(1, _BATCH_VOXELS // images[0].numel())
    values = []
    for start in range(0, len(first), size):
        a, b = first[start : start + size], second[start : start + size]
        values.append(ms_ssim(images[a].float(), images[b].float(), scales))
        step(len(a))
    return mean_of_pairs(torch.cat(values).double().numpy(), patients[first], patients[second])


def ms_ssim(x: Tensor, y: Tensor, scales: int = len(WEIGHTS)) -> Tensor:
    """MS-SSIM (B,) of images ``x`` and ``y`` (B, C, *S) in [-1, 1]; Wang et al. 2003, equation 7, on whole windows.

    Contrast and structure are compared at each of ``scales``, the means at the coarsest. A scale at which the images
    are opposite on average counts as 0, since a root of a negative number is none.
    """
    weights = torch.tensor(WEIGHTS[:scales], dtype=torch.float64)
    pool = functional.avg_pool2d if x.ndim == 4 else functional.avg_pool3d
    result = torch.ones(len(x), dtype=torch.float64)
    for scale, weight in enumerate((weights / weights.sum()).tolist()):
        one, other = Local.of(x), Local.of(y)
        compare = ssim_map if scale == scales - 1 else contrast_structure
        whole = compare(one, other, _RANGE)
        for axis in range(2, x.ndim):
            whole = whole.narrow(axis, RADIUS, whole.shape[axis] - 2 * RADIUS)
        result *= whole.flatten(1).double().mean(1).clamp(min=0) ** weight
        x, y = pool(x, 2), pool(y, 2)
    return result


def scales_for(shape: tuple[int, ...]) -> int:
    """How many scales, up to five, hold a window of 11 voxels along each axis of images of ``shape`` *S.

    Raises:
        AuditError: not even the image itself does.
    """
    window = 2 * RADIUS + 1
    if min(shape) < window:
        raise AuditError(
            f"images of {' x '.join(map(str, shape))} voxels are too small for MS-SSIM with its window of {window}",
            fix=f"compare images of at least {window} voxels along each axis",
        )
    return max(scales for scales in range(1, len(WEIGHTS) + 1) if min(shape) >> (scales - 1) >= window)
