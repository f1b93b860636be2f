"""``lichen images``: counts, problems and the montage."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest

from lichen.cli import main
from lichen.config import ImagesConfig
from lichen.errors import ImageError
from lichen.images import check_name, open_folder, survey, write_montage
from lichen.images.montage import views


def volume(path: Path, *shape: int, spacing: float = 1.0) -> None:
    values = np.random.default_rng(len(path.name)).uniform(0, 100, shape).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([spacing, spacing, 2 * spacing, 1.0])), path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five volumes of three patients, one of them damaged."""
    home = tmp_path / "scans"
    home.mkdir()
    for number in range(4):
        volume(home / f"{number}.nii", 10, 12, 8)
    (home / "4.nii").write_bytes(b"no volume")
    rows = "".join(f"{number}.nii,P{number % 3}\n" for number in range(5))
    (home / "metadata.csv").write_text("file,patient\n" + rows)
    return home


def test_a_survey_counts_what_can_be_used_and_lists_the_rest(folder: Path) -> None:
    seen: list[int] = []
    found = survey(open_folder(folder, skip_bad=True), ImagesConfig(held_out_fraction=0.34), step=seen.append)
    assert (found.images, found.patients, found.spatial_dims) == (4, 3, 3)
    assert (found.train_patients, found.held_out_patients) == (2, 1)
    assert found.shapes == (("10 x 12 x 8", 4),)
    assert found.spacings_mm == (("1 x 1 x 2", 4),)
    assert found.channels == ((1, 4),)
    assert found.values is not None
    assert 0 < found.values[0] < 5
    assert 95 < found.values[1] < 100
    assert [problem.name for problem in found.problems] == ["4.nii"]
    assert sum(seen) == 5


def test_an_image_of_another_number_of_channels_is_a_problem(folder: Path) -> None:
    volume(folder / "4.nii", 10, 12, 8, 2)
    found = survey(open_folder(folder), ImagesConfig())
    assert found.images == 4
    assert "has 2 channels and most have 1" in found.problems[0].reason


def test_the_command_prints_it_and_succeeds_if_anything_can_be_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["images", str(folder), "--json", "--quiet"])
    assert caught.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 4
    assert found["problems"][0]["name"] == "4.nii"
    assert "fix" not in found["problems"][0]
    for path in folder.glob("[0-3].nii"):
        path.write_bytes(b"")
    with pytest.raises(SystemExit) as caught:
        main(["images", str(folder), "--quiet"])
    assert caught.value.code == 2
    assert "0.nii cannot be read" in capsys.readouterr().err


def test_a_montage_says_in_its_name_that_it_shows_patients_and_only_the_user_can_read_it(
    folder: Path, tmp_path: Path
) -> None:
    items = open_folder(folder, skip_bad=True).items
    with pytest.raises(ImageError, match="its name does not say so"):
        write_montage(tmp_path / "montage.png", items)
    path = tmp_path / "patient-images.png"
    check_name(path)
    assert write_montage(path, items) == 4
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with PIL.Image.open(path) as picture:
        assert picture.size == (4 * 162, 3 * 160 + 2)


def test_volumes_are_shown_as_radiologists_look_at_them() -> None:
    volume = np.zeros((6, 8, 10), np.float32)
    volume[5, 4, 5] = 1  # right
    volume[3, 7, 5] = 2  # anterior
    volume[3, 4, 9] = 3  # superior
    axial, coronal, sagittal = views(volume)
    assert axial[3, 0] == 1  # the patient's right is on the left
    assert axial[0, 2] == 2  # anterior on top
    assert coronal[0, 2] == 3  # superior on top
    assert sagittal[4, 0] == 2  # anterior on the left
