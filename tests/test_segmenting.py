"""``lichen segment`` from images to summary: parts, resumption, budgets, and what other commands make of its folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image as Picture
from torch import nn

from labelled_images import write_labelled
from lichen.budget import Budget
from lichen.carbon import J_PER_KWH, intensity
from lichen.chain.lesson import score
from lichen.chain.parts import read_parts, split_in_three
from lichen.chain.segmenting import forecast_segmentation, segment
from lichen.cli import main
from lichen.config import BudgetConfig, CarbonConfig, ImagesConfig, SegmentationConfig, SegmenterConfig
from lichen.config import SegmentationTraining as Training
from lichen.energy import Trace
from lichen.errors import LichenError, RunError
from lichen.files import sha256_of
from lichen.images import open_source, split_by_patient
from lichen.runs import RunFolder, read_lines, read_log
from lichen.settings import dump_settings
from lichen.training.segmenter_file import load_segmenter
from lichen.watch import Watch, watching
from ten_watts import Clock
from warm_commands import Command

Finished = tuple[SegmentationConfig, RunFolder, dict[str, Any]]


@pytest.fixture(scope="module")
def folder_of_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled(tmp_path_factory.mktemp("labelled") / "discs")


def settings_for(folder: Path) -> SegmentationConfig:
    return SegmentationConfig(
        images=ImagesConfig(path=folder, label="label_file", held_out_fraction=0.2),
        segmenter=SegmenterConfig(width=4, levels=3),
        training=Training(images_seen=960, batch_size=6, learning_rate=0.02, patience=40, device="cpu", threads=1),
        carbon=CarbonConfig(grid="FR"),
    )


@pytest.fixture(scope="module")
def finished(folder_of_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A segmentation that nobody interrupts."""
    config, folder = settings_for(folder_of_images), RunFolder(tmp_path_factory.mktemp("finished") / "run")
    return config, folder, segment(config, folder, command="lichen segment", quiet=True)


def test_a_segmenter_learns_to_tell_classes_of_patients_it_has_not_seen(finished: Finished) -> None:
    _, folder, summary = finished
    found = summary["segmentation"]
    assert [one["value"] for one in found["classes"]] == [1, 5]
    assert min(one["dice"]["estimate"] for one in found["classes"]) > 0.8
    assert found["dice"]["low"] < found["dice"]["estimate"] < found["dice"]["high"]
    assert found["dice"]["n"] == summary["images"]["test_patients"] == 2
    assert [summary["images"][f"{part}_patients"] for part in ("train", "validation", "test")] == [6, 2, 2]
    assert summary["task"] == "segmentation"
    assert summary["state"] == "finished"
    phases = {phase["phase"] for phase in summary["energy"]["phases"]}
    assert {"read", "segmenter", "validate", "test"} <= phases
    assert summary["carbon"]["zone"] == "FR"
    assert json.loads(folder.summary.read_text()) == json.loads(json.dumps(summary))


def test_the_file_of_a_segmenter_gives_the_dice_of_the_summary(finished: Finished) -> None:
    config, folder, summary = finished
    segmenter = load_segmenter(folder.segmenter, torch.device("cpu"))
    with watching(folder.path.parent, CarbonConfig(), quiet=True) as watch:
        parts = read_parts(config, watch)
    scores = score(segmenter.network, parts.test, config.training)
    assert scores.dice.estimate == pytest.approx(summary["segmentation"]["dice"]["estimate"])
    validation = score(segmenter.network, parts.validation, config.training)
    assert validation.dice.estimate == pytest.approx(summary["segmentation"]["validation_dice"])


def test_each_look_is_in_the_log_with_what_the_training_had_spent(finished: Finished) -> None:
    _, folder, summary = finished
    looks = read_log(folder.log)["segmenter"]
    assert [look["images_seen"] for look in looks][:3] == [18, 36, 54]
    spent = [look["spent_j"] for look in looks]
    assert spent == sorted(spent)
    used = sum(p["energy_j"] for p in summary["energy"]["phases"] if p["phase"] in {"segmenter", "validate"})
    assert 0.5 * used < spent[-1] <= used * (1 + 1e-6)
    found = summary["segmentation"]
    best = max(looks, key=lambda look: float(look["validation_dice"]))
    assert (found["best_images_seen"], found["validation_dice"]) == (best["images_seen"], best["validation_dice"])


def test_the_forecast_that_is_compared_is_of_what_was_needed(finished: Finished) -> None:
    _, folder, summary = finished
    (line,) = read_lines(folder.forecasts)
    assert line["units"] == {"segmenter": 960, "validate": 54 * 6, "test": 6}
    planned = {phase["phase"]: phase["duration_s"]["estimate"] for phase in line["forecast"]["phases"]}
    share = summary["segmentation"]["images_seen"] / 960
    compared = {row["phase"]: row["duration_s"]["estimate"] for row in summary["forecast"]["phases"]}
    assert compared["segmenter"] == pytest.approx(share * planned["segmenter"])
    assert compared["test"] == planned["test"]


def test_a_forecast_needs_nothing_but_the_settings(finished: Finished) -> None:
    config, folder, _ = finished
    state = torch.random.get_rng_state()
    found = forecast_segmentation(config)
    (line,) = read_lines(folder.forecasts)
    assert {phase.phase: phase.units for phase in found.phases} == line["units"]
    assert all(phase.duration_s.estimate > 0 for phase in found.phases)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_parts_have_no_patient_in_common_and_fewer_patients_change_training_alone(folder_of_images: Path) -> None:
    config = settings_for(folder_of_images)
    source = open_source(config.images)
    train, validation, test = ({item.patient for item in part} for part in split_in_three(config, source))
    assert len(train | validation | test) == len(train) + len(validation) + len(test) == 10
    held_out = split_by_patient(source, 0.2, config.images.split_seed)[1]
    assert test == {item.patient for item in held_out}
    few = replace(config, images=replace(config.images, patients=3))
    fewer, validation_of_few, test_of_few = ({i.patient for i in part} for part in split_in_three(few, source))
    assert fewer < train
    assert len(fewer) == 3
    assert (validation_of_few, test_of_few) == (validation, test)


def test_a_segmentation_killed_in_training_ends_with_the_same_weights(finished: Finished, tmp_path: Path) -> None:
    config, whole, _ = finished
    again, settings = RunFolder(tmp_path / "killed"), tmp_path / "settings.yaml"
    often = replace(config, training=replace(config.training, checkpoint_every_s=0.001))
    settings.write_text(dump_settings(often))
    again.path.mkdir()
    shutil.copy(whole.forecasts, again.forecasts)
    process = Command(
        ("segment", "--config", str(settings), "--out", str(again.path), "--quiet"), tmp_path, {**os.environ}
    )
    deadline = time.monotonic() + 600
    while len(read_lines(again.log)) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.kill() == -signal.SIGKILL
    assert not again.segmenter.exists()
    segment(often, again, command="", quiet=True)
    assert sha256_of(again.segmenter) == sha256_of(whole.segmenter)
    looks, wanted = (read_log(folder.log)["segmenter"] for folder in (again, whole))
    assert [(x["images_seen"], x["validation_dice"]) for x in looks] == [
        (x["images_seen"], x["validation_dice"]) for x in wanted
    ]


@contextmanager
def steadily(folder: RunFolder, limits: BudgetConfig, patch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """Segmentations in ``folder`` take time and energy by their steps alone, however busy this machine is."""
    clock = Clock()

    @contextmanager
    def watching_steps(path: Path, carbon: CarbonConfig, **_: object) -> Iterator[Watch]:
        with Trace(path / "energy-here-0.jsonl", (clock,), clock=clock) as trace:
            yield Watch(trace, carbon, Budget(limits, intensity("FR"), 1.0), quiet=True, clock=clock)

    def tick(module: nn.Module, *_: object) -> None:
        clock.now_s += module.training and type(module).__name__ == "UNet"

    patch.setattr("lichen.chain.segmenting.watching", watching_steps)
    patch.setattr("lichen.energy.trace.SOON_S", 60.0)  # a reading that is asked for is waited for
    hook = nn.modules.module.register_module_forward_hook(tick)
    try:
        yield clock
    finally:
        hook.remove()


def test_a_budget_cuts_the_training_and_a_larger_one_takes_it_to_the_same_bits(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, whole, _ = finished
    folder = RunFolder(tmp_path)
    shutil.copy(whole.forecasts, folder.forecasts)  # so that no probe takes steps
    with steadily(folder, BudgetConfig(energy_kwh=400 / J_PER_KWH), monkeypatch):
        summary = segment(config, folder, command="", quiet=True)
    assert summary["state"] == "cut"
    assert summary["segmentation"]["ended_by"] == "budget"
    assert 300 <= summary["energy"]["total"]["high_j"] <= 400
    steps = summary["segmentation"]["images_seen"] / 6
    looks = read_log(folder.log)["segmenter"]
    assert [look["spent_j"] for look in looks] == [pytest.approx(10 * look["images_seen"] / 6) for look in looks]
    assert 30 <= steps <= 40
    assert summary["segmentation"]["best_images_seen"] <= summary["segmentation"]["images_seen"]
    with steadily(folder, BudgetConfig(), monkeypatch):
        after = segment(config, folder, command="", quiet=True)
    assert after["state"] == "finished"
    assert sha256_of(folder.segmenter) == sha256_of(whole.segmenter)
    total = 10 * after["segmentation"]["images_seen"] / 6
    assert after["energy"]["total"]["energy_j"] == pytest.approx(total)  # nothing lost, nothing counted twice


def test_what_is_cut_before_its_first_look_is_tested_as_it_is(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _, _ = finished
    folder, seldom = RunFolder(tmp_path), replace(config, training=replace(config.training, validate_every=900))
    monkeypatch.setattr("lichen.chain.segmenting.tell_ahead", lambda *_, **__: None)
    with steadily(folder, BudgetConfig(energy_kwh=100 / J_PER_KWH), monkeypatch):
        summary = segment(seldom, folder, command="", quiet=True)
    found = summary["segmentation"]
    assert found["best_images_seen"] == found["images_seen"] < 60
    assert found["ended_by"] == "budget"
    assert 0 <= found["validation_dice"] <= 1


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(list(map(str, arguments)))
    return int(end.value.code or 0)


def test_the_command_says_what_came_out_and_its_line_goes_before_its_file(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _, _ = finished
    file = tmp_path / "settings.yaml"
    file.write_text(dump_settings(config))
    words = ("segment", "--config", file, "--training.images-seen", "30", "--quiet", "--out", tmp_path / "run")
    assert call(*words) == 0
    said = capsys.readouterr()
    assert "30 of at most 30 images seen; as long as planned" in said.out
    assert "18 images of 6 patients to train on" in said.out
    assert "class 5" in said.out
    assert "in France" in said.out
    assert said.err == ""
    assert call(*words, "--json") == 0
    assert json.loads(capsys.readouterr().out)["segmentation"]["planned_images_seen"] == 30


def test_runs_card_and_whatif_read_a_segmentation(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, summary = finished
    assert call("runs", folder.path.parent) == 0
    assert f"Dice {summary['segmentation']['dice']['estimate']:.3f}" in capsys.readouterr().out
    assert call("runs", folder.path.parent, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert (row["state"], row["verdict"]) == ("finished", None)
    assert call("card", folder.path, "--out", tmp_path) == 0
    said = capsys.readouterr().out
    assert "(reading, training, validation and test)" in said
    assert "Synthesis" not in said
    assert "releases no synthetic images" in json.loads((tmp_path / "sci.json").read_text())["why"]
    assert call("whatif", folder.path, "--carbon.grid", "PL") == 0
    assert "in Poland" in capsys.readouterr().out


def test_a_segmentation_ends_with_its_page_which_is_drawn_anew_for_another_place(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, folder, summary = finished
    assert "France" in folder.report.read_text()
    copy = shutil.copytree(folder.path, tmp_path / "run")
    assert call("report", copy, "--carbon.grid", "PL") == 0
    said = capsys.readouterr().out
    assert f"Dice     {summary['segmentation']['dice']['estimate']:.3f}" in said
    assert said.rstrip().endswith(str(copy / "report.html"))
    html = (copy / "report.html").read_text()
    assert "Poland, figures of" in html
    assert html.count("<svg") >= 5  # brand, Dice, two curves, and what it cost
    assert "<img" not in html


@pytest.mark.parametrize(
    "words",
    [
        ("whatif", "RUN", "--samples", "10"),
        ("sample", "RUN"),
        ("run", "--out", "RUN"),
        ("quality", "--run", "RUN"),
        ("audit", "--run", "RUN", "--synthetic", "nowhere", "--out", "nowhere"),
    ],
)
def test_what_needs_images_that_were_made_says_that_it_is_a_segmentation(
    finished: Finished, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(finished[1].path)
    assert call(*(path if word == "RUN" else word for word in words)) == 2
    said = capsys.readouterr().err
    assert "holds a segmentation" in said
    assert said.count("\n") == 2


def test_other_settings_or_the_folder_of_a_run_are_refused(finished: Finished, tmp_path: Path) -> None:
    config, folder, _ = finished
    with pytest.raises(RunError, match=r"segmenter\.width 4, now it is 8"):
        segment(replace(config, segmenter=SegmenterConfig(width=8, levels=3)), folder, command="", quiet=True)
    (tmp_path / "config.yaml").write_text("sampling:\n  count: 3\n")
    with pytest.raises(RunError, match="holds a run that makes images"):
        segment(config, RunFolder(tmp_path), command="", quiet=True)


def test_images_that_nothing_can_be_learned_from_are_refused(folder_of_images: Path, tmp_path: Path) -> None:
    config = settings_for(folder_of_images)

    def refused(images: ImagesConfig, words: str) -> LichenError:
        with pytest.raises(LichenError, match=words) as caught:
            segment(replace(config, images=images), RunFolder(tmp_path / "refused"), command="", quiet=True)
        return caught.value

    assert "--images.label" in refused(ImagesConfig(), "phantoms .* have no label maps").fix
    assert "--images.label" in refused(replace(config.images, label=None), "which label maps").fix
    refused(replace(config.images, held_out_fraction=0.0), "nobody is left")
    refused(replace(config.images, size=(18, 16)), "multiple of")
    two = write_labelled(tmp_path / "two", patients=2)
    assert "3 patients" in refused(replace(config.images, path=two), "has 2 patients").fix
    twins = write_labelled(tmp_path / "twins", patients=5)
    for kind in ("images", "labels"):
        for patient in range(1, 5):
            shutil.copy(twins / kind / "00-0.png", twins / kind / f"{patient:02}-0.png")
    refused(replace(config.images, path=twins), "identical in every voxel")
    assert not (tmp_path / "refused" / "checkpoints").exists()


def test_images_that_changed_are_not_gone_on_with(finished: Finished, tmp_path: Path) -> None:
    config, _, _ = finished
    images = tmp_path / "discs"
    shutil.copytree(config.images.path or images, images)
    short = replace(
        config,
        images=replace(config.images, path=images),
        training=replace(config.training, images_seen=12),
    )
    segment(short, RunFolder(tmp_path / "run"), command="", quiet=True)
    test_image = images / split_in_three(short, open_source(short.images))[2][0].name
    with Picture.open(test_image) as picture:
        brighter = picture.point(lambda grey: 0.9 * grey)
    brighter.save(test_image)
    with pytest.raises(RunError, match="not those that the run"):
        segment(short, RunFolder(tmp_path / "run"), command="", quiet=True)


def test_a_segmenter_that_no_memory_holds_is_refused_in_words(tmp_path: Path) -> None:
    images = ImagesConfig(path=write_labelled(tmp_path / "images", patients=5, each=1), label="label_file")
    config = SegmentationConfig(images=images, segmenter=SegmenterConfig(width=10**9, levels=2))
    with pytest.raises(LichenError, match=r"width 1000000000 .* does not fit into the memory of the cpu"):
        forecast_segmentation(config)
    with pytest.raises(LichenError, match="does not fit into the memory"):
        segment(config, RunFolder(tmp_path / "run"), command="lichen segment", quiet=True)


def test_what_an_optimiser_loads_is_loaded_before_the_energy_of_a_training_is_counted() -> None:
    code = """
import sys, torch
from lichen.chain.watched import load_optimizers
assert "torch._dynamo" not in sys.modules, "nothing to test: it is there already"
load_optimizers()
before = len(sys.modules)
weight = torch.nn.Parameter(torch.zeros(3))
optimizer = torch.optim.Adam([weight], fused=True)
weight.sum().backward()
optimizer.step()
assert len(sys.modules) - before < 10, "it loads as much again"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
