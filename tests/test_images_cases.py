"""Several files of one case become the channels of one image."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from lichen.errors import ConfigError, ImageError
from lichen.images import Source, load_set, open_folder

CHANNELS = ("t1", "t2", "flair")


def volume(
    path: Path, value: float, shape: tuple[int, ...] = (4, 5, 6), affine: NDArray[np.float64] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.full(shape, value, np.float32), np.eye(4) if affine is None else affine).to_filename(path)


def content(source: Source) -> dict[str, list[float]]:
    """The value of each channel by the image's name."""
    return {item.name: [float(channel.mean()) for channel in item.read().voxels] for item in source.items}


def test_name_endings_make_cases_in_the_order_of_the_setting_and_leave_label_maps_alone(tmp_path: Path) -> None:
    for case in range(2):
        for number, ending in enumerate(["flair", "T1", "t1ce", "t2", "seg"]):
            volume(tmp_path / f"BraTS_{case}" / f"BraTS_{case}_{ending}.nii.gz", 10 * case + number)
    source = open_folder(tmp_path, channels=CHANNELS)
    assert content(source) == {"BraTS_0/BraTS_0": [1, 3, 0], "BraTS_1/BraTS_1": [11, 13, 10]}
    assert [item.patient for item in source.items] == ["BraTS_0/BraTS_0", "BraTS_1/BraTS_1"]
    assert content(open_folder(tmp_path, channels=("t1ce", "t1")))["BraTS_0/BraTS_0"] == [2, 1]


@pytest.mark.parametrize("pattern", ["{case}_{channel}.nii.gz", "{case}-{channel}.nii", "{case}/{channel}.nii.gz"])
def test_an_ending_follows_a_separator_or_is_the_whole_name(tmp_path: Path, pattern: str) -> None:
    for number, channel in enumerate(CHANNELS):
        volume(tmp_path / pattern.format(case="p7", channel=channel), number)
        volume(tmp_path / pattern.format(case="p8", channel=channel), number)
    assert content(open_folder(tmp_path, channels=CHANNELS)) == {"p7": [0, 1, 2], "p8": [0, 1, 2]}


def test_numbered_channels_keep_their_zeros(tmp_path: Path) -> None:
    for number in range(3):
        volume(tmp_path / f"la_{7:03}_{number:04}.nii.gz", number)
    assert content(open_folder(tmp_path, channels=("0002", "0000"))) == {"la_007": [2, 0]}


def test_one_ending_picks_files_under_their_own_names(tmp_path: Path) -> None:
    for name in ("a_T1w", "a_T2w", "b_T1w"):
        volume(tmp_path / f"{name}.nii.gz", 1)
    assert list(content(open_folder(tmp_path, channels=("T1w",)))) == ["a_T1w.nii.gz", "b_T1w.nii.gz"]


def listed(folder: Path, rows: str, header: str = "file,patient,case,channel") -> Path:
    """A folder with volumes x0 ... x5 and a table."""
    for number in range(6):
        volume(folder / f"x{number}.nii.gz", number)
    (folder / "metadata.csv").write_text("\n".join([header, *rows.split()]) + "\n")
    return folder


WHOLE = "x0.nii.gz,P,v1,t1 x1.nii.gz,P,v1,t2 x2.nii.gz,P,v2,t2 x3.nii.gz,P,v2,t1 x4.nii.gz,Q,v3,t1 x5.nii.gz,Q,v3,t2"


def test_a_table_makes_cases_in_the_order_of_its_channels_or_of_the_setting(tmp_path: Path) -> None:
    source = open_folder(listed(tmp_path, WHOLE))
    assert content(source) == {"v1": [0, 1], "v2": [3, 2], "v3": [4, 5]}
    assert [item.patient for item in source.items] == ["P", "P", "Q"]
    assert content(open_folder(tmp_path, channels=("t2", "t1")))["v1"] == [1, 0]
    assert content(open_folder(tmp_path, channels=("t2",)))["v1"] == [1]


def test_a_table_of_patients_goes_with_name_endings(tmp_path: Path) -> None:
    for name in ("a_t1", "a_t2", "b_t1", "b_t2"):
        volume(tmp_path / f"{name}.nii.gz", 1)
    rows = [f"{case}_{channel}.nii.gz,P" for case in "ab" for channel in ("t1", "t2")]
    (tmp_path / "metadata.csv").write_text("\n".join(["file,patient", *rows]))
    source = open_folder(tmp_path, channels=("t1", "t2"))
    assert [(item.name, item.patient) for item in source.items] == [("a", "P"), ("b", "P")]
    (tmp_path / "metadata.csv").write_text("\n".join(["file,patient", *rows]).replace("a_t2.nii.gz,P", "a_t2.nii.gz,Q"))
    with pytest.raises(ImageError, match="a belong to several patients: P, Q"):
        open_folder(tmp_path, channels=("t1", "t2"))


@pytest.mark.parametrize(
    ("rows", "channels", "message"),
    [
        (WHOLE.replace("v1,t2", "v1,t1"), (), r"channel t1 of the case v1 twice: x0\.nii\.gz and x1\.nii\.gz"),
        (WHOLE.replace("Q,v3", "Q,v2"), (), "the case v2 to two patients, P and Q"),
        (WHOLE.replace("v3,t2", "v3,"), (), r"no case or no channel for x5\.nii\.gz in line 7"),
        (WHOLE, ("t1", "flair"), "no row of the table has the channel flair; channels are: t1, t2"),
        (WHOLE.replace("v3,t2", "v3,pd"), (), "the case v1 has no pd, only"),
    ],
)
def test_a_table_of_cases_that_cannot_be_used_is_refused(
    tmp_path: Path, rows: str, channels: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        open_folder(listed(tmp_path, rows), channels=channels)


def test_a_case_without_one_of_its_channels_is_an_error_or_left_out(tmp_path: Path) -> None:
    for name in ("a_t1", "a_t2", "b_t1", "c_t1", "c_t2"):
        volume(tmp_path / f"{name}.nii.gz", 1)
    volume(tmp_path / "c_T1.nii", 1)
    with pytest.raises(ImageError, match=r"the case b has no t2, only b_t1\.nii\.gz") as raised:
        open_folder(tmp_path, channels=("t1", "t2"))
    assert "--images.skip-bad" in raised.value.fix
    source = open_folder(tmp_path, channels=("t1", "t2"), skip_bad=True)
    assert [item.name for item in source.items] == ["a"]
    assert [skipped.name for skipped in source.skipped] == ["b", "c"]
    assert source.skipped[1].reason == "c has one channel in two files, c_T1.nii and c_t1.nii.gz"


def test_no_file_of_the_wanted_ending_is_an_error_that_lists_the_endings(tmp_path: Path) -> None:
    for name in ("a_T1w", "b_T1w", "b_mask"):
        volume(tmp_path / f"{name}.nii.gz", 1)
    with pytest.raises(ImageError, match=r"that ends in t1; endings are: T1w \(2\), mask \(1\)"):
        open_folder(tmp_path, channels=("t1",))


@pytest.mark.parametrize(
    ("shape", "affine", "words"),
    [
        ((4, 5, 7), np.eye(4), "4 x 5 x 6 of 1 x 1 x 1 mm and 4 x 5 x 7 of 1 x 1 x 1 mm"),
        ((4, 5, 6), np.diag([1, 1, 1.2, 1]), "4 x 5 x 6 of 1 x 1 x 1 mm and 4 x 5 x 6 of 1 x 1 x 1.2 mm"),
        ((4, 5, 6), np.eye(4) + 0.5 * np.eye(4, k=3), "at another place"),
    ],
)
def test_files_of_a_case_on_different_voxels_are_an_error_that_names_both(
    tmp_path: Path, shape: tuple[int, ...], affine: NDArray[np.float64], words: str
) -> None:
    volume(tmp_path / "a_t1.nii.gz", 1)
    volume(tmp_path / "a_t2.nii.gz", 2, shape, affine)
    (item,) = open_folder(tmp_path, channels=("t1", "t2")).items
    with pytest.raises(ImageError, match=words) as raised:
        item.read()
    assert "a_t1.nii.gz and" in raised.value.problem
    assert "a_t2.nii.gz are channels of one case" in raised.value.problem


def test_files_of_a_case_may_be_stored_in_other_orders_and_differ_by_rounding(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    plain = nib.Nifti1Image(values, np.diag([1.0, 1.0, 3.0, 1.0]))
    plain.to_filename(tmp_path / "a_t1.nii.gz")
    turned = plain.as_reoriented(nib.orientations.axcodes2ornt("LPS"))
    nib.Nifti1Image(turned.dataobj, turned.affine + 1e-5).to_filename(tmp_path / "a_t2.nii.gz")
    (item,) = open_folder(tmp_path, channels=("t1", "t2")).items
    np.testing.assert_array_equal(item.read().voxels, np.stack([values, values]))


def test_a_file_of_a_case_has_one_channel(tmp_path: Path) -> None:
    volume(tmp_path / "a_t1.nii.gz", 1)
    volume(tmp_path / "a_t2.nii.gz", 1, (4, 5, 6, 2))
    (item,) = open_folder(tmp_path, channels=("t1", "t2")).items
    with pytest.raises(ImageError, match=r"a_t2\.nii\.gz is one channel of a case and has 2 itself"):
        item.read()


def test_the_order_of_the_channels_is_part_of_what_the_cache_is_asked_for(tmp_path: Path) -> None:
    images = tmp_path / "images"
    for name, values in (("t1", np.arange(512.0)), ("t2", -np.arange(512.0))):
        images.mkdir(exist_ok=True)
        nib.Nifti1Image(values.reshape(8, 8, 8).astype(np.float32), np.eye(4)).to_filename(images / f"a_{name}.nii.gz")
    first, second = (
        load_set(open_folder(images, channels=order).items, (8, 8, 8), cache_dir=tmp_path).voxels
        for order in (("t1", "t2"), ("t2", "t1"))
    )
    assert first.equal(second.flip(1))
    assert not first.equal(second)


@pytest.mark.parametrize("channels", [("t1", "T1"), ("t1", "")])
def test_channels_have_different_names(channels: tuple[str, ...]) -> None:
    from lichen.config import ImagesConfig

    with pytest.raises(ConfigError, match=r"images\.channels"):
        ImagesConfig(channels=channels)
