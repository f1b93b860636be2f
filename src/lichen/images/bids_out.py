"""Synthetic images as a BIDS derivative: a folder that tools for BIDS take in, and that says everywhere what it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lichen import __version__
from lichen.errors import ImageError
from lichen.files import replacing, write_json, write_text
from lichen.images.bids import DESCRIPTION
from lichen.images.nifti import nifti_bytes
from lichen.images.read import is_nifti, read_image
from lichen.images.write import sidecar_path

BIDS_VERSION = "1.10.0"
README = "Synthetic images, drawn by a model. No image in this folder was taken of a person.\n"


def write_bids(samples: Iterable[Path], folder: Path, suffixes: Sequence[str], *, name: str = "Synthetic") -> None:
    """Write ``samples``, volumes with their sidecars, into ``folder`` as sub-synthetic000000/anat/*_T1w.nii.gz.

    ``suffixes`` names the channels, such as T1w; each becomes a file, and its sidecar says that it is synthetic. The
    caller chooses the samples: a copy of a patient's image is a patient's image, so audit them first. Raises
    ImageError if the folder is not empty, or for a sample that is no volume, has no sidecar, or has another number of
    channels than ``suffixes``.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ImageError(f"{folder} is not empty", fix="name a new folder")
    for suffix in suffixes:
        if not suffix.isalnum() or not suffix.isascii():
            raise ImageError(f"{suffix!r} is no BIDS suffix", fix="give letters and digits, such as T1w")
    generated = {"Name": "lichen", "Version": __version__, "Description": "Drawn by a generative model"}
    about = {"Name": name, "BIDSVersion": BIDS_VERSION, "DatasetType": "derivative", "GeneratedBy": [generated]}
    write_json(folder / DESCRIPTION, about)
    write_text(folder / "README", README)
    for sample in samples:
        _write_subject(sample, folder, suffixes)


def _write_subject(sample: Path, folder: Path, suffixes: Sequence[str]) -> None:
    sidecar = _read_sidecar(sample)
    image = read_image(sample)
    if len(image.voxels) != len(suffixes):
        raise ImageError(
            f"{sample} has {len(image.voxels)} channels, and {len(suffixes)} suffixes are given",
            fix="give one BIDS suffix per channel, e.g. T1w T2w",
        )
    subject = f"sub-synthetic{sidecar['index']:06}"
    for channel, suffix in zip(image.voxels, suffixes, strict=True):
        path = folder / subject / "anat" / f"{subject}_{suffix}.nii.gz"
        write_json(sidecar_path(path), sidecar)  # first, so that no image is ever without one
        with replacing(path) as temporary:
            temporary.write_bytes(nifti_bytes(channel[None], image.affine))


def _read_sidecar(sample: Path) -> dict[str, Any]:
    """What ``write_sample`` left beside the image."""
    if not is_nifti(sample.name):
        raise ImageError(f"{sample} is a picture, for which BIDS has no place", fix="give volumes")
    path = sidecar_path(sample)
    try:
        sidecar = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}", fix="draw the sample again") from error
    if not (isinstance(sidecar, dict) and sidecar.get("synthetic") is True and isinstance(sidecar.get("index"), int)):
        raise ImageError(f"{path} does not say that {sample.name} is a synthetic image", fix="give lichen's samples")
    return sidecar
