"""Reading and writing NIfTI volumes."""

from __future__ import annotations

import gzip
import math
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import psutil
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from lichen.config import Volumes
from lichen.errors import ImageError
from lichen.images.orient import flattened, turned_geometry, turned_to_ras
from lichen.images.types import SYNTHETIC_MARK, Geometry, Image, spacing_mm

SUFFIXES = (".nii", ".nii.gz")
MOST_CHANNELS = 4
"""Unless said otherwise, a fourth axis up to this long holds channels, and a longer one volumes."""
_DEFLATE_LIMIT = 1032
"""No gzip stream unpacks to more than this many times its length (zlib's technical notes)."""
MOST_ANISOTROPIC = 1000.0
"""Voxels longer than this times their width are a damaged header; their aspect would exhaust the memory."""
MOST_BEHIND = 2**26
"""Bytes that may follow the voxels of a compressed file; to unpack a bomb for its checksum takes too long."""
_UNITS_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


def read_nifti(path: Path, volumes: Volumes = "auto", number: int | None = None) -> Image:
    """The volume in ``path`` as (C, *S), turned to the closest RAS+ axes; values scaled as the header says.

    What lichen wrote keeps its axes: those of a slice run as pictures do, and not along RAS+.
    A fourth axis holds channels, or volumes of which ``number`` is read: see ``count_volumes``. A volume one voxel
    thick is two-dimensional. Raises ImageError for what is no NIfTI, is cut short, claims more voxels than its file or
    the memory can hold, has several volumes of which none is named, or holds complex or colour values.
    """
    volume = _open(path)
    count = _count_volumes(volume, volumes)
    if number is None and count > 1:
        raise ImageError(
            f"{path} has {count} volumes along its fourth axis, and one image is wanted",
            fix="save one volume per file, or, if they are channels, give --images.volumes channels",
        )
    if number is not None and not 0 <= number < count:
        raise ImageError(f"{path} has {count} volumes, and none of number {number}", fix="read the folder again")
    if count > 1:
        state = path.stat()
        values = _values_of_series(path, state.st_size, state.st_mtime_ns)[..., number].copy()
        if number == count - 1:  # volumes are read in order
            _values_of_series.cache_clear()
    else:
        values = _values(path, volume)
    affine = _affine_mm(path, volume)
    values, affine = (values, affine) if _is_ours(volume) else turned_to_ras(values, affine)
    voxels = np.moveaxis(values, 3, 0) if values.ndim == 4 else values[None]
    return flattened(Image(np.ascontiguousarray(voxels), affine))


def count_volumes(path: Path, volumes: Volumes = "auto") -> int:
    """How many images the file ``path`` holds along its fourth axis, from its header; raises ImageError.

    ``channels``: it is one image, whose channels they are. ``split``: each is an image of its own. ``auto``: one image
    if there are at most ``MOST_CHANNELS`` or lichen wrote the file. Headers cannot be asked: what they say of time is
    the same in most files of channels and of time series.
    """
    return _count_volumes(_open(path), volumes)


def look_nifti(path: Path) -> Geometry:
    """Shape and spacing of the volume in ``path``, from its header alone; raises ImageError as ``read_nifti`` does."""
    volume = _open(path)
    shape, affine = _shape(volume)[:3], _affine_mm(path, volume)
    if not _is_ours(volume):
        return turned_geometry(shape, affine)
    return flattened(Image(np.broadcast_to(np.float32(0), (1, *shape)), affine)).geometry


def nifti_bytes(voxels: NDArray[np.float32], affine: NDArray[np.float64]) -> bytes:
    """A gzipped NIfTI of ``voxels`` (C, *S) that says it is synthetic; the same input gives the same bytes.

    Channels, if several, become the fourth axis; a two-dimensional image becomes one voxel thick.
    """
    values = voxels[..., None] if voxels.ndim == 3 else voxels
    values = np.moveaxis(values, 0, 3) if len(values) > 1 else values[0]
    volume = nib.Nifti1Image(values.astype(np.float32), affine)
    volume.header["descrip"] = SYNTHETIC_MARK
    volume.header.set_xyzt_units("mm")
    return gzip.compress(volume.to_bytes(), mtime=0)


def _open(path: Path) -> Any:
    """The volume's header and a handle to its values, after checking that both make sense."""
    try:
        volume = nib.load(path)
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, ImageFileError, HeaderDataError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(volume, nib.Nifti1Image | nib.Nifti2Image):
        raise ImageError(f"{path} is named like a NIfTI and is not one", fix="convert it to .nii.gz")
    _refuse_odd_shape(path, volume)
    _refuse_odd_values(path, volume)
    return volume


def _refuse_odd_shape(path: Path, volume: Any) -> None:
    shape = _shape(volume)
    words = " x ".join(map(str, volume.shape))
    if not 3 <= len(shape) <= 4 or min(shape) < 1:
        raise ImageError(
            f"{path} has the shape {words or 'of a single number'}; an image has two or three axes, and channels",
            fix="save one volume per file",
        )


def _count_volumes(volume: Any, volumes: Volumes) -> int:
    shape = _shape(volume)
    if len(shape) < 4 or volumes == "channels":
        return 1
    return 1 if volumes == "auto" and (shape[3] <= MOST_CHANNELS or _is_ours(volume)) else shape[3]


def _is_ours(volume: Any) -> bool:
    """Whether lichen wrote it."""
    return bytes(volume.header["descrip"].item()).decode("ascii", "replace").startswith(SYNTHETIC_MARK)


def _values(path: Path, volume: Any) -> NDArray[np.float32]:
    """All values, scaled as the header says, in the shape of ``_shape``."""
    try:
        whole = _unpacked(path, volume) if path.suffix.lower() == ".gz" else volume
        with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold becomes infinite, refused later
            return np.asarray(whole.dataobj).astype(np.float32).reshape(_shape(volume))
    except (OSError, EOFError, ValueError, OverflowError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unpacked(path: Path, volume: Any) -> Any:
    """The compressed volume, read to its very end: there stands the checksum, which nibabel does not come to."""
    kind, shape = volume.get_data_dtype(), volume.shape
    needed = int(volume.dataobj.offset) + kind.itemsize * math.prod(shape)
    with gzip.open(path) as file:
        data, behind = file.read(needed), 0
        while chunk := file.read(2**20):
            behind += len(chunk)
            if behind > MOST_BEHIND:
                raise ValueError(f"more than {MOST_BEHIND} bytes follow its voxels")
    return type(volume).from_bytes(data)


@lru_cache(maxsize=1)
def _values_of_series(path: Path, size: int, mtime_ns: int) -> NDArray[np.float32]:  # noqa: ARG001 (part of the key)
    """The values of the file whose volumes are read one after the other: a compressed file is unpacked once."""
    return _values(path, _open(path))


def _refuse_odd_values(path: Path, volume: Any) -> None:
    kind = volume.get_data_dtype()
    if kind.kind not in "biuf":
        raise ImageError(
            f"{path} holds values of the type {kind}; only integers and real numbers can be read",
            fix="save the magnitude or one gray channel as float32",
        )
    needed = math.prod(int(count) for count in volume.shape) * kind.itemsize
    packed = path.stat().st_size
    if needed > packed * (_DEFLATE_LIMIT if path.suffix.lower() == ".gz" else 1):
        raise ImageError(
            f"{path} has a header that claims {needed} bytes of voxels, more than its {packed} bytes can hold",
            fix="the file is damaged or cut short: copy or export it again",
        )
    # at the peak of reading and normalising, a voxel is there twice as float64 and twice as float32
    if (unpacked := needed // kind.itemsize * 24) > (available := psutil.virtual_memory().available):
        raise ImageError(
            f"{path} needs {unpacked / 1e9:.1f} GB to read, and {available / 1e9:.1f} GB of memory are free",
            fix="crop it or resample it to larger voxels first",
        )


def _affine_mm(path: Path, volume: Any) -> NDArray[np.float64]:
    affine = np.array(volume.affine, np.float64)
    try:
        affine[:3] *= _UNITS_MM[volume.header.get_xyzt_units()[0]]
    except KeyError as error:
        raise _unreadable(path, error) from error
    spacing = spacing_mm(affine, 3)
    box_mm3 = float(np.prod(spacing))
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine)) > 1e-6 * box_mm3:
        raise ImageError(
            f"{path} has an affine that does not place its voxels in space: {affine[:3].tolist()}",
            fix="set a valid qform or sform, e.g. with nibabel's Nifti1Image(values, affine)",
        )
    if max(spacing) > MOST_ANISOTROPIC * min(spacing):
        raise ImageError(
            f"{path} has voxels of {' x '.join(f'{side:g}' for side in spacing)} mm, which no scanner makes",
            fix="correct the spacing in its header",
        )
    return affine


def _shape(volume: Any) -> tuple[int, ...]:
    """The shape with a third axis of one voxel if it has only two, and without empty axes after the third."""
    shape = tuple(int(count) for count in volume.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return (*shape, 1) if len(shape) == 2 else shape


def _unreadable(path: Path, error: Exception) -> ImageError:
    return ImageError(
        f"{path} cannot be read as NIfTI: {' '.join(str(error).split()) or type(error).__name__}",
        fix="the file is damaged, cut short or of another format: copy or export it again",
    )
