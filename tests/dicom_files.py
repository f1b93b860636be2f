"""Writes DICOM files for tests: volumes slice by slice, in any order and orientation, and radiographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_dicom(path: Path, pixels: NDArray[np.uint16], **tags: Any) -> None:
    """One file of ``pixels`` (rows, columns), uint16, with the ``tags`` besides what every image has."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = tags.pop("SOPInstanceUID", generate_uid())
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.PatientID = "P1"
    data.Modality = "CT"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 0
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def write_series(
    folder: Path,
    values: NDArray[np.uint16],
    affine: NDArray[np.float64],
    *,
    order: Sequence[int] | None = None,
    **tags: Any,
) -> str:
    """A volume ``values`` (columns, rows, slices) with a RAS ``affine`` as a file per slice; returns the series' UID.

    ``order`` says under which number each slice is filed.
    """
    lps = RAS_TO_LPS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    directions = lps[:3, :3] / spacing
    uid = tags.pop("SeriesInstanceUID", generate_uid())
    for index in range(values.shape[2]):
        number = index if order is None else order[index]
        write_dicom(
            folder / f"{number:04}.dcm",
            np.ascontiguousarray(values[:, :, index].T),
            SeriesInstanceUID=uid,
            InstanceNumber=number + 1,
            PixelSpacing=[spacing[1], spacing[0]],
            ImageOrientationPatient=[*directions[:, 0], *directions[:, 1]],
            ImagePositionPatient=list((lps @ [0, 0, index, 1])[:3]),
            **tags,
        )
    return str(uid)
