"""The room on real images."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from lichen.images import choose_size, load_set, open_folder, read_image, split_by_patient


def test_hippocampus_volumes_are_read_without_their_label_maps(data_dir: Path) -> None:
    source = open_folder(data_dir / "mri-hippocampus")
    assert (len(source.items), len({item.patient for item in source.items})) == (198, 128)
    assert source.spatial_dims == 3
    assert all(item.name.startswith("images/") for item in source.items)
    size = choose_size(source, None)
    assert size == (32, 48, 32)
    images = load_set(source.items[:20], size)
    assert tuple(images.voxels.shape) == (20, 1, 32, 48, 32)
    # whatever the scanner's scale, which differs by a factor of a thousand, the tissue fills the range
    spread = images.voxels.flatten(1).std(dim=1)
    assert spread.min() > 0.2
    assert spread.max() < 0.8


def test_both_hippocampi_of_a_person_are_on_the_same_side(data_dir: Path) -> None:
    train, held_out = split_by_patient(open_folder(data_dir / "mri-hippocampus"), 0.4, 0)
    assert len({item.patient for item in held_out}) == 51
    people = [{(int(item.name[-10:-7]) + 1) // 2 for item in side} for side in (train, held_out)]
    assert not people[0] & people[1]


def test_children_whose_images_are_nearly_identical_are_on_the_same_side(data_dir: Path) -> None:
    folder = data_dir / "chest-xray-pediatric"
    source = open_folder(folder)
    assert (len(source.items), len({item.patient for item in source.items})) == (1200, 560)
    finer = open_folder(folder, patient_column="patient")
    assert len({item.patient for item in finer.items}) == 821
    by_name = {item.name: item.patient for item in finer.items}
    sides = [{by_name[item.name] for item in side} for side in split_by_patient(source, 0.4, 0)]
    assert not sides[0] & sides[1]


def test_colour_jpegs_of_radiographs_are_gray(data_dir: Path) -> None:
    source = open_folder(data_dir / "chest-xray-pediatric")
    assert choose_size(source, None) == (64, 64)
    images = load_set(source.items[::60], (64, 64))
    assert tuple(images.voxels.shape) == (20, 1, 64, 64)
    assert np.allclose(np.diag(images.affine), [3.5, 3.5, 1, 1])


def test_pneumoniamnist_has_its_official_number_of_images(data_dir: Path) -> None:
    path = data_dir / "pneumoniamnist" / "pneumoniamnist.npz"
    counts = {split: len(open_folder(path, npz_split=split).items) for split in ("train", "val", "test")}
    assert counts == {"train": 4708, "val": 524, "test": 624}
    source = open_folder(path, npz_split="val")
    assert choose_size(source, None) == (32, 32)
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(source.items[17].read().voxels[0], arrays["val_images"][17])


def test_a_volume_stored_as_lps_is_turned_to_ras_with_every_voxel_in_place(data_dir: Path) -> None:
    path = data_dir / "ct-volumes" / "mr_abdomen_3mm_20slices.nii.gz"
    stored = nib.load(path)
    assert nib.aff2axcodes(stored.affine) == ("L", "P", "S")
    image = read_image(path)
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    values = np.asarray(stored.dataobj)
    index = np.random.default_rng(0).integers(0, values.shape, (50, 3))
    there = np.linalg.inv(image.affine) @ stored.affine @ np.c_[index, np.ones(50)].T
    i, j, k = np.round(there[:3]).astype(int)
    np.testing.assert_allclose(image.voxels[0, i, j, k], values[tuple(index.T)], rtol=1e-6)


def test_hounsfield_units_are_kept(data_dir: Path) -> None:
    voxels = read_image(data_dir / "ct-volumes" / "ct_abdomen_pelvis_3mm.nii.gz").voxels
    assert np.median(voxels[voxels < -900]) < -990  # air
    assert 20 < np.median(voxels[(voxels > -20) & (voxels < 200)]) < 80  # soft tissue
