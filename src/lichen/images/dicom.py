"""Folders of DICOM files: a volume for each series, or each time point of one; radiographs one by one.

Patients, series and images are known by pseudonyms alone, and file names, which often hold what the tags hold, stand in
no name either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.images.dicom_header import NOBODY, Slice, parsing, read_slice
from lichen.images.dicom_series import Stack, stack_affine, stacks
from lichen.images.orient import turned_geometry, turned_to_ras
from lichen.images.pseudonyms import Pseudonym, pseudonyms
from lichen.images.types import Geometry, Image, Item, Skipped, Source
from lichen.plurals import plural


def open_dicom(folder: Path, files: Sequence[Path], *, skip_bad: bool = False) -> Source:
    """The images in the DICOM ``files`` of ``folder``; headers are read now, pixels later.

    Raises ImageError if no file holds an image, or, unless ``skip_bad``, if one cannot be read.
    """
    pseudonym = pseudonyms()
    slices: list[Slice] = []
    skipped: list[Skipped] = []
    for path in files:
        try:
            one = read_slice(path, pseudonym)
        except ImageError as error:
            if not skip_bad:
                raise
            skipped.append(Skipped(pseudonym("file", str(path)), error.problem))
        else:
            slices += [one] if one is not None else []
    found = stacks(slices)
    if not found:
        raise ImageError(
            f"{folder} has {len(files)} DICOM files, and none holds an image", fix="give a folder with images"
        )
    return Source(
        label=folder.resolve().name,
        items=tuple(_item(stack, pseudonym) for stack in found),
        spatial_dims=_usual_dims(found),
        is_phantom=False,
        note=_note(found),
        skipped=tuple(skipped),
    )


def _item(stack: Stack, pseudonym: Pseudonym) -> Item:
    states = "|".join(f"{one.path.resolve()}:{_state(one.path)}" for one in stack.slices)
    return Item(
        name=stack.name,
        patient=stack.patient,
        read=partial(read_stack, stack),
        look=partial(look_stack, stack),
        version=pseudonym("version", states),
    )


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:  # which reading says better
        return "unreadable"
    return f"{state.st_size}:{state.st_mtime_ns}"


def read_stack(stack: Stack) -> Image:
    """The image (1, *S): a volume turned to the closest of RAS+, or a picture as it is shown, in stored units rescaled.

    Raises ImageError if the slices make no image, or if one cannot be decoded.
    """
    _refuse(stack)
    planes = [read_plane(one) for one in stack.slices]
    affine = stack_affine(stack)
    if not stack.is_volume:
        return Image(planes[0][None], affine)
    values, affine = turned_to_ras(np.stack(planes, axis=-1).transpose(1, 0, 2), affine)
    return Image(np.ascontiguousarray(values[None]), affine)


def look_stack(stack: Stack) -> Geometry:
    """Shape and spacing of the image, from headers alone; raises ImageError if the slices make no image."""
    _refuse(stack)
    rows, columns = stack.slices[0].shape
    if not stack.is_volume:
        return Geometry((rows, columns), stack.slices[0].spacing_mm)
    return turned_geometry((columns, rows, len(stack.slices)), stack_affine(stack))


def read_plane(one: Slice) -> NDArray[np.float32]:
    """The pixels (rows, columns) of a slice as the scanner meant them: rescaled, dense bright, padding at the minimum.

    Raises ImageError if they cannot be decoded.
    """
    with parsing(one.name, one.path, "has pixels that cannot be decoded"):
        import pydicom

        whole = pydicom.dcmread(one.path)
        stored = whole.pixel_array
        if stored.shape != one.shape:
            raise ValueError("another shape")
        padding = _padding(whole, stored)
        values = stored.astype(np.float32)
        if whole.get("PhotometricInterpretation") == "MONOCHROME1":  # white is 0
            low, high = _stored_range(whole)
            values = np.float32(low + high) - values
        values = values * np.float32(whole.get("RescaleSlope") or 1) + np.float32(whole.get("RescaleIntercept") or 0)
        if padding is not None and not padding.all():
            values[padding] = values[~padding].min()
    if not np.isfinite(values).all():
        raise ImageError(f"{one.name} has pixels that are NaN or infinite", fix=f"export {one.path} again")
    return values


def _padding(whole: Any, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Which pixels are no image: those of PixelPaddingValue, or up to its limit; None if nothing says so."""
    if (value := whole.get("PixelPaddingValue")) is None:
        return None
    low, high = sorted((int(value), int(whole.get("PixelPaddingRangeLimit", value))))
    return np.asarray((stored >= low) & (stored <= high))


def _stored_range(whole: Any) -> tuple[int, int]:
    bits, signed = int(whole.BitsStored), bool(whole.get("PixelRepresentation"))
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def _refuse(stack: Stack) -> None:
    if stack.problem:
        folder = stack.slices[0].path.parent
        raise ImageError(
            f"{stack.name} {stack.problem}",
            fix=f"convert the series in {folder} with dcm2niix, or move it away (its first file is "
            f"{stack.slices[0].path.name})",
        )


def _usual_dims(found: Sequence[Stack]) -> int:
    """What most of the images have, so that a stray localizer is the odd one out."""
    good = [stack for stack in found if not stack.problem] or found
    return 3 if Counter(stack.is_volume for stack in good).most_common(1)[0][0] else 2


def _note(found: Sequence[Stack]) -> str:
    nameless = sum(stack.patient == NOBODY for stack in found)
    words = "DICOM: patients are keyed pseudonyms of PatientID"
    return f"{words}; those without one ({plural(nameless, 'image')}) count as one patient" if nameless else words
