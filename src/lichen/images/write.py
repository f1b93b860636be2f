"""Writing synthetic images so that nobody takes them for real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.files import replacing, write_json
from lichen.images.nifti import nifti_bytes
from lichen.images.normalise import denormalise, window_ranges
from lichen.images.pictures import png_bytes

SIDECAR_FIELDS = frozenset(
    {
        *("synthetic", "checkpoint_sha256", "sampler", "schedule", "steps", "batch_size", "compile", "seed", "index"),
        *("truncation", "affine"),
    }
)
"""What a sidecar of lichen's own samples says: nothing of any patient."""


def sample_suffix(channels: int, spatial_dims: int) -> str:
    """``.png`` for gray and colour pictures, ``.nii.gz`` for volumes and for pictures of any other channel count."""
    return ".png" if spatial_dims == 2 and channels in {1, 3} else ".nii.gz"


def sidecar_path(path: Path) -> Path:
    """The JSON file beside a sample: ``sample-000000.json`` for ``sample-000000.nii.gz`` or ``.png``."""
    return path.with_name(path.name.removesuffix(".nii.gz").removesuffix(".png") + ".json")


def stored_window(channels: int, spatial_dims: int, window: Sequence[float] = ()) -> tuple[float, ...]:
    """What a sample's file holds for -1 and 1: the window to load samples with as they were drawn.

    ``window`` is the one that the sample was written with.
    """
    if sample_suffix(channels, spatial_dims) == ".png":
        return (0.0, 65535.0) if channels == 1 else (0.0, 255.0)
    return tuple(window) or (0.0, 1.0)


def write_sample(
    path: Path,
    voxels: NDArray[np.float32],
    affine: NDArray[np.float64],
    sidecar: Mapping[str, object],
    *,
    window: Sequence[float] = (),
) -> None:
    """Write a synthetic image ``voxels`` (C, *S) in [-1, 1] and its sidecar.

    Values are clipped and stored as [0, 1], in a NIfTI as intensities of the ``window`` if there is one. Volumes become
    gzipped float32 NIfTI with ``affine`` (4, 4), several channels as fourth axis; gray pictures 16-bit PNG and colour
    pictures 8-bit PNG; pictures of other channel counts a NIfTI one voxel thick. The image itself and the sidecar (what
    is given, ``"synthetic": true`` and the affine) say that it is synthetic. The sidecar is written first, so that no
    image is ever without one; both are whole or not there, and the same input gives the same bytes. Raises ImageError
    if the suffix is not ``sample_suffix``'s or a voxel is NaN or infinite.
    """
    suffix = sample_suffix(len(voxels), voxels.ndim - 1)
    if not path.name.endswith(suffix):
        raise ImageError(
            f"{path.name} cannot hold {len(voxels)} channels in {voxels.ndim - 1} dimensions", fix=f"name it *{suffix}"
        )
    if not np.isfinite(voxels).all():
        raise ImageError(
            f"{path.name} would hold voxels that are NaN or infinite", fix="train longer or at a lower learning rate"
        )
    clipped = np.clip(voxels, -1.0, 1.0)
    if suffix == ".png":
        content = png_bytes(((clipped + 1) / 2).astype(np.float32))
    else:
        content = nifti_bytes(denormalise(clipped, window_ranges(window or (0.0, 1.0), len(voxels))), affine)
    write_json(sidecar_path(path), {**sidecar, "synthetic": True, "affine": affine.tolist()})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
