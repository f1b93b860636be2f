"""What is read of a DICOM file before its pixels, and nothing more.

Only the tags named here are looked at; private ones never. What names a patient or a scan is replaced by a keyed
pseudonym before it leaves this module, and no error's ``problem`` holds a tag's value or a path: it may be written to
a file. The path stands in the ``fix``, which people see and no file keeps.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lichen.errors import ImageError

if TYPE_CHECKING:
    from lichen.images.pseudonyms import Pseudonym

TAGS = (
    "PatientID",
    "IssuerOfPatientID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "AcquisitionNumber",
    "InstanceNumber",
)
RADIOGRAPHS = {"CR", "DX", "MG", "IO", "PX", "RF", "RG", "XA"}
"""Modalities whose every file is a picture of its own (DICOM PS3.3, C.7.3.1.1.1)."""
MOST_PIXELS = 2**26
"""Rows x columns: four times the largest detectors; more is damage or an attack."""
MAGIC_AT = 128


@dataclass(frozen=True, eq=False)
class Slice:
    """One DICOM file with an image: what places it among others. Pseudonyms throughout."""

    path: Path
    name: str
    """``image-...``, of its SOPInstanceUID."""
    series: str
    """``series-...``"""
    patient: str
    """``patient-...``"""
    modality: str
    shape: tuple[int, int]
    """Rows and columns."""
    spacing_mm: tuple[float, float]
    """Between rows and between columns."""
    thickness_mm: float
    directions: NDArray[np.float64] | None
    """(2, 3) unit vectors in LPS: along a row, along a column. None for what knows no place in the patient."""
    position_mm: NDArray[np.float64] | None
    """(3,) centre of the first pixel in LPS."""
    order: tuple[int, int]
    """Acquisition and instance number: in which order the scanner made it."""
    refused: str = ""
    """Why it cannot be read: words that go on from its name."""


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM: by its suffix or, where it has none that is known, by the mark at byte 128."""
    suffix = path.suffix.lower()
    if suffix in {".dcm", ".dicom", ".ima"}:
        return True
    if path.name.upper() == "DICOMDIR" or (suffix and not suffix[1:].isdecimal()):
        return False
    try:
        with path.open("rb") as file:
            file.seek(MAGIC_AT)
            return file.read(4) == b"DICM"
    except OSError:
        return False


def read_slice(path: Path, pseudonym: Pseudonym) -> Slice | None:
    """What places the image of a file; None if it holds none (a report, a plan, a table of contents).

    Raises ImageError if the file is no DICOM file, is cut short within its header, or lacks what an image must have.
    """
    unknown = pseudonym("file", str(path))
    with parsing(unknown, path):
        import pydicom
        from pydicom.filereader import read_file_meta_info
        from pydicom.uid import DeflatedExplicitVRLittleEndian

        if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            raise ImageError(  # to look into it is to unpack it all, and a few bytes may unpack to any size
                f"{unknown} is compressed as a whole, which is not read", fix=f"convert {path}, e.g. with dcmconv +te"
            )
        found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(TAGS))
        if "Rows" not in found or "Columns" not in found:
            return None
        rows, columns = int(found.Rows), int(found.Columns)
        # some de-identifiers empty the UIDs: then a folder is a series, and a file an image
        series = pseudonym("series", str(found.get("SeriesInstanceUID") or path.parent))
        name = pseudonym("image", str(found.get("SOPInstanceUID") or path))
        patient = _patient(found, pseudonym)
        spacing = found.get("PixelSpacing") or found.get("ImagerPixelSpacing") or (1.0, 1.0)
        orientation, position = found.get("ImageOrientationPatient"), found.get("ImagePositionPatient")
        placed = orientation is not None and position is not None
        return Slice(
            path=path,
            name=name,
            series=series,
            patient=patient,
            modality=str(found.get("Modality") or ""),
            shape=(rows, columns),
            spacing_mm=(float(spacing[0]), float(spacing[1])),
            thickness_mm=float(found.get("SliceThickness") or 1.0),
            directions=np.array(orientation, np.float64).reshape(2, 3) if placed else None,
            position_mm=np.array(position, np.float64).reshape(3) if placed else None,
            order=(int(found.get("AcquisitionNumber") or 0), int(found.get("InstanceNumber") or 0)),
            refused=_refused(found),
        )


def _patient(found: Any, pseudonym: Pseudonym) -> str:
    """The pseudonym of the patient. All images without a number count as one patient, who is never split."""
    number = str(found.get("PatientID") or "").strip()
    issuer = str(found.get("IssuerOfPatientID") or "").strip()
    return pseudonym("patient", f"{issuer}\x1f{number}") if number else NOBODY


NOBODY = "patient-unknown"
"""Whose images are those that do not say it."""


def _refused(found: Any) -> str:
    """Why an image cannot be read, in words that follow its name; empty if it can."""
    kinds = {str(kind).upper() for kind in found.get("ImageType") or ()}
    if int(found.get("NumberOfFrames") or 1) > 1:
        return "has several frames in one file"
    if "MOSAIC" in kinds:
        return "is a mosaic: its slices are tiles of one picture"
    if int(found.get("SamplesPerPixel") or 1) != 1:
        return "is in colour; DICOM images are read in gray"
    if not 0 < int(found.Rows) * int(found.Columns) <= MOST_PIXELS:
        return f"claims {found.Rows} x {found.Columns} pixels, which no detector has"
    spacing = found.get("PixelSpacing") or found.get("ImagerPixelSpacing") or (1.0, 1.0)
    if len(spacing) != 2 or not all(0 < float(mm) < 1000 for mm in spacing):
        return "has an impossible distance between its pixels"
    return ""


@contextmanager
def parsing(name: str, path: Path, step: str = "cannot be read as DICOM") -> Iterator[None]:
    """Turn whatever pydicom raises on a damaged file into an ImageError, and keep it from speaking of tags' values."""
    log = logging.getLogger("pydicom")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except Exception as error:  # a damaged file meets dozens of kinds of errors
        raise ImageError(
            f"{name} {step} ({type(error).__name__})", fix=f"export {path} again, or remove it{_missing_decoder(error)}"
        ) from error
    finally:
        log.setLevel(level)


def _missing_decoder(error: Exception) -> str:
    """What to install where the pixels are compressed in a way that needs it; the words begin a new sentence."""
    if isinstance(error, RuntimeError | NotImplementedError) and "plugin" in str(error):
        return (
            "; if its pixels are compressed, pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg may read them"
        )
    return ""
