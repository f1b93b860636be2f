"""DICOM in: geometry by closed form, intensities as meant, pseudonyms, and files that cannot be read."""

from __future__ import annotations

import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_files import write_dicom, write_series
from lichen.errors import ImageError
from lichen.images import load_set, open_folder, split_by_patient
from lichen.images.pseudonyms import KEY_VARIABLE, key_path, pseudonyms

pytestmark = pytest.mark.usefixtures("key")
AXIAL = np.diag([-2.0, -1.5, 3.0, 1.0])
"""Columns to the left, rows to posterior, slices upwards: how axial images are stored."""


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "k" * 40)


def ramp(*shape: int) -> NDArray[np.uint16]:
    """A volume in which every voxel is different."""
    return np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)


def picture(path: Path, **tags: object) -> None:
    write_dicom(path, ramp(4, 6), **tags)


turns = st.tuples(*[st.floats(-180, 180)] * 3)
sides = st.tuples(st.integers(2, 5), st.integers(2, 6), st.integers(2, 5))
steps = st.tuples(*[st.floats(0.3, 5)] * 3)


def rotation(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    """(3, 3): turns about x, y and z, one after the other."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        one = np.eye(3)
        a, b = [other for other in range(3) if other != axis]
        one[a, a] = one[b, b] = np.cos(angle)
        one[a, b], one[b, a] = -np.sin(angle), np.sin(angle)
        turn = one @ turn
    return turn


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(shape=sides, spacing=steps, degrees=turns, data=st.data())
def test_a_volume_comes_back_with_every_voxel_in_its_place(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    degrees: tuple[float, float, float],
    data: st.DataObject,
) -> None:
    folder = tmp_path_factory.mktemp("series")
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) * spacing  # right-handed, as slices made in a scanner need not be
    affine[:3, 3] = (10, -20, 30)
    order = data.draw(st.permutations(range(shape[2])))
    values = ramp(*shape)
    write_series(folder, values, affine, order=order)
    (item,) = open_folder(folder).items
    image = item.read()
    assert item.look is not None
    geometry = item.look()
    assert geometry.shape == image.geometry.shape
    np.testing.assert_allclose(geometry.spacing_mm, image.geometry.spacing_mm)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    # whatever the axes are now, each value lies at the same point in mm
    for index in np.ndindex(shape):
        where = np.linalg.solve(image.affine, affine @ np.array([*index, 1.0]))[:3]
        assert image.voxels[(0, *np.round(where).astype(int))] == values[index]
        np.testing.assert_allclose(where, np.round(where), atol=1e-3)


def test_an_axial_volume_becomes_right_anterior_superior(tmp_path: Path) -> None:
    values = ramp(4, 5, 3)
    write_series(tmp_path, values, AXIAL)
    image = open_folder(tmp_path).items[0].read()
    np.testing.assert_array_equal(image.voxels[0], values[::-1, ::-1])
    np.testing.assert_allclose(image.affine, np.array([[2, 0, 0, -6], [0, 1.5, 0, -6], [0, 0, 3, 0], [0, 0, 0, 1.0]]))


def test_values_are_rescaled_slice_by_slice_and_padding_is_no_tissue(tmp_path: Path) -> None:
    values = ramp(4, 4, 2) + 100
    values[0, 0] = 7
    write_series(
        tmp_path, values, AXIAL, RescaleSlope=2, RescaleIntercept=-1024, PixelPaddingValue=7, PixelRepresentation=0
    )
    voxels = open_folder(tmp_path).items[0].read().voxels[0, ::-1, ::-1]
    np.testing.assert_array_equal(voxels[1:], values[1:] * 2.0 - 1024)
    for index in range(2):
        assert voxels[0, 0, index] == values[1:, :, index].min() * 2.0 - 1024 or voxels[0, 0, index] <= voxels.min() + 2


def test_a_radiograph_whose_white_is_zero_is_inverted(tmp_path: Path) -> None:
    tags = {"Modality": "DX", "PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    picture(tmp_path / "a.dcm", **tags, ImagerPixelSpacing=[0.2, 0.1])
    (item,) = open_folder(tmp_path).items
    image = item.read()
    np.testing.assert_array_equal(image.voxels[0], 4095.0 - ramp(4, 6))
    assert image.geometry.spacing_mm == (0.2, 0.1)
    assert open_folder(tmp_path).spatial_dims == 2


def test_each_radiograph_is_an_image_of_its_own(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"{number}.dcm", Modality="CR", SeriesInstanceUID="1.2.3", PatientID=f"P{number % 2}")
    source = open_folder(tmp_path)
    assert len(source.items) == 3
    assert len({item.patient for item in source.items}) == 2


def test_two_time_points_are_two_volumes_of_one_patient(tmp_path: Path) -> None:
    first, second = ramp(3, 4, 2), ramp(3, 4, 2) + 100
    uid = write_series(tmp_path / "a", first, AXIAL)
    write_series(tmp_path / "b", second, AXIAL, SeriesInstanceUID=uid, AcquisitionNumber=2)
    source = open_folder(tmp_path)
    assert [item.name[-3:] for item in source.items] == ["[0]", "[1]"]
    assert len({item.patient for item in source.items}) == 1
    for item, values in zip(source.items, (first, second), strict=True):
        np.testing.assert_array_equal(item.read().voxels[0], values[::-1, ::-1])


def test_a_copy_of_a_file_counts_once(tmp_path: Path) -> None:
    write_series(tmp_path / "a", ramp(3, 4, 3), AXIAL)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/again.dcm").write_bytes((tmp_path / "a/0001.dcm").read_bytes())
    assert open_folder(tmp_path).items[0].read().voxels.shape == (1, 3, 4, 3)


def test_files_without_a_suffix_are_known_by_their_mark(tmp_path: Path) -> None:
    picture(tmp_path / "IM000001", Modality="DX")
    picture(tmp_path / "1.2.840.7", Modality="DX")
    (tmp_path / "README").write_text("no image")
    (tmp_path / "DICOMDIR").write_bytes((tmp_path / "IM000001").read_bytes())
    assert len(open_folder(tmp_path).items) == 2


def test_where_a_deidentifier_emptied_the_uids_a_folder_is_a_series(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_series(tmp_path / name, ramp(3, 4, 3), AXIAL, SeriesInstanceUID="", PatientID="")
    source = open_folder(tmp_path)
    assert len(source.items) == 2
    # nobody knows whether these are two patients: on both sides of a split they could be one
    train, held_out = split_by_patient(source, 0.5, 0)
    assert not held_out
    assert "those without one (2 images) count as one patient" in source.note
    assert len(train) == 2


def _gap(folder: Path) -> None:
    (folder / "0002.dcm").unlink()


def _turned(folder: Path) -> None:
    write_series(
        folder / "more", ramp(4, 5, 2), np.diag([-2.0, -1.5, -3.0, 1.0])[[0, 2, 1, 3]], SeriesInstanceUID="1.5"
    )


def _other_size(folder: Path) -> None:
    write_series(folder / "more", ramp(6, 5, 1), AXIAL, SeriesInstanceUID="1.5")


def _twice(folder: Path) -> None:
    write_series(folder / "more", ramp(4, 5, 1), AXIAL, SeriesInstanceUID="1.5")


def _two_patients(folder: Path) -> None:
    shifted = AXIAL.copy()
    shifted[2, 3] = 15
    write_series(folder / "more", ramp(4, 5, 1), shifted, SeriesInstanceUID="1.5", PatientID="P2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_gap, "slices 3 to 6 mm apart"),
        (_turned, "slices in several directions"),
        (_other_size, "slices of different sizes"),
        (_twice, "between 1 and 2 slices at one place"),
        (_two_patients, "belongs to several patients"),
    ],
)
def test_slices_that_make_no_volume_are_refused(tmp_path: Path, change: object, words: str) -> None:
    write_series(tmp_path, ramp(4, 5, 5), AXIAL, SeriesInstanceUID="1.5")
    assert callable(change)
    change(tmp_path)
    (item,) = open_folder(tmp_path).items
    with pytest.raises(ImageError, match=words) as caught:
        item.read()
    assert str(tmp_path) in caught.value.fix
    assert str(tmp_path) not in caught.value.problem


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    affine = AXIAL.copy()
    affine[1, 2] = 0.5
    write_series(tmp_path, ramp(4, 5, 5), affine)
    with pytest.raises(ImageError, match="tilted gantry"):
        open_folder(tmp_path).items[0].read()


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"NumberOfFrames": 2}, "several frames in one file"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, "is a mosaic"),
        ({"SamplesPerPixel": 3}, "is in colour"),
        ({"Rows": 65535, "Columns": 65535}, "which no detector has"),
        ({"PixelSpacing": [0, 1]}, "impossible distance"),
        ({"PixelData": b"12"}, "pixels that cannot be decoded"),
        ({"PixelData": b""}, "pixels that cannot be decoded"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, tags: dict[str, object], words: str) -> None:
    picture(tmp_path / "a.dcm", Modality="DX", **tags)
    with pytest.raises(ImageError, match=words) as caught:
        load_set(open_folder(tmp_path).items, (8, 8))
    assert "\n" not in caught.value.problem
    assert "a.dcm" in caught.value.fix


def test_a_file_that_would_have_to_be_unpacked_to_be_looked_at_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.dcm", Modality="DX")
    whole = pydicom.dcmread(tmp_path / "a.dcm")
    whole.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    whole.save_as(tmp_path / "a.dcm")
    with pytest.raises(ImageError, match="compressed as a whole"):
        open_folder(tmp_path)


def test_a_file_that_is_no_dicom_is_refused_or_left_out_and_listed_without_its_name(tmp_path: Path) -> None:
    for number in range(2):
        picture(tmp_path / f"{number}.dcm", Modality="DX")
    (tmp_path / "Smith-John.dcm").write_bytes(b"nothing of the kind")
    with pytest.raises(ImageError, match=r"Smith-John\.dcm"):
        open_folder(tmp_path)
    source = open_folder(tmp_path, skip_bad=True)
    assert len(source.items) == 2
    assert "Smith" not in str(source.skipped)
    assert source.skipped[0].name.startswith("file-")


def test_dicom_beside_other_images_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.dcm", Modality="DX")
    (tmp_path / "b.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"DICOM files, such as a\.dcm, and other images, such as b\.png"):
        open_folder(tmp_path)
    (tmp_path / "b.png").unlink()
    with pytest.raises(ImageError, match=r"no --images\.patient-column"):
        open_folder(tmp_path, patient_column="patient")


def test_real_series_are_read_whole(data_dir: Path) -> None:
    source = open_folder(data_dir / "dicom-series")
    shapes = {}
    for item in source.items:
        try:
            shapes[item.name] = item.read().voxels.shape
        except ImageError as error:
            assert "is a mosaic" in error.problem  # noqa: PT017 (two of six)
    assert sorted(shapes.values()) == [(1, 64, 64, 15), (1, 64, 64, 15), (1, 274, 384, 16), (1, 512, 512, 12)]
    assert len({item.patient for item in source.items}) == 3


def test_the_real_ct_has_air_at_minus_a_thousand_and_the_table_below_the_patient(data_dir: Path) -> None:
    image = open_folder(data_dir / "dicom-series/ct-body-totalsegmentator").items[0].read()
    axial = image.voxels[0, :, :, 6]
    assert image.voxels.min() == -1024
    assert np.median(axial[:40, -40:]) < -950
    posterior, anterior = (axial[128:384, part].mean() for part in (slice(0, 128), slice(384, 512)))
    assert posterior > anterior  # the table and the back, against air


def test_a_pseudonym_needs_the_key_and_stays_the_same(tmp_path: Path) -> None:
    home = {"XDG_DATA_HOME": str(tmp_path / "one")}
    first, again = pseudonyms(home)("patient", "P1"), pseudonyms(home)("patient", "P1")
    other = pseudonyms({"XDG_DATA_HOME": str(tmp_path / "two")})("patient", "P1")
    assert first == again != other
    assert "P1" not in first
    assert len(first) == len("patient-") + 12
    assert pseudonyms(home)("series", "P1")[-12:] != first[-12:]
    assert stat.S_IMODE(key_path(home).stat().st_mode) == 0o600


def test_a_key_that_is_too_short_or_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="fewer than 32 characters"):
        pseudonyms({KEY_VARIABLE: "short"})
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="cannot be kept") as caught:
        pseudonyms({"XDG_DATA_HOME": str(tmp_path / "file")})
    assert KEY_VARIABLE in caught.value.fix
