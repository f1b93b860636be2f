"""Reading .npz files in MedMNIST's layout."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.images import load_set, open_folder

NUMBERS = np.random.default_rng(0)


def save(path: Path, **arrays: NDArray[np.generic]) -> Path:
    np.savez_compressed(path, allow_pickle=True, **arrays)
    return path


@pytest.mark.parametrize(
    ("shape", "spatial_dims", "channels"),
    [((12, 28, 28), 2, 1), ((12, 28, 28, 3), 2, 3), ((12, 9, 8, 7), 3, 1), ((12, 9, 8, 7, 3), 3, 3)],
)
def test_every_layout_of_medmnist_is_read_value_by_value(
    tmp_path: Path, shape: tuple[int, ...], spatial_dims: int, channels: int
) -> None:
    stored = NUMBERS.integers(0, 256, shape).astype(np.uint8)
    source = open_folder(save(tmp_path / "set.npz", train_images=stored, train_labels=np.zeros((12, 1))))
    assert (source.spatial_dims, source.patients_known) == (spatial_dims, False)
    assert [item.name for item in source.items] == [f"train_images[{index}]" for index in range(12)]
    image = source.items[7].read()
    expected = np.moveaxis(stored[7], -1, 0) if channels == 3 else stored[7][None]
    np.testing.assert_array_equal(image.voxels, expected)
    look = source.items[7].look
    assert look is not None
    assert look() == image.geometry


def test_colour_images_that_are_all_gray_have_one_channel(tmp_path: Path) -> None:
    gray = NUMBERS.integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    source = open_folder(save(tmp_path / "set.npz", train_images=np.repeat(gray, 3, axis=3)))
    np.testing.assert_array_equal(source.items[2].read().voxels, gray[2, None, ..., 0])


def test_another_split_is_read_when_asked_for(tmp_path: Path) -> None:
    stored = NUMBERS.integers(0, 256, (3, 8, 8)).astype(np.uint8)
    path = save(tmp_path / "set.npz", train_images=0 * stored, val_images=stored)
    source = open_folder(path, npz_split="val")
    assert source.items[1].name == "val_images[1]"
    np.testing.assert_array_equal(source.items[1].read().voxels[0], stored[1])
    with pytest.raises(ImageError, match="no array test_images; it has images of: train, val"):
        open_folder(path, npz_split="test")


def test_an_array_of_python_objects_is_never_unpickled(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", train_images=np.array([[[{"a": 1}]]], dtype=object))
    with pytest.raises(ImageError, match="of the type object"):
        open_folder(path)


def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**4, 10**4)}
    )
    path = tmp_path / "set.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_images.npy", header.getvalue())
    with pytest.raises(ImageError, match="claims 1000000 x 10000 x 10000 values"):
        open_folder(path)


def test_files_that_are_no_npz_or_have_odd_shapes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ImageError, match="cannot be read as npz"):
        open_folder(tmp_path / "text.npz")
    with pytest.raises(ImageError, match="shape 5 x 4"):
        open_folder(save(tmp_path / "flat.npz", train_images=np.zeros((5, 4))))


def test_an_npz_whose_contents_are_damaged_is_refused_when_read(tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", train_images=NUMBERS.integers(0, 256, (50, 16, 16)).astype(np.uint8))
    content = bytearray(path.read_bytes())
    content[6000:6100] = bytes(100)
    path.write_bytes(bytes(content))
    source = open_folder(path)
    with pytest.raises(ImageError, match="cannot be read as npz"):
        source.items[0].read()


def test_an_image_of_an_npz_with_nan_is_refused_by_its_name(tmp_path: Path) -> None:
    stored = np.zeros((3, 8, 8), np.float32)
    stored[2, 0, 0] = np.nan
    source = open_folder(save(tmp_path / "set.npz", train_images=stored))
    with pytest.raises(ImageError, match=r"set\.npz: train_images\[2\] has 1 of 64 voxels"):
        source.items[2].read()


def test_a_set_from_npz_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    stored = np.zeros((11, 8, 8), np.uint8)
    for index in range(11):
        stored[index, index % 8, index // 8] = 255
    images = load_set(open_folder(save(tmp_path / "set.npz", train_images=stored)).items, (8, 8))
    np.testing.assert_array_equal(images.voxels[:, 0].numpy() == 1, stored == 255)
