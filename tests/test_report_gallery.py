"""Which samples may be seen: the gate that keeps copies of patients out of the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lichen.files import sha256_of
from lichen.report.gallery import MOST_SHOWN, Gallery, gallery
from lichen.report.thumbnails import MAX_SIDE, ThumbnailError, thumbnail
from lichen.report.verdict import Finding


def finding(name: str, is_copy: bool | None = False) -> Finding:
    return Finding(name, is_copy, False, "patient-1.png", 0.5, "pearson", 0.5)


def sample(folder: Path, name: str, sidecar: object = None) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), 30_000, dtype=np.uint16)).save(folder / name, format="PNG")
    told = {"synthetic": True, "checkpoint_sha256": "aa"} if sidecar is None else sidecar
    (folder / name).with_name(name.partition(".")[0] + ".json").write_text(json.dumps(told), encoding="utf-8")
    return name


def shown(result: Gallery) -> list[str]:
    return [tile.name for tile in result.tiles if tile.picture is not None]


def test_only_an_image_with_a_finding_of_its_own_that_is_no_copy_is_shown(tmp_path: Path) -> None:
    names = [sample(tmp_path, f"sample-00000{index}.png") for index in range(4)]
    findings = [finding(names[0]), finding(names[1], is_copy=True), finding(names[2], is_copy=None)]
    result = gallery(tmp_path, findings)
    assert shown(result) == names[:1]
    assert [(tile.name, tile.withheld) for tile in result.tiles if tile.withheld] == [
        (names[1], "withheld: copy of a training image")
    ]
    assert result.notes == ("2 are not shown, because the audit has not compared them.",)


@pytest.mark.parametrize("other", [True, None])
def test_of_two_findings_on_one_image_the_graver_counts(tmp_path: Path, other: bool | None) -> None:
    name = sample(tmp_path, "sample-000000.png")
    assert shown(gallery(tmp_path, [finding(name), finding(name, other)])) == []
    assert shown(gallery(tmp_path, [finding(name, other), finding(name)])) == []


def test_a_name_that_climbs_out_of_the_folder_is_never_read(tmp_path: Path) -> None:
    sample(tmp_path, "sample-000000.png")
    samples = tmp_path / "run" / "samples"
    samples.mkdir(parents=True)
    names = ["../../sample-000000.png", str(tmp_path / "sample-000000.png"), "../sample-000000.png"]
    result = gallery(samples, [finding(name) for name in names])
    assert result.tiles == ()


def test_a_link_is_no_sample_even_if_the_audit_passed_its_name(tmp_path: Path) -> None:
    sample(tmp_path / "samples", "sample-000000.png")
    sample(tmp_path, "patient.png")
    (tmp_path / "samples" / "sample-000000.png").unlink()
    (tmp_path / "samples" / "sample-000000.png").symlink_to(tmp_path / "patient.png")
    assert gallery(tmp_path / "samples", [finding("sample-000000.png")]).tiles == ()


@pytest.mark.parametrize("name", ["scan.png", "sample-1.jpg", "sample-.png", "xsample-1.png", "sample-1.png.png"])
def test_a_file_that_is_not_named_as_a_sample_is_never_shown(tmp_path: Path, name: str) -> None:
    sample(tmp_path, name)
    assert gallery(tmp_path, [finding(name)]).tiles == ()


def test_a_sample_that_took_the_place_of_an_audited_one_is_not_shown(tmp_path: Path) -> None:
    name = sample(tmp_path, "sample-000000.png")
    audited = replace(finding(name), sha256=sha256_of(tmp_path / name))
    assert shown(gallery(tmp_path, [audited])) == [name]
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"\0")
    assert shown(gallery(tmp_path, [audited])) == []


@pytest.mark.parametrize("sidecar", [{}, {"synthetic": False}, {"synthetic": "true"}, []])
def test_an_image_whose_sidecar_does_not_say_that_it_is_synthetic_is_not_shown(tmp_path: Path, sidecar: object) -> None:
    name = sample(tmp_path, "sample-000000.png", sidecar)
    assert shown(gallery(tmp_path, [finding(name)])) == []


def test_an_image_of_another_generator_than_the_audited_one_is_not_shown(tmp_path: Path) -> None:
    name = sample(tmp_path, "sample-000000.png")
    assert shown(gallery(tmp_path, [finding(name)], "aa")) == [name]
    result = gallery(tmp_path, [finding(name)], "bb")
    assert shown(result) == []
    assert "nothing says that it is what was audited" in result.notes[0]


def test_a_gallery_is_capped_and_says_how_many_more_there_are(tmp_path: Path) -> None:
    names = [sample(tmp_path, f"sample-{index:06}.png") for index in range(MOST_SHOWN + 5)]
    result = gallery(tmp_path, [finding(name, is_copy=name == names[-1]) for name in names])
    assert len(result.tiles) == MOST_SHOWN
    assert result.notes == (
        "4 more passed the audit and are in the samples folder.",
        "1 more is withheld as a copy of a training image.",
    )


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n broken", b"GIF89a", b"\x1f\x8b broken"])
@pytest.mark.parametrize("suffix", [".png", ".nii", ".nii.gz"])
def test_a_damaged_file_gets_a_tile_that_says_so(tmp_path: Path, content: bytes, suffix: str) -> None:
    name = sample(tmp_path, f"sample-000000{suffix}")
    (tmp_path / name).write_bytes(content)
    (tile,) = gallery(tmp_path, [finding(name)]).tiles
    assert tile.picture is None
    assert "cannot be shown" in (tile.withheld or "")


def test_a_thumbnail_carries_no_metadata_of_the_file(tmp_path: Path) -> None:
    import base64

    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", "Jane Doe")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png", pnginfo=text)
    assert b"Jane Doe" in (tmp_path / "a.png").read_bytes()
    assert b"Jane Doe" not in base64.b64decode(thumbnail(tmp_path / "a.png").uri.partition(",")[2])


def test_a_large_picture_is_reduced_and_keeps_its_proportions(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((400, 800), np.uint8)).save(tmp_path / "a.png")
    picture = thumbnail(tmp_path / "a.png")
    assert (picture.width, picture.height) == (MAX_SIDE, MAX_SIDE // 2)


def test_slices_have_the_proportions_of_the_body_and_not_of_the_voxels(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((40, 20, 10), np.float32), np.diag([1.0, 2.0, 4.0, 1.0])), tmp_path / "a.nii.gz")
    picture = thumbnail(tmp_path / "a.nii.gz")
    assert (picture.width, picture.height) == (3 * 40 + 24, 40)


def test_a_volume_stands_head_up_whatever_the_order_of_its_axes(tmp_path: Path) -> None:
    voxels = np.zeros((16, 16, 16), np.float32)
    voxels[:, :, 12:] = 1.0
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "a.nii")
    nib.save(nib.Nifti1Image(voxels[:, :, ::-1], np.diag([1.0, 1.0, -1.0, 1.0])), tmp_path / "b.nii")
    assert thumbnail(tmp_path / "a.nii").uri == thumbnail(tmp_path / "b.nii").uri


def test_a_volume_too_large_to_be_a_sample_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((2_000, 2_000, 2_000))
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    (tmp_path / "a.nii").write_bytes(header.binaryblock + b"\0" * 4)
    with pytest.raises(ThumbnailError, match="size that can be shown"):
        thumbnail(tmp_path / "a.nii")
