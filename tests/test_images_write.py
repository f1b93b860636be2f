"""Synthetic images on disk: they say what they are, and come back as they were drawn."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lichen.errors import ImageError
from lichen.images import read_image, sample_suffix, write_sample

AFFINE = np.array([[1.5, 0, 0, -20], [0, 1.5, 0.1, -31], [0, -0.1, 1.5, 7], [0, 0, 0, 1]])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(channels=st.integers(1, 6), dims=st.sampled_from([2, 3]), seed=st.integers(0, 999))
def test_a_sample_comes_back_within_the_quantisation_of_its_format(
    tmp_path: Path, channels: int, dims: int, seed: int
) -> None:
    numbers = np.random.default_rng(seed)
    voxels = numbers.uniform(-1, 1, (channels, *numbers.integers(2, 9, dims))).astype(np.float32)
    path = tmp_path / f"sample{sample_suffix(channels, dims)}"
    write_sample(path, voxels, AFFINE, {})
    image = read_image(path)
    full_scale, step = 1.0, 1e-6
    if path.suffix == ".png":
        full_scale = 65535 if channels == 1 else 255
        step = 1.01 / full_scale
    else:
        np.testing.assert_allclose(image.affine, AFFINE, rtol=1e-6)
    np.testing.assert_allclose(image.voxels / full_scale * 2 - 1, voxels, atol=step)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_sample_with_the_same_input_has_the_same_bytes(tmp_path: Path, channels: int, dims: int) -> None:
    voxels = np.random.default_rng(0).uniform(-1, 1, (channels, *[8] * dims)).astype(np.float32)
    contents = []
    for folder in ("a", "b"):
        path = tmp_path / folder / f"sample-000001{sample_suffix(channels, dims)}"
        write_sample(path, voxels, AFFINE, {"seed": 3})
        contents.append([file.read_bytes() for file in sorted((tmp_path / folder).iterdir())])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


def test_the_sidecar_says_that_the_image_is_synthetic_whatever_is_given(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.png", np.zeros((1, 4, 4), np.float32), AFFINE, {"synthetic": False, "seed": 5})
    sidecar = json.loads((tmp_path / "s.json").read_text())
    assert sidecar == {"synthetic": True, "seed": 5, "affine": AFFINE.tolist()}


def test_the_image_file_itself_says_that_it_is_synthetic(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.png", np.zeros((1, 4, 4), np.float32), AFFINE, {})
    write_sample(tmp_path / "v.nii.gz", np.zeros((1, 4, 4, 4), np.float32), AFFINE, {})
    with PIL.Image.open(tmp_path / "s.png") as picture:
        assert picture.info["Synthetic"] == "true"
        assert "synthetic image" in picture.info["Description"]
        assert picture.mode == "I;16"
    volume = nib.load(tmp_path / "v.nii.gz")
    assert volume.header["descrip"].item().startswith(b"lichen: synthetic image")
    assert volume.get_data_dtype() == np.float32


def test_a_colour_sample_that_is_gray_by_chance_keeps_its_channels(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.png", np.full((3, 4, 4), -1, np.float32), AFFINE, {})
    assert read_image(tmp_path / "s.png").voxels.shape == (3, 4, 4)


def test_values_beyond_the_range_are_clipped(tmp_path: Path) -> None:
    write_sample(tmp_path / "s.png", np.array([[[-3.0, 3.0]]], np.float32), AFFINE, {})
    np.testing.assert_array_equal(read_image(tmp_path / "s.png").voxels, [[[0, 65535]]])


def test_a_sample_that_is_no_number_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="NaN or infinite"):
        write_sample(tmp_path / "s.png", np.full((1, 4, 4), np.nan, np.float32), AFFINE, {})
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_does_not_fit_the_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot hold 1 channels in 3 dimensions") as raised:
        write_sample(tmp_path / "s.png", np.zeros((1, 4, 4, 4), np.float32), AFFINE, {})
    assert raised.value.fix == "name it *.nii.gz"
