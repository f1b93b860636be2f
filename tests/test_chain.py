"""The whole chain on small phantoms: what a run leaves behind, how it resumes, what it refuses."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image as Picture
from scipy.ndimage import gaussian_filter

from lichen.carbon import J_PER_KWH
from lichen.chain import at_work, load_samples, run
from lichen.chain.auditing import audit_folders
from lichen.chain.begin import flushes_denormals
from lichen.config import AuditConfig, CarbonConfig, RunConfig, SamplingConfig, TrainingConfig
from lichen.errors import CarbonError, ConfigError, RunError
from lichen.files import sha256_of
from lichen.images import ImageSet, load_set, open_folder, open_source, split_by_patient, write_sample
from lichen.images.phantoms import phantom_source
from lichen.images.types import spacing_mm
from lichen.ledger import ledger, totals
from lichen.options import AuditOptions
from lichen.presets import load_preset
from lichen.runs import RunFolder, read_log
from lichen.sampling import decode_images, draw_latents, draw_samples, missing_samples
from lichen.settings import dump_settings, load_settings
from lichen.team import ALONE
from lichen.training.generator import load_diffusion
from lichen.watch import watching
from lichen.words import in_ten_lines, runs_table
from warm_commands import Command

TINY = Path(__file__).with_name("tiny.yaml")


def tiny(spatial_dims: int = 2) -> RunConfig:
    config = load_settings(TINY, load_preset("demo", spatial_dims))
    return replace(config, carbon=replace(config.carbon, grid="FR", pue=1.2))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any]]:
    """A finished 2D run and its summary; tests leave its files as they are, or put them back."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "whole")
    return folder, run(tiny(), folder, command="lichen run", quiet=True)


def sample_bytes(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.samples.iterdir())}


def test_a_run_leaves_the_files_of_the_run_folder(finished: tuple[RunFolder, dict[str, Any]]) -> None:
    folder, summary = finished
    names = {path.name for path in folder.path.iterdir()} - {".lock"}
    assert {"config.yaml", "log.jsonl", "summary.json", "checkpoints", "samples", "audit", "report.html"} < names
    assert len(folder.traces) == 1
    assert json.loads(folder.summary.read_text()) == json.loads(json.dumps(summary))
    assert load_settings(folder.config, RunConfig()) == tiny()


@pytest.mark.parametrize("flushed", [False, True])
def test_small_numbers_count_as_zero_while_at_work_and_as_before_afterwards(flushed: bool) -> None:
    torch.set_flush_denormal(flushed)
    try:
        with at_work(TrainingConfig(device="cpu"), ALONE):
            assert flushes_denormals()
        assert flushes_denormals() is flushed
    finally:
        torch.set_flush_denormal(False)


def test_every_phase_leaves_joules_that_add_up_and_grams_that_follow(
    finished: tuple[RunFolder, dict[str, Any]],
) -> None:
    _, summary = finished
    phases = {phase["phase"]: phase for phase in summary["energy"]["phases"]}
    assert {"read", "autoencoder", "encode", "diffusion", "denoise", "decode", "audit"} <= phases.keys()
    total = summary["energy"]["total"]["energy_j"]
    assert total == pytest.approx(sum(phase["energy_j"] for phase in phases.values()))
    assert all(part["source"] in {"counter", "estimated"} for p in phases.values() for part in p["components"])
    carbon = summary["carbon"]
    grams = total / J_PER_KWH * 1.2 * carbon["g_per_kwh"]["estimate"]
    assert carbon["total_g"]["estimate"] == pytest.approx(grams)
    assert carbon["zone"] == "FR"


def test_every_sample_says_that_it_is_synthetic_and_where_it_comes_from(
    finished: tuple[RunFolder, dict[str, Any]],
) -> None:
    folder, _ = finished
    for index in range(10):
        sidecar = json.loads((folder.samples / f"sample-{index:06}.json").read_text())
        assert sidecar["synthetic"] is True
        assert sidecar["index"] == index
        assert sidecar["checkpoint_sha256"] == load_diffusion(folder.generator, torch.device("cpu")).sha256
        with Picture.open(folder.samples / f"sample-{index:06}.png") as picture:
            assert picture.mode == "I;16"
            assert picture.size == (32, 32)


def test_the_audit_is_bound_to_the_generator_and_covers_every_sample(
    finished: tuple[RunFolder, dict[str, Any]],
) -> None:
    folder, summary = finished
    audit = json.loads(folder.audit.read_text())
    assert audit["inputs"]["generator"] == load_diffusion(folder.generator, torch.device("cpu")).sha256
    assert {image["file"] for image in audit["images"]} == {f"sample-{i:06}.png" for i in range(10)}
    assert all(image["sha256"] == sha256_of(folder.samples / image["file"]) for image in audit["images"])
    assert summary["audit"]["verdict"] == audit["verdict"]


def test_no_patient_is_on_both_sides_of_the_split(finished: tuple[RunFolder, dict[str, Any]]) -> None:
    config = tiny()
    train, held_out = split_by_patient(open_source(config.images), 0.5, 0)
    assert not {item.patient for item in train} & {item.patient for item in held_out}
    assert finished[1]["images"]["train_patients"] == len({item.patient for item in train})


def test_repeating_a_finished_run_draws_and_trains_nothing_again(finished: tuple[RunFolder, dict[str, Any]]) -> None:
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in [folder.generator, *folder.samples.iterdir()]}
    log = folder.log.read_text()
    run(tiny(), folder, command="lichen run", quiet=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert folder.log.read_text() == log


def test_missing_and_additional_samples_are_drawn_without_touching_the_others(
    finished: tuple[RunFolder, dict[str, Any]],
) -> None:
    folder, _ = finished
    before = sample_bytes(folder)
    for name in ("sample-000003.png", "sample-000009.json"):
        (folder.samples / name).unlink()
    more = replace(tiny(), sampling=replace(tiny().sampling, count=13))
    run(more, folder, command="lichen run", quiet=True)
    after = sample_bytes(folder)
    assert {name: after[name] for name in before} == before
    assert len(after) == 26
    for index in range(10, 13):
        for path in folder.samples.glob(f"sample-{index:06}.*"):
            path.unlink()


def test_samples_of_another_batch_size_agree_within_rounding(finished: tuple[RunFolder, dict[str, Any]]) -> None:
    generator = load_diffusion(finished[0].generator, torch.device("cpu"))
    eight = SamplingConfig(sampler="ddpm", steps=4, batch_size=8)
    whole = decode_images(generator, draw_latents(generator, 0, eight))
    halves = [decode_images(generator, draw_latents(generator, b, replace(eight, batch_size=4))) for b in (0, 1)]
    torch.testing.assert_close(torch.cat(halves), whole, atol=1e-4, rtol=0)
    other = decode_images(generator, draw_latents(generator, 0, replace(eight, seed=1)))
    assert (other - whole).abs().max() > 0.01


def test_indices_can_be_drawn_in_any_order_to_the_same_bytes(
    finished: tuple[RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    generator = load_diffusion(folder.generator, torch.device("cpu"))
    for indices in ([9], [2, 0]):
        draw_samples(generator, indices, tiny().sampling, tmp_path)
    whole = sample_bytes(folder)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: whole[name] for i in (0, 2, 9) for name in (f"sample-{i:06}.json", f"sample-{i:06}.png")
    }


@pytest.mark.parametrize(
    ("verdict", "flagged", "words"),
    [
        ("copies", 0, "0 of 10 flagged, but more are near to training patients than chance explains;"),
        ("copies", 2, "2 of 10 flagged;"),
        ("inconclusive", 1, "1 of 10 flagged, as may happen by chance in a set without any copy;"),
        ("inconclusive", 0, "0 of 10 flagged;"),
    ],
)
def test_a_verdict_that_the_flagged_images_alone_do_not_explain_is_explained(
    finished: tuple[RunFolder, dict[str, Any]], verdict: str, flagged: int, words: str
) -> None:
    folder, summary = finished
    audit = {**summary["audit"], "verdict": verdict, "copies": flagged, "tested": 10}
    assert words in in_ten_lines({**summary, "audit": audit}, folder.path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"training": {"learning_rate": 0.1}}, "training.learning_rate"),
        ({"autoencoder": {"latent_channels": 3}}, "autoencoder.latent_channels"),
        ({"images": {"split_seed": 1}}, "images.split_seed"),
    ],
)
def test_a_setting_that_shapes_the_weights_cannot_change_in_a_run_folder(
    finished: tuple[RunFolder, dict[str, Any]], change: dict[str, dict[str, Any]], words: str
) -> None:
    folder, _ = finished
    config = tiny()
    for section, values in change.items():
        config = replace(config, **{section: replace(getattr(config, section), **values)})
    before = folder.config.read_text()
    with pytest.raises(RunError, match=words):
        run(config, folder, command="", quiet=True)
    assert folder.config.read_text() == before


def test_settings_that_failed_before_anything_was_trained_bind_nothing(tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path), tiny()
    for size in ((33, 32), (35, 32)):
        with pytest.raises(ConfigError, match=f"images.size is {size[0]} 32"):
            run(replace(config, images=replace(config.images, size=size)), folder, command="", quiet=True)


def test_samples_of_another_seed_are_not_mixed_with_those_there(finished: tuple[RunFolder, dict[str, Any]]) -> None:
    folder, _ = finished
    config = replace(tiny(), sampling=replace(tiny().sampling, seed=5))
    before = folder.config.read_text()
    with pytest.raises(RunError, match=r"sampling\.seed 0, now it is 5"):
        run(config, folder, command="", quiet=True)
    assert folder.config.read_text() == before
    generator = load_diffusion(folder.generator, torch.device("cpu"))
    with pytest.raises(RunError, match="was drawn with seed 0, not 5"):
        missing_samples(folder.samples, generator, config.sampling)


def test_a_training_volume_among_the_samples_is_a_copy_whatever_its_spacing(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    for patient in range(24):
        voxels = gaussian_filter(random.normal(size=(1, 16, 16, 8)), (0, 1, 1, 1)).astype(np.float32)
        write_sample(tmp_path / "scans" / f"p{patient:02}.nii.gz", voxels / np.abs(voxels).max(), affine, {})
    config = tiny(3)
    images = replace(config.images, path=tmp_path / "scans", size=(16, 16, 8), fit="crop-pad")
    config = replace(
        config,
        images=images,
        autoencoder=replace(config.autoencoder, images_seen=16),
        training=replace(config.training, images_seen=32),
        sampling=replace(config.sampling, count=1, batch_size=1),
    )
    folder = RunFolder(tmp_path / "run")
    run(config, folder, command="", quiet=True)
    train, _ = split_by_patient(open_source(images), 0.5, 0)
    copy = load_set(train[:1], (16, 16, 8), "crop-pad")
    write_sample(folder.samples / "sample-000000.nii.gz", copy.voxels[0].numpy(), copy.affine, {})
    synthetic = load_samples(open_folder(folder.samples), copy, None, lambda _: None)
    similarity = np.corrcoef(synthetic.voxels.numpy().ravel(), copy.voxels.numpy().ravel())[0, 1]
    assert similarity > 0.99


def test_a_run_whose_training_images_changed_is_refused(tmp_path: Path) -> None:
    items = phantom_source("2d", 12).items
    images = load_set(items, (32, 32))
    for position in range(0, 40, 4):
        write_sample(tmp_path / f"scans/{position:02}.png", images.voxels[position].numpy(), images.affine, {})
    config = replace(tiny(), images=replace(tiny().images, path=tmp_path / "scans"))
    folder = RunFolder(tmp_path / "run")
    run(config, folder, command="", quiet=True)
    elsewhere = replace(config, images=replace(config.images, path=tmp_path / "run" / ".." / "scans"))
    run(elsewhere, folder, command="", quiet=True)
    write_sample(tmp_path / "scans/44.png", images.voxels[44].numpy(), images.affine, {})
    with pytest.raises(RunError, match="the training images are not those"):
        run(config, folder, command="", quiet=True)
    for path in (tmp_path / "scans").glob("44.*"):
        path.unlink()
    run(config, folder, command="", quiet=True)
    folder.config.unlink()
    with pytest.raises(RunError, match=r"no config\.yaml"):
        run(config, folder, command="", quiet=True)


def test_a_folder_in_use_is_refused_at_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.lock(), pytest.raises(RunError, match="another process is working"):
        run(tiny(), folder, command="", quiet=True)


def test_an_impossible_place_or_size_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    config = tiny()
    with pytest.raises(CarbonError, match="ATLANTIS"):
        run(replace(config, carbon=replace(config.carbon, grid="ATLANTIS")), RunFolder(tmp_path / "a"), command="")
    odd = replace(config, images=replace(config.images, size=(33, 32)))
    with pytest.raises(ConfigError, match="multiple of"):
        run(odd, RunFolder(tmp_path / "b"), command="", quiet=True)
    assert not (tmp_path / "b" / "checkpoints").exists()


def test_a_run_killed_in_training_ends_with_the_same_weights_and_samples(
    finished: tuple[RunFolder, dict[str, Any]], tmp_path: Path
) -> None:
    folder, _ = finished
    again = RunFolder(tmp_path / "killed")
    settings = tmp_path / "settings.yaml"
    training = replace(tiny().training, checkpoint_every_s=0.001)
    settings.write_text(dump_settings(replace(tiny(), training=training)))
    words = ("run", "--config", str(settings), "--out", str(again.path), "--quiet")
    process = Command(words, tmp_path, os.environ)
    state = again.checkpoints / "diffusion.state.safetensors"
    deadline = time.monotonic() + 600
    while not state.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.kill() == -signal.SIGKILL
    assert not again.generator.exists()
    run(load_settings(settings, RunConfig()), again, command="", quiet=True)
    assert sha256_of(again.generator) == sha256_of(folder.generator)
    assert sample_bytes(again) == sample_bytes(folder)
    seen = [record["images_seen"] for record in read_log(again.log)["diffusion"]]
    assert seen == sorted(set(seen))


def test_volumes_come_out_as_nifti_in_the_place_of_the_training_images(tmp_path: Path) -> None:
    config = tiny(3)
    images = replace(config.images, phantoms="3d", phantom_patients=8, size=(16, 16, 16))
    config = replace(
        config,
        images=images,
        autoencoder=replace(config.autoencoder, images_seen=16),
        training=replace(config.training, images_seen=32),
        sampling=replace(config.sampling, count=2, batch_size=2),
    )
    folder = RunFolder(tmp_path)
    summary = run(config, folder, command="", quiet=True)
    assert summary["audit"]["verdict"] == "inconclusive"
    train, _ = split_by_patient(open_source(images), 0.5, 0)
    expected: ImageSet = load_set(train, (16, 16, 16))
    sample = nib.load(folder.samples / "sample-000001.nii.gz")
    assert sample.shape == (16, 16, 16)
    np.testing.assert_allclose(sample.affine, expected.affine, atol=1e-4)
    assert len(open_folder(folder.samples).items) == 2


def test_runs_are_listed_with_cost_and_verdict_and_an_unfinished_one_as_such(
    finished: tuple[RunFolder, dict[str, Any]],
) -> None:
    folder, _ = finished
    other = folder.path.parent / "started"
    other.mkdir(exist_ok=True)
    (other / "config.yaml").write_text("")
    started, whole = ledger(folder.path.parent)
    assert (started.state, started.energy_kwh, started.verdict) == ("unfinished", None, None)
    assert whole.state == "finished"
    assert whole.energy_kwh is not None
    assert whole.energy_kwh.low > 0


@pytest.mark.parametrize(
    "text",
    ["{", '{"energy": {"total": {"energy_j": "x"}}}', '{"carbon": {"total_g": {"odd": 1}}}', '{"energy": 3}'],
)
def test_a_damaged_summary_spoils_no_table_of_runs(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text("")
    (tmp_path / "run/summary.json").write_text(text)
    rows = ledger(tmp_path)
    table = runs_table(rows, totals(rows, "none"), tmp_path)
    assert "not measured  not audited" in table.splitlines()[1]


def test_thick_slices_that_share_a_grid_are_audited_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, name in enumerate(("synthetic", "train", "reference")):
        (tmp_path / name).mkdir()
        for index in range(3):
            voxels = rng.normal(size=(16, 16, 4)).astype(np.float32)
            nib.save(nib.Nifti1Image(voxels, np.diag([0.5, 0.5, 5, 1])), tmp_path / name / f"{number}-{index}.nii.gz")
    options = AuditOptions(
        tmp_path / "synthetic",
        tmp_path / "out",
        tmp_path / "train",
        tmp_path / "reference",
        audit=AuditConfig(scores=("pearson",), self_test=0),
    )
    with watching(tmp_path / "out", CarbonConfig(), quiet=True) as watch:
        audited = audit_folders(options, watch)
    in_plane = audited.train.voxels[:, 0, :, 0, 0]
    assert bool((in_plane[:, 1:] != in_plane[:, :-1]).all()), "resized to cubes, two voxels in the plane remain"
    assert spacing_mm(audited.train.affine, 3) == pytest.approx((0.5, 0.5, 5))
