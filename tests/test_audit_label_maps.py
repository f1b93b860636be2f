"""Label maps in an audit: the verdict is on the images, and what the maps say is told beside it."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
import torch

from lichen.audit import audit, summary
from lichen.audit.label_maps import nearest_dice
from lichen.audit.names import open_names
from lichen.config import AuditConfig, ImagesConfig
from lichen.images import ImageSet, load_set, open_source, write_sample
from lichen.palette import class_colours

CLASSES = (0, 1, 4)
CONFIG = AuditConfig(scores=("pearson",), self_test=0)


def images(count: int, seed: int) -> torch.Tensor:
    return torch.rand((count, 1, 16, 16), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def maps(count: int, seed: int) -> torch.Tensor:
    """Blobs of two classes at random places, as points of [-1, 1]."""
    rng = np.random.default_rng(seed)
    made = torch.full((count, 1, 16, 16), -1.0)
    for one in made:
        row, column = rng.integers(1, 9, 2)
        one[0, row : row + 5, column : column + 6] = 0
        one[0, row : row + 2, column : column + rng.integers(2, 6)] = 1
        one[0, rng.integers(16), rng.integers(16)] = 1
    return made


def image_set(images: torch.Tensor, labels: torch.Tensor, name: str) -> ImageSet:
    names = tuple(f"{name}{number}" for number in range(len(images)))
    patients = tuple(f"{name}-patient-{number}" for number in range(len(images)))
    return ImageSet(torch.cat([images, labels], 1), names, patients, np.eye(4), classes=CLASSES)


@pytest.fixture
def train() -> ImageSet:
    return image_set(images(30, 1), maps(30, 1), "train")


@pytest.fixture
def reference() -> ImageSet:
    return image_set(images(60, 2), maps(60, 2), "held-out")


def test_a_copied_image_is_found_whatever_lies_in_its_label_map(train: ImageSet, reference: ImageSet) -> None:
    copies = train.voxels[:6, :1] + 0.05 * images(6, 9)
    made = image_set(torch.cat([copies, images(6, 5)]), maps(12, 3), "made")
    found = audit(made, train, reference, CONFIG)
    assert [finding.name for finding in found.findings if finding.is_copy] == [f"made{n}" for n in range(6)]
    assert [finding.nearest_image for finding in found.findings[:6]] == [f"train{n}" for n in range(6)]
    assert found.label_maps is not None
    assert found.label_maps.identical == 0


def test_a_copied_label_map_under_another_image_flags_nothing_and_is_told(
    train: ImageSet, reference: ImageSet, tmp_path: Path
) -> None:
    made = image_set(images(12, 5), torch.cat([train.voxels[:5, 1:], maps(7, 3)]), "made")
    found = audit(made, train, reference, CONFIG)
    assert not found.copies
    assert found.label_maps is not None
    assert (found.label_maps.compared, found.label_maps.identical) == (12, 5)
    assert 5 <= found.label_maps.near <= 7
    assert found.label_maps.identical_held_out == 0
    assert any("label maps take no part in the verdict" in words for words in found.limitations)
    assert "label maps  5 of 12 equal a training patient's" in summary(found, open_names(tmp_path))
    assert found.as_summary()["label_maps"]["identical"] == 5


def test_without_label_maps_images_are_judged_to_the_very_same_figures(train: ImageSet, reference: ImageSet) -> None:
    made = image_set(images(12, 3), maps(12, 3), "made")
    both = audit(made, train, reference, CONFIG)
    alone = audit(made.without_label_map, train.without_label_map, reference.without_label_map, CONFIG)
    assert both.findings == alone.findings
    assert both.calibration == alone.calibration
    assert alone.label_maps is None


def test_dice_is_twice_the_common_voxels_over_those_labelled_in_both() -> None:
    one, other = torch.full((2, 1, 1, 4, 4), -1.0)
    one[0, 0, 0], other[0, 0, 0, :2], other[0, 0, 0, 2:] = 0, 0, 1
    assert nearest_dice(one, other, CLASSES).tolist() == [2 * 2 / (4 + 4)]
    empty = torch.full((1, 1, 4, 4), -1.0)
    assert nearest_dice(torch.cat([one, empty]), torch.cat([other, one]), CLASSES).tolist() == [1, -np.inf]


def test_a_label_map_goes_along_with_its_image_when_the_two_are_aligned_and_stays_one() -> None:
    from lichen.audit.motion import rotation, warp
    from lichen.chain.reviewing import overlaid

    smooth = torch.nn.functional.interpolate(images(1, 5)[:, :, :8, :8], size=(48, 48), mode="bicubic").clamp(-1, 1)
    label = torch.nn.functional.interpolate(maps(1, 5), size=(48, 48), mode="nearest")
    turned = warp(torch.cat([smooth, label], 1), rotation(torch.tensor([6.0]), None, None))
    turned[0, 1] = (turned[0, 1]).round()
    motion, aligned = overlaid(turned[0], torch.cat([smooth, label], 1)[0], (1.0, 1.0), CLASSES)
    assert motion.rotation_deg == pytest.approx(6, abs=1)
    there = ~np.isnan(aligned[1])
    assert set(np.unique(aligned[1][there])) == {-1, 0, 1}
    assert (aligned[1] == label[0, 0].numpy())[there].mean() > 0.97


def test_a_gallery_shows_every_channel_of_a_sample_and_its_label_map_in_colours(tmp_path: Path) -> None:
    from lichen.report.gallery import gallery
    from lichen.report.verdict import Finding

    voxels = torch.cat([images(2, 1), maps(2, 1)], 1)
    name = "sample-000000.nii.gz"
    write_sample(tmp_path / name, voxels[0].numpy(), np.eye(4), {"index": 0}, classes=CLASSES)
    finding = Finding(name, False, False, "image-1", 0.5, "pearson", 0.5)
    result = gallery(tmp_path, [finding])
    assert result.has_channels
    assert not result.has_volumes
    picture = result.tiles[0].picture
    assert picture is not None
    assert picture.shows == "whole picture; 2 channels beside each other, the last one a label map in colours"
    drawn = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))))
    assert drawn.shape == (16, 2 * (16 + 8), 3)
    grey, label = drawn[:, 4:20].astype(int), drawn[:, 28:44]
    assert (grey == grey[..., :1]).all()
    wanted = class_colours(CLASSES)[(voxels[0, 1] + 1).round().int().numpy()]
    np.testing.assert_array_equal(label, wanted)
    np.testing.assert_allclose(grey[..., 0], (voxels[0, 0].numpy() + 1) * 127.5, atol=6)


def test_samples_of_a_generator_of_label_maps_are_audited_as_the_tensors_that_were_drawn(
    train: ImageSet, tmp_path: Path
) -> None:
    from lichen.chain import load_samples
    from lichen.config import AutoencoderConfig, DenoiserConfig, SamplingConfig
    from lichen.images import nearest_class, open_folder, spread
    from lichen.progress import silent
    from lichen.sampling import decode_images, draw_latents, draw_samples, missing_samples
    from lichen.training.generator import load_diffusion, save_diffusion
    from lichen.training.specs import DiffusionSpec

    spec = DiffusionSpec(
        image_shape=(2, 16, 16),
        affine=tuple(map(tuple, np.eye(4).tolist())),
        autoencoder=AutoencoderConfig(kind="none"),
        denoiser=DenoiserConfig(channels=(8, 8), blocks=1, head_channels=8, attention_levels=0),
        objective="v",
        is_phantom=True,
        classes=CLASSES,
    )
    torch.manual_seed(0)
    save_diffusion(tmp_path / "generator", spec, *spec.build(), torch.zeros(2), torch.ones(2))
    generator = load_diffusion(tmp_path / "generator", torch.device("cpu"))
    config, folder = SamplingConfig(count=3, batch_size=3, steps=2), tmp_path / "samples"
    folder.mkdir()
    draw_samples(generator, range(3), config, folder)
    assert missing_samples(folder, generator, config) == []
    drawn = decode_images(generator, draw_latents(generator, 0, config)).clamp(-1, 1)
    back = load_samples(open_folder(folder), train, None, silent)
    assert back.classes == CLASSES
    torch.testing.assert_close(back.voxels[:, :1], drawn[:, :1], atol=1e-6, rtol=0)
    assert back.voxels[:, 1].numpy().tolist() == spread(nearest_class(drawn[:, 1].numpy(), CLASSES), CLASSES).tolist()


def test_slices_of_real_volumes_with_label_maps_are_compared_with_pictures_of_any_generator(tmp_path: Path) -> None:
    from test_cli import call

    rng = np.random.default_rng(0)
    for side, count in (("train", 6), ("held-out", 20)):
        rows = ["file,patient"]
        for number in range(count):
            volumes = {"images": rng.normal(size=(16, 16, 6)), "labels": rng.integers(0, 3, (16, 16, 6))}
            for kind, values in volumes.items():
                path = tmp_path / side / kind / f"case_{number}.nii.gz"
                path.parent.mkdir(parents=True, exist_ok=True)
                nib.Nifti1Image(values.astype(np.float32), np.eye(4)).to_filename(path)
            rows.append(f"images/case_{number}.nii.gz,{side}-{number}")
        (tmp_path / side / "metadata.csv").write_text("\n".join(rows))
    settings = {"channels": ("images", "labels"), "label": "labels", "slices": "middle:4"}
    items = open_source(ImagesConfig(path=tmp_path / "train", **settings)).items  # type: ignore[arg-type]
    known = load_set(items, (16, 16), classes=(0, 1, 2)).voxels
    for number, one in enumerate([*known[:8], *torch.rand(8, 2, 16, 16) * 2 - 1]):
        write_sample(tmp_path / "made" / f"{number:02}.nii.gz", one.numpy(), np.eye(4), {}, classes=(0, 1, 2))
    folders = [f"--{name}={tmp_path / folder}" for name, folder in (("synthetic", "made"), ("reference", "held-out"))]
    real = (*folders, f"--train={tmp_path / 'train'}", "--images.channels", "images", "labels")
    words = (*real, "--images.label=labels", "--images.slices=middle:4", f"--out={tmp_path / 'out'}", "--quiet")
    assert call("audit", *words, "--audit.scores=pearson", "--audit.self-test=0") == 1
    found = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert [image["identical"] or image["flagged"] for image in found["images"]] == [True] * 8 + [False] * 8
    assert (found["label_maps"]["identical"], found["counts"]["train_images"]) == (8, 24)
    assert len(found["calibration"]["scores"]["pearson"]) == 20
    assert call("quality", *words, "--features", "random-conv") == 0
    assert json.loads((tmp_path / "out" / "quality.json").read_text())["grid"] == [1, 16, 16]


def test_label_maps_change_no_figure_of_quality(train: ImageSet, reference: ImageSet) -> None:
    from lichen.chain.data import Data
    from lichen.chain.judging import judge_quality
    from lichen.config import StyleGAN2Config
    from lichen.images.phantoms import phantom_source
    from lichen.progress import silent
    from lichen.training.generator import StyleGAN2
    from lichen.training.specs import StyleGAN2Spec

    affine = tuple(map(tuple, np.eye(4).tolist()))
    config = StyleGAN2Config(latent_dim=8, channels=64, most_channels=8)
    spec = StyleGAN2Spec((2, 16, 16), affine, config, is_phantom=True, classes=CLASSES)
    generator = StyleGAN2(spec, spec.build()[0], sha256="")
    data = Data(phantom_source("2d", 4), train, reference)
    found = [
        judge_quality(generator, data, image_set(images(20, 3), labels, "made"), silent)
        for labels in (maps(20, 3), maps(20, 3).flip(0))
    ]
    assert found[0].distance is not None
    assert found[0] == found[1]
