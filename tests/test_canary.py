"""What a header says of a patient must never come out: canaries are planted in it and searched for in every byte."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
from PIL.PngImagePlugin import PngInfo

from dicom_files import write_series
from lichen.cli import main
from lichen.images.phantoms import phantom_image
from lichen.images.pseudonyms import KEY_VARIABLE

CANARIES = {
    "PatientName": "Canarius^Petra",
    "PatientID": "CANARY-4711",
    "PatientBirthDate": "19420229",
    "AccessionNumber": "ACC-CANARY-1",
    "InstitutionName": "Canary General",
    "ReferringPhysicianName": "Doctor^Canary",
    "StudyInstanceUID": "1.2.826.0.1.777.4242.1",
    "StudyDate": "19990131",
    "DeviceSerialNumber": "SNCANARY99",
    "ImageComments": "canary in a comment",
}
SERIES_UID = "1.2.826.0.1.777.4242.2"
FOLDER_CANARY = "Canarius_Petra_19420229"
TINY = [
    *("--config", str(Path(__file__).parent / "tiny.yaml"), "--quiet"),
    *("--autoencoder.images-seen", "32", "--training.images-seen", "32", "--sampling.count", "3"),
]


def searched_for() -> dict[str, list[bytes]]:
    """Each canary in the forms in which it could hide."""
    words = [*CANARIES.values(), SERIES_UID, FOLDER_CANARY, "Canarius", "CANARY", "canary"]
    return {
        word: [
            word.encode(),
            word.encode("utf-16-le"),
            word.encode("utf-16-be"),
            word.encode().hex().encode(),
        ]
        for word in words
    }


def unpacked(data: bytes) -> Iterator[bytes]:
    """The bytes, and what is compressed in them."""
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield name.encode()
                yield archive.read(name)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        with PIL.Image.open(io.BytesIO(data)) as picture:
            picture.load()
            yield repr(picture.info).encode()
            yield picture.tobytes()


def found_in(folder: Path) -> list[str]:
    """Where a canary is, by file name or content."""
    found = []
    for path in sorted(folder.rglob("*")):
        contents = [path.relative_to(folder).as_posix().encode()]
        contents += unpacked(path.read_bytes()) if path.is_file() else []
        for word, forms in searched_for().items():
            if any(form in content for form in forms for content in contents):
                found.append(f"{word} in {path.relative_to(folder)}")
    return found


def lichen(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(str(caught.value.code))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """DICOM series of twelve patients; all tags and names of files and folders hold canaries."""
    folder = tmp_path / "scans"
    affine = np.diag([-6.0, -6.0, 6.0, 1.0])
    for patient in range(12):
        values = np.clip(phantom_image("3d", 1, patient, 0).voxels[0, ::2, ::2, ::2] * 40, 0, 65535).astype(np.uint16)
        tags: dict[str, Any] = {**CANARIES, "PatientID": f"{CANARIES['PatientID']}-{patient}"}
        home = folder / f"{FOLDER_CANARY}_{patient}"
        write_series(home, values, affine, SeriesInstanceUID=f"{SERIES_UID}.{patient}", **tags)
        for path in home.iterdir():
            path.rename(path.with_name(f"{CANARIES['PatientID']}-{path.name}"))
    (folder / f"{FOLDER_CANARY}_0" / "Canarius_broken.dcm").write_bytes(b"Canarius^Petra is not DICOM")
    gap = sorted((folder / f"{FOLDER_CANARY}_1").iterdir())
    gap[2].unlink()
    return folder


def test_a_canary_that_is_there_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"--Canarius^Petra--"))
    (tmp_path / "b.txt").write_text("19420229", encoding="utf-16")
    note = PngInfo()
    note.add_text("Comment", "CANARY-4711", zip=True)
    PIL.Image.new("L", (4, 4)).save(tmp_path / "c.png", pnginfo=note)
    words = " ".join(found_in(tmp_path))
    assert "a.gz" in words
    assert "b.txt" in words
    assert "c.png" in words


def test_no_tag_and_no_name_of_a_dicom_file_gets_into_any_output(
    tmp_path: Path, scans: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 40)
    out = tmp_path / "out"
    out.mkdir()
    images = ["--images.path", str(scans), "--images.size", "16", "24", "16", "--images.cache-dir", str(out / "cache")]
    assert lichen(
        "run", *TINY, *images, "--images.skip-bad", "--out", str(out / "run"), "--denoiser.channels", "16"
    ) in {
        0,
        1,
        3,
    }
    lichen("audit", "--run", str(out / "run"), "--synthetic", str(out / "run/samples"), "--out", str(out / "audit"))
    lichen("images", str(scans), "--json", "--montage", str(out / "patient-images.png"))
    lichen("report", str(out / "run"))
    lichen("runs", str(out), "--json")
    (out / "stdout.txt").write_text(capfd.readouterr().out)
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"summary.json", "audit.json", "report.html", "patient-images.png", "stdout.txt"} <= {
        p.name for p in written
    }
    summary = (out / "run/summary.json").read_text()
    assert "apart" in summary  # the series with a gap is listed among what was left out
    assert "cannot be read as DICOM" in summary
    assert found_in(out) == []


def test_notes_in_the_headers_of_other_formats_do_not_come_out_either(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    out.mkdir()
    note = PngInfo()
    note.add_text("Patient", CANARIES["PatientName"])
    for patient in range(10):
        voxels = np.clip(phantom_image("2d", 1, patient, 0).voxels[0] * 2, 0, 255).astype(np.uint8)
        if patient % 2:
            exif = PIL.Image.Exif()
            exif[0x010E] = CANARIES["ImageComments"]
            PIL.Image.fromarray(voxels).save(scans / f"{patient}.jpg", exif=exif)
        else:
            PIL.Image.fromarray(voxels).save(scans / f"{patient}.png", pnginfo=note)
    lichen("run", *TINY, "--images.path", str(scans), "--out", str(out / "pictures"))

    volumes = tmp_path / "volumes"
    volumes.mkdir()
    for patient in range(10):
        image = phantom_image("3d", 1, patient, 0)
        volume = nib.Nifti1Image(image.voxels[0, ::2, ::2, ::2], np.diag([6.0, 6.0, 6.0, 1.0]))
        volume.header["descrip"] = CANARIES["PatientName"].encode()
        volume.header["db_name"] = CANARIES["PatientID"].encode()
        nib.save(volume, volumes / f"{patient}.nii.gz")
    size = ["--images.size", "16", "24", "16"]
    lichen(
        "run", *TINY, "--images.path", str(volumes), *size, "--out", str(out / "volumes"), "--denoiser.channels", "16"
    )
    (out / "stdout.txt").write_text(capfd.readouterr().out)
    assert (out / "volumes/report.html").is_file()
    assert (out / "pictures/report.html").is_file()
    assert found_in(out) == []
