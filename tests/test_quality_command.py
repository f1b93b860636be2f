"""lichen quality: any folder, a run, an encoder that knows nobody it compares, and what cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from labelled_images import write_labelled
from lichen.chain import compare_folders
from lichen.chain.encoding import encoder_features, encoder_steps, halved
from lichen.chain.meeting import load_samples, open_real
from lichen.config import CarbonConfig
from lichen.energy import read_traces
from lichen.errors import AuditError, ConfigError, ImageError
from lichen.images import ImageSet, load_set, open_folder, write_sample
from lichen.images.phantoms import phantom_source
from lichen.options import GridOptions, QualityOptions
from lichen.quality import measure_quality
from lichen.runs import RunFolder
from lichen.watch import watching
from test_cli import call

PARTS = {"reference": range(24), "train": range(24, 44), "new": range(44, 60)}


@pytest.fixture(scope="module")
def images() -> ImageSet:
    """One phantom picture of each of 60 patients."""
    items = [item for item in phantom_source("2d", 60).items if item.name.endswith("-0")]
    return load_set(items, (32, 32))


@pytest.fixture(scope="module")
def folders(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of pictures: real ones to compare with, others, new ones in place of synthetic ones, and noisy ones."""
    root = tmp_path_factory.mktemp("folders")
    noise = torch.randn(images.voxels.shape, generator=torch.Generator().manual_seed(0))
    for name, positions in {**PARTS, "noisy": PARTS["new"]}.items():
        for position in positions:
            voxels = images.voxels[position] + (0.3 * noise[position] if name == "noisy" else 0)
            write_sample(root / name / f"{name}-{position}.png", voxels.clamp(-1, 1).numpy(), images.affine, {})
    return {name: root / name for name in (*PARTS, "noisy")}


def quality(folders: dict[str, Path], synthetic: str, out: Path, *more: str) -> int:
    sets = ("--reference", str(folders["reference"]), "--train", str(folders["train"]))
    return call("quality", "--synthetic", str(folders[synthetic]), *sets, "--out", str(out), "--quiet", *more)


def test_new_images_of_the_same_kind_are_as_real_and_noisy_ones_are_worse(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quality(folders, "new", tmp_path / "new", "--features", "random-conv", "--json") == 0
    new = json.loads(capsys.readouterr().out)
    assert new == json.loads((tmp_path / "new" / "quality.json").read_text())
    assert quality(folders, "noisy", tmp_path / "noisy", "--features", "random-conv") == 0
    shown = capsys.readouterr().out
    assert "worse" in shown
    noisy = json.loads((tmp_path / "noisy" / "quality.json").read_text())
    findings = [{figure["name"]: figure["finding"] for figure in found["figures"]} for found in (new, noisy)]
    assert [found["kernel"] for found in findings] == ["as real", "worse"]
    assert new["counts"] == {
        "synthetic_images": 16,
        "reference_images": 24,
        "train_images": 20,
        "reference_patients": 24,
        "train_patients": 20,
        "skipped": {"synthetic": 0, "reference": 0, "train": 0},
    }
    assert "How good are the synthetic images?" in (tmp_path / "noisy" / "quality.html").read_text()


def test_its_energy_is_a_phase_of_its_own_and_no_folder_or_image_is_named(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    assert quality(folders, "new", tmp_path, "--features", "radiomics") == 0
    assert {phase.phase for phase in read_traces(RunFolder(tmp_path).traces)} >= {"read", "quality"}
    for name in ("quality.json", "quality.html"):
        text = (tmp_path / name).read_text()
        assert not any(str(folder) in text or f"{part}-44" in text for part, folder in folders.items())


def test_real_images_on_both_sides_are_left_out_of_the_reference(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quality({**folders, "train": folders["reference"]}, "new", tmp_path) == 2
    assert "every held-out patient is a training patient too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "needs synthetic images and real ones"),
        (("--synthetic", "a"), "needs synthetic images and real ones"),
        (("--run", "a", "--reference", "b"), "--run stands for --reference and --train"),
        (("--synthetic", "a", "--reference", "b", "--features", "encoder"), "trained on real images"),
        (("--synthetic", "a", "--reference", "b", "--weights", "inception"), "names no network and file"),
        (("--synthetic", "a", "--reference", "b", "--weights", "vgg=x"), "there is no network 'vgg'"),
        (("--synthetic", "a", "--reference", "b", "--weights", "inception=x"), "x does not exist"),
        (("--synthetic", "a", "--reference", "b", "--features"), "no features"),
        (("--run", "nowhere"), "nowhere has no samples"),
    ],
)
def test_what_cannot_be_compared_is_said_in_two_lines_before_anything_is_read(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("quality", *arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert words in first
    assert second.startswith("  fix: ")


def test_weights_that_are_none_are_refused_before_a_folder_is_made(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights := tmp_path / "w.pth").write_text("<html>not found</html>")
    assert quality(folders, "new", tmp_path / "out", "--weights", f"inception={weights}") == 2
    assert "is not a file of weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def some(images: ImageSet, positions: range, images_each: int = 1) -> ImageSet:
    chosen = list(positions)
    patients = tuple(f"p{position // images_each}" for position in chosen)
    return ImageSet(images.voxels[chosen], tuple(images.names[i] for i in chosen), patients, images.affine)


def test_samples_of_other_channels_than_a_run_was_trained_on_are_refused(images: ImageSet, tmp_path: Path) -> None:
    colours = images.voxels[0].expand(3, -1, -1).numpy()
    write_sample(tmp_path / "sample-0.png", colours, images.affine, {})
    with pytest.raises(ImageError, match="has 3 channels and the others have 1"):
        load_samples(open_folder(tmp_path), images, None, lambda _: None)


def test_the_encoder_knows_nobody_whom_it_compares(images: ImageSet) -> None:
    train = some(images, range(40), images_each=2)
    known, strangers = halved(train)
    assert set(known.patients) | set(strangers.patients) == set(train.patients)
    assert not set(known.patients) & set(strangers.patients)
    assert abs(len(set(known.patients)) - len(set(strangers.patients))) <= 1
    with pytest.raises(AuditError, match="there are 7; it takes 8"):
        halved(some(images, range(7)))


def test_embeddings_are_features_in_which_quality_is_measured(images: ImageSet) -> None:
    known, strangers = halved(some(images, range(24)))
    seen: list[int] = []
    features = encoder_features(known, torch.device("cpu"), steps=3, step=seen.append)
    assert sum(seen) == encoder_steps(known, 3)
    assert features(images.voxels[:5]).shape == (5, 128)
    assert np.ptp(features(torch.zeros(2, 1, 32, 32))) == 0, "an image without contrast has no embedding"
    found = measure_quality(some(images, range(24, 40)), some(images, range(40, 60)), strangers, [features])
    kernel = found.figure("kernel", features.name)
    assert kernel.real is not None
    assert kernel.real.images == len(strangers.names)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Real images with label maps in two folders; in place of synthetic ones some with right and with wrong maps."""
    root = tmp_path_factory.mktemp("labelled")
    real = {name: write_labelled(root / name, 8, 2, first=first) for name, first in (("reference", 0), ("train", 20))}
    other = write_labelled(root / "other", 10, 2, first=40)
    source = open_real(other, GridOptions(label="label_file"))
    made = load_set(source.items, (16, 16), classes=(0, 1, 5))
    for number, voxels in enumerate(made.voxels):
        elsewhere = torch.cat([voxels[:1], voxels[1:].roll((8, 8), (1, 2))])
        for name, image in (("right", voxels), ("wrong", elsewhere)):
            path = root / name / f"sample-{number:02}.nii.gz"
            write_sample(path, image.numpy(), made.affine, {}, classes=made.classes)
    return {**real, "right": root / "right", "wrong": root / "wrong"}


LEARNED = """
segmenter: {width: 4, levels: 3}
training: {images_seen: 480, batch_size: 4, learning_rate: 0.02}
"""
TASK = ("--task", "segmentation", "--images.label", "label_file", "--features", "radiomics", "--device", "cpu")


def test_a_segmenter_learns_from_right_label_maps_as_from_real_ones_and_not_from_wrong_ones(
    labelled: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (settings := tmp_path / "task.yaml").write_text(LEARNED)
    task = (*TASK, "--task-config", str(settings))
    assert quality(labelled, "right", tmp_path / "right", *task, "--json") == 0
    right = json.loads(capsys.readouterr().out)["task"]
    assert (right["train_images"], right["test_patients"]) == (16, 6)
    assert right["synthetic"]["dice"]["estimate"] > 0.7
    assert right["real"]["dice"]["estimate"] > 0.7
    means = right["synthetic"]["dice"]["estimate"] - right["real"]["dice"]["estimate"]
    assert right["difference"]["estimate"] == pytest.approx(means)
    assert right["difference"]["low"] < means < right["difference"]["high"]
    assert quality(labelled, "wrong", tmp_path / "wrong", *task) == 0
    wrong = json.loads((tmp_path / "wrong" / "quality.json").read_text())["task"]
    assert wrong["difference"]["high"] < -0.2
    said = capsys.readouterr().out
    assert "learned from 16 images" in said
    assert "class 5" in said
    assert {phase.phase for phase in read_traces(RunFolder(tmp_path / "wrong").traces)} >= {"task", "task-real"}


def test_a_task_that_cannot_be_learned_is_said(labelled: dict[str, Path], tmp_path: Path) -> None:
    given = QualityOptions(
        synthetic=labelled["right"],
        reference=labelled["reference"],
        images=GridOptions(label="label_file"),
        task="segmentation",
        task_config=tmp_path / "task.yaml",
    )
    (tmp_path / "task.yaml").write_text("segmenter: {levels: 6}")
    with pytest.raises(ConfigError, match="cannot halve"), watching(tmp_path, CarbonConfig(), quiet=True) as watch:
        compare_folders(given, (), torch.device("cpu"), watch)
    with pytest.raises(ConfigError, match="label maps"):
        QualityOptions(synthetic=labelled["right"], reference=labelled["reference"], task="segmentation")
