"""Audits and figures of quality go on without images that cannot be used, and say that they do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lichen.cli import main
from lichen.images import open_folder, write_sample
from lichen.images.size import look_at
from lichen.skipped import skipped_words

Call = Callable[..., tuple[int, str, str]]
SETS = {"synthetic": 8, "train": 12, "reference": 24}
BROKEN = {"synthetic": ("0-broken.png", "9-broken.png"), "train": ("0-broken.png",), "reference": ("9-broken.png",)}
SKIPPED = {name: len(files) for name, files in BROKEN.items()}
WORDS = "2 synthetic, 1 training and 1 reference images"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(list(map(str, words)))
        said = capsys.readouterr()
        return int(exit_.value.code or 0), said.out, said.err

    return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of pictures of which each can be used."""
    root, rng = tmp_path_factory.mktemp("whole"), np.random.default_rng(0)
    for name, count in SETS.items():
        for number in range(count):
            coarse = rng.uniform(-1, 1, (1, 4, 4)).astype(np.float32)
            picture = coarse.repeat(4, axis=1).repeat(4, axis=2)
            write_sample(root / name / f"{name}-{number:02}.png", picture, np.eye(4), {})
    return root


@pytest.fixture(scope="module")
def damaged(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same folders, and broken files among them."""
    root = tmp_path_factory.mktemp("damaged")
    for name, files in BROKEN.items():
        shutil.copytree(whole / name, root / name)
        for file in files:
            (root / name / file).write_bytes(b"no picture")
    return root


def sets(root: Path) -> tuple[object, ...]:
    return tuple(word for name in SETS for word in (f"--{name}", root / name))


def audit(call: Call, root: Path, out: Path, *more: object) -> tuple[int, str, str]:
    return call("audit", *sets(root), "--out", out, "--audit.scores", "pearson", "--audit.self-test", 2, *more)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("command", ["audit", "quality"])
def test_one_broken_file_stops_both_commands_in_two_lines_that_name_it(
    whole: Path, damaged: Path, tmp_path: Path, call: Call, command: str, name: str
) -> None:
    given = {**{each: whole / each for each in SETS}, name: damaged / name}
    words = [word for each, path in given.items() for word in (f"--{each}", path)]
    code, _, said = call(command, *words, "--out", tmp_path, "--quiet")
    assert code == 2
    error, fix = said.splitlines()
    assert BROKEN[name][0] in error
    assert fix.startswith("  fix: ")


def test_an_audit_without_broken_images_is_that_of_the_others_and_says_what_it_does_not_speak_of(
    whole: Path, damaged: Path, tmp_path: Path, call: Call
) -> None:
    code, usual, _ = audit(call, whole, tmp_path / "whole", "--json", "--quiet")
    again, shown, told = audit(call, damaged, tmp_path / "damaged", "--images.skip-bad")
    assert code == again
    expected = json.loads(usual)
    found = json.loads((tmp_path / "damaged" / "audit.json").read_text(encoding="utf-8"))
    assert found["counts"].pop("skipped") == SKIPPED
    assert set(expected["counts"].pop("skipped").values()) == {0}
    same = ("verdict", "counts", "resolution", "copy_rate", "self_test", "calibration", "inputs")
    assert {key: found[key] for key in same} == {key: expected[key] for key in same}
    for one, other in zip(found["images"], expected["images"], strict=True):
        assert (one["file"], one["p_value"], one["scores"]) == (other["file"], other["p_value"], other["scores"])
    more = [words for words in found["not_tested"] if words not in expected["not_tested"]]
    assert more == [
        "left out as unusable: 2 synthetic images, of which the verdict says nothing",
        "left out as unusable: 1 training image, of which a copy goes unnoticed",
        "left out as unusable: 1 reference image",
    ]
    assert f"left out as unusable: {WORDS}" in shown.splitlines()[0], "it stands beside the verdict"
    assert "2 of 10 synthetic images left out (lichen images lists them); the first is 0-broken.png" in told
    page = (tmp_path / "damaged" / "report.html").read_text(encoding="utf-8")
    assert f"It says nothing of {WORDS} left out" in page
    assert "left out" not in (tmp_path / "whole" / "report.html").read_text(encoding="utf-8")
    assert "broken.png" not in json.dumps(found) + page, "a file may be named for a patient"


def test_figures_of_quality_are_those_of_the_images_that_can_be_used_and_say_how_many_cannot(
    whole: Path, damaged: Path, tmp_path: Path, call: Call
) -> None:
    features = ("--features", "radiomics")
    code, usual, _ = call("quality", *sets(whole), "--out", tmp_path / "whole", *features, "--json", "--quiet")
    again, shown, told = call("quality", *sets(damaged), "--out", tmp_path / "damaged", *features, "--images.skip-bad")
    assert code == again == 0
    expected = json.loads(usual)
    found = json.loads((tmp_path / "damaged" / "quality.json").read_text(encoding="utf-8"))
    assert found["counts"].pop("skipped") == {"synthetic": 2, "reference": 1, "train": 1}
    assert set(expected["counts"].pop("skipped").values()) == {0}
    assert [found[key] for key in ("counts", "figures", "inputs")] == [
        expected[key] for key in ("counts", "figures", "inputs")
    ]
    (more,) = set(found["not_seen"]) - set(expected["not_seen"])
    said = "2 synthetic, 1 reference and 1 training images"
    assert more == f"What was left out as unusable: {said}."
    assert f"left out as unusable: {said}" in shown
    assert more in (tmp_path / "damaged" / "quality.html").read_text(encoding="utf-8")
    assert "1 of 25 reference images left out" in told


def test_a_broken_header_and_an_odd_number_of_axes_do_not_choose_the_grid(damaged: Path) -> None:
    source = open_folder(damaged / "synthetic")
    seen = [look.shape for look in look_at(source.items, 2, skip_bad=True)]
    assert seen == [(16, 16)] * SETS["synthetic"]
    assert not list(look_at([], 2, skip_bad=True))
    with pytest.raises(Exception, match=r"0-broken\.png"):
        list(look_at(source.items, 2))
    with pytest.raises(Exception, match="2 spatial axes and the others have 3"):
        list(look_at(source.items[1:-1], 3, skip_bad=True))


def test_what_was_left_out_is_counted_by_set() -> None:
    assert skipped_words({}) == skipped_words({"synthetic": 0, "train": 0}) == ""
    assert skipped_words({"synthetic": 0, "train": 1}) == "1 training image"
    assert skipped_words({"synthetic": 2, "withheld": 3.0}) == "2 synthetic and 3 withheld images"
