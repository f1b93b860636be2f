"""Membership inference from a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lichen.chain import membership_of_run, train_only
from lichen.config import CarbonConfig, RunConfig
from lichen.energy import read_traces
from lichen.errors import CheckpointError, RunError
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.watch import watching

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config() -> RunConfig:
    tiny = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", 2))
    return replace(
        tiny,
        images=replace(tiny.images, phantom_patients=10, held_out_fraction=0.3),
        autoencoder=replace(tiny.autoencoder, images_seen=16),
        training=replace(tiny.training, images_seen=16),
    )


@pytest.fixture(scope="module")
def trained(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "run")
    train_only(config, folder, quiet=True)
    return folder


def test_a_run_is_asked_about_its_own_training_and_held_out_patients(
    config: RunConfig, trained: RunFolder, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in trained.path.rglob("*") if path.is_file()}
    with watching(tmp_path, CarbonConfig(), quiet=True) as watch:
        found = membership_of_run(config, trained, watch, CPU)
        assert membership_of_run(config, trained, watch, CPU) == found
    assert (found.members, found.held_out) == (3, 3)
    assert found.auc_low <= 0.5 <= found.auc_high  # sixteen images are soon forgotten
    assert {path: path.read_bytes() for path in trained.path.rglob("*") if path.is_file()} == before
    assert "membership" in {phase.phase for phase in read_traces(tmp_path.glob("energy-*.jsonl"))}


def test_patients_that_a_run_was_not_trained_on_are_not_taken_for_its_own(
    config: RunConfig, trained: RunFolder, tmp_path: Path
) -> None:
    other = replace(config, images=replace(config.images, split_seed=1))
    with (
        watching(tmp_path, CarbonConfig(), quiet=True) as watch,
        pytest.raises(RunError, match="the training images are not those"),
    ):
        membership_of_run(other, trained, watch, CPU)
    with watching(tmp_path, CarbonConfig(), quiet=True) as watch, pytest.raises(CheckpointError):
        membership_of_run(config, RunFolder(tmp_path / "nowhere"), watch, CPU)
    bound = trained.images.read_bytes()
    trained.images.unlink()
    try:
        with (
            watching(tmp_path, CarbonConfig(), quiet=True) as watch,
            pytest.raises(RunError, match="does not say which images"),
        ):
            membership_of_run(config, trained, watch, CPU)
    finally:
        trained.images.write_bytes(bound)
