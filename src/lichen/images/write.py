"""Writing synthetic images so that nobody takes them for real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.files import replacing, write_json
from lichen.images.labels import nearest_class
from lichen.images.nifti import nifti_bytes
from lichen.images.normalise import denormalise, window_ranges
from lichen.images.pictures import png_bytes

SIDECAR_FIELDS = frozenset(
    {
        *("synthetic", "checkpoint_sha256", "sampler", "schedule", "steps", "batch_size", "compile", "seed", "index"),
        *("truncation", "affine", "classes"),
    }
)
"""What a sidecar of lichen's own samples says: nothing of any patient."""


def sample_suffix(channels: int, spatial_dims: int, *, label_map: bool = False) -> str:
    """``.png`` for gray and colour pictures, ``.nii.gz`` for volumes and for pictures of any other channels."""
    return ".png" if spatial_dims == 2 and channels in {1, 3} and not label_map else ".nii.gz"


def sidecar_path(path: Path) -> Path:
    """The JSON file beside a sample: ``sample-000000.json`` for ``sample-000000.nii.gz`` or ``.png``."""
    return path.with_name(path.name.removesuffix(".nii.gz").removesuffix(".png") + ".json")


def stored_window(
    channels: int, spatial_dims: int, window: Sequence[float] = (), *, label_map: bool = False
) -> tuple[float, ...]:
    """What a sample's file holds for -1 and 1: the window to load samples with as they were drawn.

    ``window`` is the one that the sample was written with.
    """
    if sample_suffix(channels, spatial_dims, label_map=label_map) == ".png":
        return (0.0, 65535.0) if channels == 1 else (0.0, 255.0)
    return tuple(window) or (0.0, 1.0)


def write_sample(
    path: Path,
    voxels: NDArray[np.float32],
    affine: NDArray[np.float64],
    sidecar: Mapping[str, object],
    *,
    window: Sequence[float] = (),
    classes: Sequence[int] = (),
) -> None:
    """Write a synthetic image ``voxels`` (C, *S) in [-1, 1] and its sidecar.

    Values are clipped and stored as [0, 1], in a NIfTI as intensities of the ``window`` if there is one. Volumes become
    gzipped float32 NIfTI with ``affine`` (4, 4), several channels as fourth axis; gray pictures 16-bit PNG and colour
    pictures 8-bit PNG; pictures of other channel counts a NIfTI one voxel thick. With ``classes`` the last channel is a
    label map, always in a NIfTI: each voxel becomes the nearest class, as the whole number that it stands for, and the
    sidecar lists the classes. The image itself and the sidecar (what
    is given, ``"synthetic": true`` and the affine) say that it is synthetic. The sidecar is written first, so that no
    image is ever without one; both are whole or not there, and the same input gives the same bytes. Raises ImageError
    if the suffix is not ``sample_suffix``'s or a voxel is NaN or infinite.
    """
    suffix = sample_suffix(len(voxels), voxels.ndim - 1, label_map=bool(classes))
    if not path.name.endswith(suffix):
        raise ImageError(
            f"{path.name} cannot hold {len(voxels)} channels in {voxels.ndim - 1} dimensions", fix=f"name it *{suffix}"
        )
    if not np.isfinite(voxels).all():
        raise ImageError(
            f"{path.name} would hold voxels that are NaN or infinite", fix="train longer or at a lower learning rate"
        )
    clipped = np.clip(voxels, -1.0, 1.0)
    told: dict[str, object] = {**sidecar, "synthetic": True, "affine": affine.tolist()}
    if classes:
        told["classes"] = list(classes)
    if suffix == ".png":
        content = png_bytes(((clipped + 1) / 2).astype(np.float32))
    else:
        content = nifti_bytes(_stored(clipped, window, classes), affine)
    write_json(sidecar_path(path), told)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _stored(voxels: NDArray[np.float32], window: Sequence[float], classes: Sequence[int]) -> NDArray[np.float32]:
    """What a NIfTI holds for ``voxels`` (C, *S) in [-1, 1]: intensities, and the classes of a label map."""
    images, labels = (voxels[:-1], [nearest_class(voxels[-1:], classes)]) if classes else (voxels, [])
    return np.concatenate([denormalise(images, window_ranges(window or (0.0, 1.0), len(images))), *labels])
