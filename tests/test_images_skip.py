"""Going on without single images that cannot be used."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from lichen.chain import run
from lichen.cli import main
from lichen.config import ImagesConfig
from lichen.errors import ImageError
from lichen.images import (
    Item,
    Skipped,
    choose_size,
    load_set,
    open_folder,
    open_source,
    split_by_patient,
    write_sample,
)
from lichen.images.phantoms import phantom_image
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings

GOOD = (np.arange(400) % 251).astype(np.uint8).reshape(20, 20)


def pictures(folder: Path, count: int = 8) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        PIL.Image.fromarray(GOOD + number).save(folder / f"p{number}.png")
    return folder


def colour(path: Path) -> None:
    PIL.Image.fromarray(np.stack([GOOD, GOOD // 2, GOOD // 3], axis=2)).save(path)


def volume(path: Path, shape: tuple[int, ...] = (1, 8, 8, 8)) -> None:
    write_sample(path, np.zeros(shape, np.float32), np.eye(4), {})


def test_bad_images_are_left_out_and_listed_without_the_folder(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "a b")
    (folder / "p1.png").write_bytes((folder / "p1.png").read_bytes()[:60])
    (folder / "p3.png").write_bytes(b"")
    colour(folder / "p0.png")
    items = open_folder(folder).items
    with pytest.raises(ImageError):
        load_set(items, (16, 16))
    finished: list[int] = []
    images = load_set(items, (16, 16), skip_bad=True, step=finished.append)
    assert images.names == tuple(f"p{number}.png" for number in (2, 4, 5, 6, 7)) == images.patients
    assert len(images.voxels) == 5
    assert [skipped.name for skipped in images.skipped] == ["p0.png", "p1.png", "p3.png"]
    # the first is the odd one out, not all the others
    assert images.skipped[0].reason == "p0.png has 3 channels and the others have 1"
    assert images.skipped[1].reason.startswith("p1.png cannot be read as PNG, JPEG or TIFF")
    assert not any(str(tmp_path) in skipped.reason for skipped in images.skipped)
    assert sum(finished) == 8
    kept = load_set([item for item in items if item.name in images.names], (16, 16))
    assert images.voxels.equal(kept.voxels)
    np.testing.assert_array_equal(images.affine, kept.affine)


def test_the_cache_gives_the_same_images_and_the_same_list(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images")
    (folder / "p2.png").write_bytes(b"no picture")
    items = open_folder(folder).items
    fresh = load_set(items, (16, 16), skip_bad=True)
    filled, mapped = (load_set(items, (16, 16), skip_bad=True, cache_dir=tmp_path / "c") for _ in range(2))
    for images in (filled, mapped):
        assert images.voxels.equal(fresh.voxels)
        assert (images.names, images.skipped) == (fresh.names, fresh.skipped)
    assert fresh.skipped[0].name == "p2.png"


def test_the_number_of_channels_may_be_said_beforehand(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "images", 3)
    colour(folder / "p1.png")
    items = open_folder(folder).items
    assert load_set(items, (16, 16), skip_bad=True, channels=3).names == ("p1.png",)
    with pytest.raises(ImageError, match=r"p0\.png has 1 channels and the others have 3"):
        load_set(items[:1], (16, 16), channels=3)


def test_if_nothing_is_left_the_first_reason_is_told(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    items = open_folder(tmp_path).items
    with pytest.raises(ImageError, match=r"none of 2 images can be used; the first: .*a\.png cannot be read"):
        load_set(items, (16, 16), skip_bad=True)


def test_bad_headers_and_flat_scouts_leave_axes_and_grid_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"no volume")
    volume(tmp_path / "b.nii.gz", (1, 8, 8, 1))
    for name in "cdef":
        volume(tmp_path / f"{name}.nii.gz", (1, 16, 8, 8))
    source = open_folder(tmp_path, skip_bad=True)
    assert source.spatial_dims == 3
    with pytest.raises(ImageError, match=r"a\.nii\.gz cannot be read"):
        choose_size(source, None)
    size = choose_size(source, None, skip_bad=True)
    assert size == (16, 8, 8)
    images = load_set(source.items, size, skip_bad=True)
    assert [skipped.name for skipped in images.skipped] == ["a.nii.gz", "b.nii.gz"]
    assert images.skipped[1].reason == "b.nii.gz has 2 spatial axes and the others have 3"


def test_a_wrong_table_still_stops(tmp_path: Path) -> None:
    pictures(tmp_path, 2)
    (tmp_path / "metadata.csv").write_text("file,patient\np0.png,P\np9.png,P\n")
    with pytest.raises(ImageError, match=r"lists p9\.png, which is not in"):
        open_folder(tmp_path, skip_bad=True)


def test_the_folder_is_cut_from_the_reason_wherever_it_stands() -> None:
    item = Item("x/a.png", "a", read=lambda: pytest.fail("nothing is decoded"), home="/data/scans/")
    error = ImageError("/data/scans/x/a.png cannot be read: '/data/scans/x/a.png' is empty", fix="")
    assert item.left_out(error) == Skipped("x/a.png", "x/a.png cannot be read: 'x/a.png' is empty")


def test_a_run_goes_on_tells_the_user_and_lists_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    for patient in range(12):
        unit = np.clip(phantom_image("2d", 1, patient, 0).voxels[0] * 40, 0, 65535).astype(np.uint16)
        PIL.Image.fromarray(unit).save(folder / f"p{patient:02}.png")
    (folder / "p03.png").write_bytes(b"no picture")
    config = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", 2))
    images = replace(config.images, path=folder, skip_bad=True, window=(0.0, 60000.0))
    out = RunFolder(tmp_path / "run")
    run(replace(config, images=images), out, command="lichen run")
    told = capsys.readouterr().err
    assert "1 of 12 images left out" in told
    assert "p03.png cannot be read" in told
    summary = json.loads(out.summary.read_text())
    (skipped,) = summary["images"]["skipped"]
    assert skipped["name"] == "p03.png"
    assert str(tmp_path) not in skipped["reason"]
    assert summary["images"]["train_images"] + summary["images"]["held_out_images"] == 11
    words = ["audit", "--run", str(out.path), "--synthetic", str(out.samples), "--quiet", "--json"]
    with pytest.raises(SystemExit):
        main([*words, "--out", str(tmp_path / "again")])
    again = json.loads(capsys.readouterr().out)
    assert again["counts"]["skipped"] == {"synthetic": 0, "train": 0, "reference": 0}, "a run trained on the others"
    trained_on, _ = split_by_patient(open_source(images), images.held_out_fraction, images.split_seed)
    (folder / next(item.name for item in trained_on if item.name != "p03.png")).write_bytes(b"no picture")
    with pytest.raises(SystemExit):
        main([*words, "--out", str(tmp_path / "other")])
    assert "training images are not those" in capsys.readouterr().err, "broken since, it may have been copied"
    stopping = ImagesConfig(path=folder)
    with pytest.raises(ImageError, match="cannot be read"):
        load_set(open_folder(folder).items, (32, 32), stopping.fit)
