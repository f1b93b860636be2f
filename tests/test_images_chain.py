"""Spacing and window through a whole run: samples come out in millimetres and in intensities of the images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lichen.audit.checks import fingerprints
from lichen.chain import audit_samples, read_images, run
from lichen.config import AuditConfig, ImagesConfig, RunConfig
from lichen.errors import AuditError
from lichen.images import read_image
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.training.generator import load_diffusion
from lichen.watch import watching


def test_samples_have_the_spacing_and_the_intensities_of_the_images(tmp_path: Path) -> None:
    config = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", 3))
    window = (100.0, 900.0)
    images = replace(config.images, phantom_patients=6, size=(16, 16, 8), spacing=(4.0, 4.0, 8.0), window=window)
    autoencoder = replace(config.autoencoder, images_seen=160)
    training = replace(config.training, images_seen=320)
    config = replace(
        config,
        images=images,
        autoencoder=autoencoder,
        training=training,
        sampling=replace(config.sampling, count=3),
    )
    folder = RunFolder(tmp_path / "run")
    summary = run(config, folder, command="lichen run", quiet=True)
    assert summary["images"]["spacing_mm"] == pytest.approx([4, 4, 8])
    drawn = [read_image(path) for path in sorted(folder.samples.glob("*.nii.gz"))]
    for image in drawn:
        assert image.geometry.spacing_mm == pytest.approx((4, 4, 8))
        assert window[0] <= image.voxels.min() < image.voxels.max() <= window[1]
        assert np.ptp(image.voxels) > 1  # not from 0 to 1
    # the audit compares what was drawn: not stretched to cubes, not normalised anew
    with watching(tmp_path, config.carbon, quiet=True) as watch:
        generator = load_diffusion(folder.generator, torch.device("cpu"))
        synthetic = audit_samples(config, read_images(config, watch), folder, generator, watch).synthetic
    for image, voxels in zip(drawn, synthetic.voxels.numpy(), strict=True):
        np.testing.assert_allclose((voxels + 1) / 2 * 800 + 100, image.voxels, atol=1e-3)
    assert json.loads(folder.summary.read_text())["images"]["skipped"] == []


def test_repeated_images_of_nameless_patients_are_refused_or_if_allowed_not_held_out(tmp_path: Path) -> None:
    once = np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "twice.npz", train_images=np.concatenate([once, once]))
    config = RunConfig(images=ImagesConfig(path=tmp_path / "twice.npz", size=(16, 16)))
    allowing = replace(config, audit=AuditConfig(allow_overlap=True))
    with watching(tmp_path, config.carbon, quiet=True) as watch:
        with pytest.raises(AuditError, match="identical in every voxel"):
            read_images(config, watch)
        data = read_images(allowing, watch)
    prints = [set(fingerprints(images.voxels)) for images in (data.train, data.held_out)]
    assert not prints[0] & prints[1]
    assert len(data.train.names) == 24
    assert 0 < len(data.held_out.names) < 16
