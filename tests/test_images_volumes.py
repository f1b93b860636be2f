"""The fourth axis of a NIfTI: channels of one image, or images of one patient."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lichen.config import Volumes
from lichen.errors import ImageError
from lichen.images import load_set, open_folder, split_by_patient, write_sample
from lichen.images.nifti import _values_of_series

NUMBERS = np.random.default_rng(0)


def series(path: Path, count: int) -> np.ndarray:
    values = NUMBERS.integers(-900, 900, (5, 6, 7, count)).astype(np.int16)
    nib.Nifti1Image(values, np.diag([-2.0, -2.0, 3.0, 1.0])).to_filename(path)
    return values


@pytest.mark.parametrize(
    ("count", "volumes", "images"),
    [(4, "auto", 1), (5, "auto", 5), (12, "auto", 12), (12, "channels", 1), (2, "split", 2), (1, "split", 1)],
)
def test_five_volumes_or_more_are_images_of_their_own_unless_said_otherwise(
    tmp_path: Path, count: int, volumes: Volumes, images: int
) -> None:
    values = series(tmp_path / "a.nii.gz", count)
    source = open_folder(tmp_path, volumes=volumes)
    decoded = [item.read().voxels for item in source.items]
    assert len(decoded) == images
    # left to right and back to front, the file runs the other way
    expected = np.moveaxis(values[::-1, ::-1], 3, 0).reshape(images, -1, 5, 6, 7)
    np.testing.assert_array_equal(decoded, expected)
    assert all(item.look is not None and item.look().shape == (5, 6, 7) for item in source.items)


def test_volumes_are_in_the_order_of_the_file_and_of_one_patient(tmp_path: Path) -> None:
    for name in ("a", "b"):
        series(tmp_path / f"{name}.nii.gz", 11)
    source = open_folder(tmp_path)
    assert [item.name for item in source.items[8:12]] == [
        "a.nii.gz[8]",
        "a.nii.gz[9]",
        "a.nii.gz[10]",
        "b.nii.gz[0]",
    ]
    train, held_out = split_by_patient(source, 0.5, 0)
    assert {len(train), len(held_out)} == {11}
    (tmp_path / "metadata.csv").write_text("file,patient\na.nii.gz,P1\nb.nii.gz,P1\n")
    assert {item.patient for item in open_folder(tmp_path).items} == {"P1"}


def test_each_volume_has_a_version_of_its_own_that_tells_how_it_was_read(tmp_path: Path) -> None:
    series(tmp_path / "a.nii.gz", 4)
    versions = [
        item.version for volumes in ("channels", "split") for item in open_folder(tmp_path, volumes=volumes).items
    ]
    assert len(set(versions)) == 5


def test_a_file_is_unpacked_once_and_forgotten_after_its_last_volume(tmp_path: Path) -> None:
    series(tmp_path / "a.nii.gz", 6)
    items = open_folder(tmp_path).items
    _values_of_series.cache_clear()
    for item in items[:5]:
        item.read()
    assert _values_of_series.cache_info()[:2] == (4, 1)
    items[5].read()
    assert _values_of_series.cache_info().currsize == 0


def test_a_sample_of_many_channels_stays_one_image(tmp_path: Path) -> None:
    write_sample(tmp_path / "sample.nii.gz", NUMBERS.uniform(-1, 1, (6, 5, 5, 5)).astype(np.float32), np.eye(4), {})
    assert [item.read().voxels.shape for item in open_folder(tmp_path).items] == [(6, 5, 5, 5)]


def test_a_series_cut_short_is_an_error_that_names_it_and_can_be_left_out(tmp_path: Path) -> None:
    series(tmp_path / "a.nii.gz", 6)
    series(tmp_path / "b.nii.gz", 6)
    content = (tmp_path / "b.nii.gz").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(content[:-400])
    items = open_folder(tmp_path).items
    with pytest.raises(ImageError, match=r"b\.nii\.gz cannot be read as NIfTI"):
        load_set(items, (8, 8, 8))
    images = load_set(items, (8, 8, 8), skip_bad=True)
    assert [skipped.name for skipped in images.skipped] == [f"b.nii.gz[{number}]" for number in range(6)]
    assert set(images.patients) == {"a.nii.gz"}
