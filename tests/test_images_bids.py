"""BIDS roots in, BIDS derivatives out."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lichen.errors import ImageError
from lichen.images import Source, open_folder, read_image, write_bids, write_sample


def volume(path: Path, shape: tuple[int, ...] = (4, 4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)).to_filename(path)


def root(folder: Path, *names: str, described: bool = True) -> Path:
    if described:
        (folder / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    for name in names:
        volume(folder / f"{name}.nii.gz")
    return folder


def found(source: Source) -> list[tuple[str, str]]:
    return [(item.name, item.patient) for item in source.items]


SESSIONS = (
    "sub-01/ses-a/anat/sub-01_ses-a_T1w",
    "sub-01/ses-b/anat/sub-01_ses-b_T1w",
    "sub-02/anat/sub-02_T1w",
    "derivatives/tool/sub-01/anat/sub-01_desc-x_T1w",
    "sourcedata/sub-01/anat/sub-01_T1w",
)


@pytest.mark.parametrize("described", [True, False])
def test_sessions_of_a_subject_are_one_patient_and_derivatives_are_left_alone(tmp_path: Path, described: bool) -> None:
    root(tmp_path, *SESSIONS, described=described)
    (tmp_path / "participants.tsv").write_text("participant_id\tgroup\nsub-01\tcontrol\nsub-02\tcontrol\n")
    source = open_folder(tmp_path)
    assert found(source) == [(f"{name}.nii.gz", name[:6]) for name in SESSIONS[:3]]
    assert source.patients_known
    assert "sub-*" in source.note


def test_images_of_several_kinds_have_to_be_chosen_from(tmp_path: Path) -> None:
    root(tmp_path, *SESSIONS, "sub-01/ses-a/anat/sub-01_ses-a_T2w", "sub-01/ses-b/anat/sub-01_ses-b_T2w")
    volume(tmp_path / "sub-02/func/sub-02_task-rest_bold.nii.gz", (4, 4, 4, 6))
    with pytest.raises(ImageError, match=r"T1w \(3\), T2w \(2\), bold \(1\)") as raised:
        open_folder(tmp_path)
    assert "--images.channels, e.g. T1w" in raised.value.fix
    assert len(found(open_folder(tmp_path, channels=("T1w",)))) == 3
    assert found(open_folder(tmp_path, channels=("bold",)))[5] == (
        "sub-02/func/sub-02_task-rest_bold.nii.gz[5]",
        "sub-02",
    )
    source = open_folder(tmp_path, channels=("T1w", "T2w"), skip_bad=True)
    assert found(source) == [(f"sub-01/ses-{s}/anat/sub-01_ses-{s}", "sub-01") for s in "ab"]
    assert source.items[0].read().voxels.shape == (2, 4, 4, 4)
    assert [skipped.name for skipped in source.skipped] == ["sub-02/anat/sub-02"]


def test_a_column_of_participants_joins_subjects_if_it_is_named(tmp_path: Path) -> None:
    root(tmp_path, *SESSIONS[2:], "sub-03/anat/sub-03_T1w")
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tfamily\nsub-02\tF1\nsub-03\tF1\n")
    assert {patient for _, patient in found(open_folder(tmp_path, patient_column="family"))} == {"F1"}
    with pytest.raises(ImageError, match="has no column famly; it has: participant_id, family"):
        open_folder(tmp_path, patient_column="famly")
    table.write_text("participant_id\tfamily\nsub-02\tF1\nsub-03\tn/a\n")
    with pytest.raises(ImageError, match=r"has no family for sub-03, whose image is sub-03/anat/sub-03_T1w\.nii\.gz"):
        open_folder(tmp_path, patient_column="family")
    table.unlink()
    with pytest.raises(ImageError, match=r"participants\.tsv has no column participant_id"):
        open_folder(tmp_path, patient_column="family")


@pytest.mark.parametrize("table", ["metadata.csv", "participants.tsv"])
def test_a_table_of_files_comes_before_bids(tmp_path: Path, table: str) -> None:
    root(tmp_path, "sub-01/anat/sub-01_T1w", "sub-01/func/sub-01_bold")
    separator = "," if table.endswith("csv") else "\t"
    (tmp_path / table).write_text(f"file{separator}patient\nsub-01/anat/sub-01_T1w.nii.gz{separator}P\n")
    assert found(open_folder(tmp_path)) == [("sub-01/anat/sub-01_T1w.nii.gz", "P")]


def test_folders_that_only_begin_like_bids_are_ordinary_folders(tmp_path: Path) -> None:
    root(tmp_path, "sub-a/scan1", "sub-a/scan2", described=False)
    assert not open_folder(tmp_path).patients_known


def test_a_link_into_the_annex_of_the_root_is_an_image_and_one_out_of_it_is_refused(tmp_path: Path) -> None:
    home = root_folder = tmp_path / "set"
    home.mkdir()
    root(root_folder, ".git/annex/objects/KEY")
    folder = home / "sub-01/anat"
    folder.mkdir(parents=True)
    (folder / "sub-01_T1w.nii.gz").symlink_to("../../.git/annex/objects/KEY.nii.gz")
    assert found(open_folder(home)) == [("sub-01/anat/sub-01_T1w.nii.gz", "sub-01")]
    (tmp_path / "elsewhere").mkdir()
    (home / "sub-02").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="sub-02 is a link that leads out of the folder"):
        open_folder(home)


def test_a_link_to_a_file_that_was_never_fetched_is_an_error_of_that_image(tmp_path: Path) -> None:
    root(tmp_path, "sub-01/anat/sub-01_T1w")
    (tmp_path / "sub-01/anat/sub-01_run-2_T1w.nii.gz").symlink_to("nowhere.nii.gz")
    bad = next(item for item in open_folder(tmp_path, skip_bad=True).items if "run-2" in item.name)
    with pytest.raises(ImageError, match=r"sub-01_run-2_T1w\.nii\.gz is a link that leads to nothing"):
        bad.read()


def samples(folder: Path, channels: int) -> list[Path]:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    paths = [folder / f"sample-{index:06}.nii.gz" for index in (0, 7)]
    for path, index in zip(paths, (0, 7), strict=True):
        voxels = np.random.default_rng(index).uniform(-1, 1, (channels, 4, 5, 6)).astype(np.float32)
        write_sample(path, voxels, affine, {"index": index, "seed": 3})
    return paths


def test_samples_become_a_derivative_that_says_so_and_is_read_again(tmp_path: Path) -> None:
    drawn = samples(tmp_path / "samples", 2)
    write_bids(drawn, tmp_path / "bids", ["T1w", "T2w"])
    about = json.loads((tmp_path / "bids/dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"][0]["Name"] == "lichen"
    source = open_folder(tmp_path / "bids", channels=("T1w", "T2w"))
    assert [item.patient for item in source.items] == ["sub-synthetic000000", "sub-synthetic000007"]
    for path, item in zip(drawn, source.items, strict=True):
        np.testing.assert_array_equal(item.read().voxels, read_image(path).voxels)
        np.testing.assert_array_equal(item.read().affine, read_image(path).affine)
    sidecar = json.loads((tmp_path / "bids/sub-synthetic000007/anat/sub-synthetic000007_T2w.json").read_text())
    assert (sidecar["synthetic"], sidecar["index"], sidecar["seed"]) == (True, 7, 3)
    volume = nib.load(tmp_path / "bids/sub-synthetic000007/anat/sub-synthetic000007_T2w.nii.gz")
    assert b"synthetic" in volume.header["descrip"].item()


def test_what_is_no_audited_volume_of_lichen_does_not_become_a_derivative(tmp_path: Path) -> None:
    drawn = samples(tmp_path / "samples", 1)
    with pytest.raises(ImageError, match="has 1 channels, and 2 suffixes"):
        write_bids(drawn, tmp_path / "a", ["T1w", "T2w"])
    with pytest.raises(ImageError, match="is not empty"):
        write_bids(drawn, tmp_path / "samples", ["T1w"])
    with pytest.raises(ImageError, match="no BIDS suffix"):
        write_bids(drawn, tmp_path / "b", ["../T1w"])
    volume(tmp_path / "real.nii.gz")
    with pytest.raises(ImageError, match=r"real\.json cannot be read"):
        write_bids([tmp_path / "real.nii.gz"], tmp_path / "c", ["T1w"])
    (tmp_path / "real.json").write_text('{"index": 1}')
    with pytest.raises(ImageError, match="does not say"):
        write_bids([tmp_path / "real.nii.gz"], tmp_path / "d", ["T1w"])
    with pytest.raises(ImageError, match="is a picture"):
        write_bids([tmp_path / "real.png"], tmp_path / "e", ["T1w"])
