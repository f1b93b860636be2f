"""The face: commands, exit codes, JSON, and errors in two lines."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lichen.cli import main
from lichen.commands import COMMANDS
from lichen.config import SegmentationConfig
from lichen.images import load_set, write_sample
from lichen.images.phantoms import phantom_source
from lichen.settings import dump_settings

TINY = str(Path(__file__).with_name("tiny.yaml"))
SEARCH = """
lichen_search: 1
title: "How long?"
task: generation
base: {images: {phantom_patients: 24, size: [16, 16], held_out_fraction: 0.5}, sampling: {count: 16}}
space: {training.images_seen: [64, 128]}
seeds: [0]
planned_images: 100
"""


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run made by the command line."""
    folder = tmp_path_factory.mktemp("cli") / "runs" / "first"
    assert call("run", "--config", TINY, "--out", str(folder), "--quiet") == 3
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of phantom pictures: of 100 + 8 patients, one image each, and two kinds of "synthetic" set."""
    root = tmp_path_factory.mktemp("folders")
    items = [item for item in phantom_source("2d", 124).items if item.name.endswith("-0")]
    images = load_set(items, (32, 32))
    parts = {"reference": range(100), "train": range(100, 116), "new": range(116, 124), "copied": range(100, 108)}
    for name, positions in parts.items():
        for position in positions:
            voxels = (images.voxels[position] * (0.98 if name == "copied" else 1.0)).numpy()
            write_sample(root / name / f"image-{position:03}.png", voxels, images.affine, {})
    return {name: root / name for name in parts}


def audit(folders: dict[str, Path], synthetic: str, out: Path, *more: str) -> int:
    sets = ("--train", str(folders["train"]), "--reference", str(folders["reference"]), "--images.size", "32", "32")
    more = ("--audit.scores", "pearson", "--audit.self-test", "4", *more)
    return call("audit", "--synthetic", str(folders[synthetic]), *sets, "--out", str(out), "--quiet", *more)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(command, "--help") == 0
    assert f"usage: lichen {command}" in capsys.readouterr().out


def test_train_says_in_its_own_words_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Train a generator and stop there" in shown
    assert "audit and report, in one run folder" not in shown


def test_help_is_there_within_a_third_of_a_second() -> None:
    def once() -> float:
        # processor time, because other work on this machine must not decide
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "lichen", "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(once() for _ in range(5)) < 0.3


def test_a_mistyped_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("adit") == 2
    assert "did you mean lichen audit?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--images.path", "nowhere"], "nowhere is not there"),
        (["run", "--config", "nowhere.yaml"], "nowhere.yaml does not exist"),
        (["run", "--carbon.pue", "0.5"], "carbon.pue is 0.5"),
        (["sample", "nowhere"], "nowhere"),
        (["report", "nowhere"], "nowhere"),
        (["runs", "nowhere"], "there is no folder nowhere"),
        (["report", "file"], "file is a file, and not a run folder"),
        (["run", "--out", "file"], "file is a file, and not a folder"),
        (["segment", "--out", "file/below"], "file is a file, and not a folder"),
        (["select", "search.yaml", "--out", "file"], "file is a file, and not a folder"),
        (["study", "latent-pollution", "--out", "file"], "file is a file, and not a folder"),
        (["select", "search.yaml", "--search-budget.energy-kwh", "0"], "error: search-budget.energy-kwh is 0.0"),
        (["predict", "--config", "segmentation.yaml"], "segmentation.yaml holds the settings of a segmentation"),
        (["run", "--config", "segmentation.yaml"], "segmentation.yaml holds the settings of a segmentation"),
    ],
)
def test_what_cannot_be_used_is_said_in_two_lines_with_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "segmentation.yaml").write_text(dump_settings(SegmentationConfig()))
    (tmp_path / "search.yaml").write_text(SEARCH)
    assert call(*arguments) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert lines[1].startswith("  fix: ")
    assert len(lines) == 2


def test_a_run_prints_ten_lines_or_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("run", "--config", TINY, "--out", str(finished), "--quiet")
    assert call(*arguments) == 3
    assert len(capsys.readouterr().out.strip().splitlines()) == 10
    assert call(*arguments, "--json") == 3
    summary = json.loads(capsys.readouterr().out)
    assert summary["audit"]["verdict"] == "inconclusive"
    assert summary["carbon"]["total_g"]["estimate"] is None


def test_an_unknown_place_is_a_range_in_words(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call("run", "--config", TINY, "--out", str(finished), "--quiet")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("carbon")]
    assert " to " in line
    assert "place unknown" in line


def test_a_report_can_be_seen_from_another_place_without_running_again(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}
    for grid in ("FR", "PL"):
        assert call("report", str(finished), "--carbon.grid", grid, "--json") == 0
        seen[grid] = json.loads(capsys.readouterr().out)["summary"]
    assert seen["FR"]["energy"] == seen["PL"]["energy"]
    grams = [seen[grid]["carbon"]["total_g"]["estimate"] for grid in ("FR", "PL")]
    per_kwh = [seen[grid]["carbon"]["g_per_kwh"]["estimate"] for grid in ("FR", "PL")]
    assert grams[1] / grams[0] == pytest.approx(per_kwh[1] / per_kwh[0])
    assert "Poland" in (finished / "report.html").read_text()


def test_runs_are_listed_in_a_table_and_as_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("runs", str(finished.parent)) == 0
    assert "finished" in capsys.readouterr().out
    assert call("runs", str(finished.parent), "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert row["verdict"] == "inconclusive"


def test_more_samples_can_be_drawn_into_a_folder_of_their_own(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--sampling.count", "3", "--sampling.steps", "4", "--quiet", "--json")
    assert call("sample", str(finished), "--out", str(tmp_path / "more"), *options) == 0
    assert json.loads(capsys.readouterr().out)["drawn"] == 3
    assert len(list((tmp_path / "more").glob("*.png"))) == 3
    same = (finished / "samples" / "sample-000001.png").read_bytes()
    assert (tmp_path / "more" / "sample-000001.png").read_bytes() == same


def test_samples_in_a_folder_of_their_own_are_audited_with_the_patients_of_their_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--synthetic", str(finished / "samples"), "--out", str(tmp_path), "--quiet", "--json")
    assert call("audit", "--run", str(finished), *options) == 3
    found = json.loads(capsys.readouterr().out)
    known = json.loads((finished / "audit" / "audit.json").read_text())
    assert found["counts"] == known["counts"]
    assert [image["p_value"] for image in found["images"]] == [image["p_value"] for image in known["images"]]
    assert call("audit", *options) == 2
    assert "--run RUN" in capsys.readouterr().err


def test_the_quality_of_a_run_is_that_of_its_samples_beside_its_own_images(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("quality", "--run", str(finished), "--features", "random-conv", "--quiet", "--json")
    assert call(*options) == 0
    found = json.loads(capsys.readouterr().out)
    images = json.loads((finished / "summary.json").read_text())["images"]
    assert found["counts"]["synthetic_images"] == 10
    assert found["counts"]["reference_patients"] == images["held_out_patients"]
    assert found["counts"]["train_images"] == images["train_images"]
    assert {path.name for path in (finished / "quality").iterdir()} == {"quality.json", "quality.html"}
    named = ("--synthetic", str(finished / "samples"), "--out", str(tmp_path))
    assert call(*options, *named) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_an_unknown_score_is_refused_before_anything_is_read(tmp_path: Path, capsys: Any) -> None:
    assert call("run", "--out", str(tmp_path), "--audit.scores", "magic") == 2
    assert "magic" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_images_of_new_patients_are_clean_and_copies_are_found(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(folders, "new", tmp_path / "new") == 0
    assert "clean" in capsys.readouterr().out
    assert audit(folders, "copied", tmp_path / "copied", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "copies"
    real = json.loads((tmp_path / "copied" / "PRIVATE-names.json").read_text())["images"]
    assert {image["file"]: real[image["nearest_image"]]["file"] for image in found["images"] if image["flagged"]} == {
        f"image-{n}.png": f"image-{n}.png" for n in range(100, 108)
    }
    written = json.loads((tmp_path / "copied" / "audit.json").read_text())
    assert set(written["inputs"]) == {"synthetic", "train", "reference"}


def test_a_reader_who_stops_early_does_not_change_the_verdict(folders: dict[str, Path], tmp_path: Path) -> None:
    sets = [f"--{name} {folders[name]}" for name in ("train", "reference")]
    audited = (
        f"-m lichen audit {' '.join(sets)} --synthetic {folders['copied']} --out {tmp_path} --quiet --audit.self-test 2"
    )
    pipe = f"{sys.executable} {audited} | true; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", pipe], check=False).returncode == 1


def test_a_full_disk_is_no_verdict(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def full(_: list[str]) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(COMMANDS, "doctor", full)
    assert call("doctor") == 2
    assert "No space left" in capsys.readouterr().err


def test_a_defect_of_lichen_is_no_verdict(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setitem(COMMANDS, "doctor", lambda _: 1 // 0)
    assert call("doctor") == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_training_images_given_as_reference_are_an_error(
    folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit({**folders, "reference": folders["train"]}, "new", tmp_path) == 2
    assert "fix:" in capsys.readouterr().err


def test_init_writes_settings_that_run_reads_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("init", "mine.yaml", "--preset", "demo", "--phantoms", "3d") == 0
    text = (tmp_path / "mine.yaml").read_text()
    assert "# How synthetic images are drawn." in text
    assert "phantoms: " in text
    assert call("init", "mine.yaml") == 2
    assert (tmp_path / "mine.yaml").read_text() == text


def test_the_doctor_examines_meters_devices_and_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("doctor") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("torch", "GPU", "energy of cpu", "memory"))
    assert call("doctor", "--json") == 0
    assert {"about", "works", "detail"} == set(json.loads(capsys.readouterr().out)[0])


def test_an_option_beats_the_file_and_the_file_beats_the_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lichen.commands.common import settings_of
    from lichen.options import RunOptions

    path = tmp_path / "x.yaml"
    path.write_text("sampling:\n  count: 7\n  steps: 9\n")
    _, config = settings_of(RunOptions, ["--preset", "demo", "--config", str(path), "--sampling.steps", "11"], "run")
    assert (config.sampling.count, config.sampling.steps) == (7, 11)
    assert config.autoencoder.channels == (16, 32, 32)
    _, volumes = settings_of(RunOptions, ["--preset", "demo", "--images.phantoms", "3d"], "run")
    assert volumes.autoencoder.channels == (8, 16, 32)


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["run", "--training.images-seen", "abc"], "--training.images-seen: invalid literal", "--training.images-seen"),
        (["run", "--images.size", "64", "x"], "--images.size: no type matching", "--images.size"),
        (["run", "--training.image-seen", "3"], "--training.image-seen", "did you mean --training.images-seen INT?"),
        (["run", "--images.fit", "squeeze"], "'squeeze' for argument '--images.fit'", "lichen run --help"),
        (["run", "--config"], "missing value for argument '--config'", "lichen run --help"),
        (["audit", "--train", "x"], "missing from lichen audit: --synthetic PATH --out PATH", "lichen audit --help"),
        (["report"], "missing from lichen report: PATH", "lichen report --help"),
        (["runs", "a", "b"], "unrecognized options: b", "lichen runs --help"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_malformed_options_are_refused_in_two_lines_with_code_2(
    arguments: list[str],
    problem: str,
    fix: str,
    encoding: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # tyro draws its boxes by the encoding of the output
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    assert call(*arguments) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert problem in first
    assert second.startswith("  fix: ")
    assert fix in second


def test_a_name_in_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "a\x1b[2Jb")])
    errors = capsys.readouterr().err
    assert r"a\x1b[2Jb" in errors
    assert "\x1b" not in errors
    assert len(errors.splitlines()) == 2


def test_names_of_patients_are_never_written_among_the_synthetic_images(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for out in (made, made / "audit"):
        with pytest.raises(SystemExit) as ended:
            main(["audit", "--synthetic", str(made), "--train", "t", "--reference", "r", "--out", str(out)])
        assert ended.value.code == 2
        assert "patients' names" in capsys.readouterr().err
    assert not list(made.iterdir())
