"""Reading NIfTI volumes."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.images import read_image
from lichen.images.read import look_image

VALUES = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)


def save(path: Path, values: NDArray[np.generic], affine: NDArray[np.float64] | None = None) -> Path:
    nib.Nifti1Image(values, np.eye(4) if affine is None else affine).to_filename(path)
    return path


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "SAL", "IPR"])
def test_a_voxel_lies_at_the_same_mm_whichever_way_its_axes_were_stored(tmp_path: Path, axes: str) -> None:
    plain = nib.Nifti1Image(VALUES, np.array([[1.0, 0, 0, -7], [0, 2, 0, 3], [0, 0, 3, 11], [0, 0, 0, 1]]))
    turn = nib.orientations.ornt_transform(nib.io_orientation(plain.affine), nib.orientations.axcodes2ornt(axes))
    path = tmp_path / "turned.nii.gz"
    plain.as_reoriented(turn).to_filename(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.voxels[0], VALUES)
    np.testing.assert_allclose(image.affine, plain.affine)
    assert look_image(path) == image.geometry


def test_the_scale_and_offset_of_the_header_are_applied(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    volume = nib.Nifti1Image(stored, np.eye(4))
    volume.header.set_slope_inter(0.5, -1024)
    volume.to_filename(tmp_path / "ct.nii")
    np.testing.assert_array_equal(read_image(tmp_path / "ct.nii").voxels[0], 0.5 * stored.astype(np.float32) - 1024)


@pytest.mark.parametrize(("unit", "mm"), [("micron", 0.001), ("mm", 1.0), ("meter", 1000.0)])
def test_spacing_is_in_mm_whatever_the_unit_of_the_file(tmp_path: Path, unit: str, mm: float) -> None:
    volume = nib.Nifti1Image(VALUES, np.diag([2.0, 2.0, 2.0, 1.0]))
    volume.header.set_xyzt_units(unit)
    volume.to_filename(tmp_path / "a.nii")
    assert read_image(tmp_path / "a.nii").geometry.spacing_mm == pytest.approx([2 * mm] * 3)


def test_a_short_fourth_axis_holds_channels(tmp_path: Path) -> None:
    stored = np.stack([VALUES, 2 * VALUES], axis=3)
    image = read_image(save(tmp_path / "two.nii.gz", stored))
    np.testing.assert_array_equal(image.voxels, np.stack([VALUES, 2 * VALUES]))


def test_of_a_time_series_one_volume_has_to_be_named(tmp_path: Path) -> None:
    path = save(tmp_path / "bold.nii.gz", np.zeros((4, 4, 4, 30), np.float32))
    with pytest.raises(ImageError, match=r"bold\.nii\.gz has 30 volumes .* one image is wanted"):
        read_image(path)
    with pytest.raises(ImageError, match="none of number 30"):
        read_image(path, number=30)
    assert read_image(path, number=29).voxels.shape == (1, 4, 4, 4)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 1), (1, 5, 6), (5, 1, 6), (5, 6, 1, 1, 1)])
def test_a_volume_one_voxel_thick_is_a_flat_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / "flat.NII", np.arange(30, dtype=np.float32).reshape(shape), np.diag([2.0, 3.0, 5.0, 1.0]))
    image = read_image(path)
    np.testing.assert_array_equal(image.voxels, np.arange(30, dtype=np.float32).reshape(1, 5, 6))
    assert look_image(path) == image.geometry


def _claims(path: Path, *shape: int) -> None:
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(4) + bytes(64)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("name", ["absurd.nii", "absurd.nii.gz"])
def test_a_header_that_claims_more_than_the_file_can_hold_is_refused_before_reading(tmp_path: Path, name: str) -> None:
    _claims(tmp_path / name, 30000, 30000, 30000)
    with pytest.raises(ImageError, match="claims 108000000000000 bytes"):
        read_image(tmp_path / name)
    with pytest.raises(ImageError, match="claims 108000000000000 bytes"):
        look_image(tmp_path / name)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _text(path: Path) -> None:
    path.write_text("not an image")


def _complex(path: Path) -> None:
    save(path, VALUES.astype(np.complex64))


def _nan(path: Path) -> None:
    save(path, np.full((3, 3, 3), np.nan, np.float32))


def _too_large_for_float32(path: Path) -> None:
    save(path, np.full((3, 3, 3), 1e300, np.float64))


def _flat_affine(path: Path) -> None:
    volume = nib.Nifti1Image(VALUES, np.eye(4))
    volume.header["srow_x"] = 0
    path.write_bytes(volume.header.binaryblock + bytes(4) + VALUES.tobytes())


def _needles(path: Path) -> None:
    save(path, VALUES, np.diag([1e-9, 1.0, 1.0, 1.0]))


def _endless_offset(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[108:112] = np.float32(np.inf).tobytes()  # vox_offset
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, "cannot be read as NIfTI|can hold"),
        (_text, "cannot be read as NIfTI"),
        (_complex, "only integers and real numbers"),
        (_nan, "27 of 27 voxels that are NaN"),
        (_too_large_for_float32, "27 of 27 voxels"),
        (_flat_affine, "cannot be read|does not place"),
        (_needles, "voxels of 1e-09 x 1 x 1 mm"),
        (_endless_offset, "cannot be read as NIfTI"),
    ],
)
def test_a_bad_volume_is_refused_with_its_name(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path = save(tmp_path / "bad.nii", VALUES)
    damage(path)
    with pytest.raises(ImageError, match=message) as raised:
        read_image(path)
    assert str(path) in raised.value.problem


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=3))
def test_no_damaged_header_raises_anything_but_an_image_error(tmp_path: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray(nib.Nifti1Image(VALUES, np.eye(4)).to_bytes())
    for at, value in changes:
        content[at] = value
    path = tmp_path / "damaged.nii"
    path.write_bytes(bytes(content))
    with contextlib.suppress(ImageError):
        assert np.isfinite(read_image(path).voxels).all()


def test_a_flipped_bit_in_a_compressed_file_is_noticed(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**15, (12, 12, 12)).astype(np.int16)
    path = tmp_path / "a.nii.gz"
    with gzip.GzipFile(path, "wb", compresslevel=0) as file:  # stored as they are: a changed byte is no broken code
        file.write(nib.Nifti1Image(values, np.eye(4)).to_bytes())
    assert read_image(path).voxels.shape == (1, 12, 12, 12)
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match="CRC"):
        read_image(path)


def test_a_bomb_behind_the_voxels_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    whole = nib.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)).to_bytes()
    path.write_bytes(gzip.compress(whole + bytes(2**26 + 2**21), compresslevel=1))
    with pytest.raises(ImageError, match="bytes follow its voxels"):
        read_image(path)
