"""lichen study: a table of runs, read strictly, run to the end through failures and kills, and judged."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lichen import cli
from lichen.chain.counting import on_paper
from lichen.config import CarbonConfig, RunConfig
from lichen.energy import NO_READING
from lichen.errors import ConfigError, RunError
from lichen.place import place_of
from lichen.runs import RunFolder
from lichen.samplers import check_sampling
from lichen.statistics import rank_difference
from lichen.studies.cells import cells_of
from lichen.studies.definition import Statement, Study
from lichen.studies.judging import Found, judge
from lichen.studies.reading import load_study, packaged, read_study
from lichen.studies.results import Results, Row
from lichen.studies.view import view_of
from lichen.studies.whole import run_study

TINY = """
lichen_study: 1
title: "Does a longer training find more?"
kind: runs
papers: ["A paper (2026)"]
not_tested: ["CT"]
outcomes: {copy_rate: "share of copies", training_j: "energy of training"}
sizes:
  small:
    phantoms:
      words: "Phantoms"
      seeds: [0]
      base:
        images: {phantom_patients: 8, size: [16, 16], held_out_fraction: 0.5}
        autoencoder: {kind: none}
        denoiser: {kind: reversible, channels: [8, 8], blocks: 1, attention_levels: 0, head_channels: 8}
        training: {images_seen: 64, batch_size: 8, threads: 1}
        sampling: {count: 4, steps: 2, batch_size: 4}
        audit: {scores: [pearson], self_test: 0}
      factors:
        seen:
          words: "images seen"
          levels: {64: {}, 128: {training: {images_seen: 128}}}
plots:
  energy: {title: "Energy by images seen", tables: [phantoms], outcomes: [training_j], over: seen}
statements:
  longer:
    words: "Longer training takes more energy"
    source: "A paper"
    asks: "energy, 128 images / 64"
    table: phantoms
    outcome: training_j
    contrast: {of: {seen: 128}, against: {seen: 64}, scale: ratio}
    above: 1
"""
MANY = "{" + "".join(f"{number}: {{}}, " for number in range(200)) + "}"
SHORT, LONG = "phantoms-64-seed0", "phantoms-128-seed0"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lichen_study: 1", "lichen_study: 2", "line 2: the study is of form 2"),
        ("kind: runs", "kind: races", "kind is 'races'"),
        ("not_tested:", "untested:", "the study has no untested\n  fix: did you mean not_tested?"),
        ("images_seen: 128", "images_sene: 128", "there is no setting training.images_sene"),
        ("images_seen: 128", "images_seen: many", "training.images_seen is 'many'"),
        ("seen: 128}, against", "seen: 256}, against", "the factor seen has no level 256\n  fix: give one of 64, 128"),
        ("outcome: training_j", "outcome: beauty", "there is no outcome beauty"),
        ("copy_rate:", "copy_rat:", "outcomes has no copy_rat\n  fix: did you mean copy_rate?"),
        ("    above: 1", "", "does not say when it is right"),
        ("seeds: [0]", "seeds: [0, 0]", "needs seeds, each another"),
        ("64: {}", "a/b: {}", "cannot be part of a folder's name"),
        ("over: seen", "over: colour", "has no factor colour"),
        ("[training_j], over", "[training_j, copy_rate], over", "have different units\n  fix: make two plots"),
        ("title:", "title: a\ntitle:", "has title twice"),
        ("      factors:", "      arms: [{seen: []}]\n      factors:", "names no level of seen"),
        ("  small:", "  full: {}\n  small:", "the size full has no tables"),
        ("title:", "? [title]\n:", "in place of a name"),
    ],
)
def test_a_study_that_says_something_wrong_is_refused_with_file_line_and_word(
    tiny: Path, old: str, new: str, said: str
) -> None:
    assert TINY.count(old) >= 1
    tiny.write_text(TINY.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        read_study(tiny)
    assert said in str(error.value)
    assert str(tiny) in str(error.value)


@pytest.mark.parametrize(
    ("levels", "other", "said"),
    [
        ("{64: {}, 64-b: {}}", "{b-c: {}, c: {}}", "two cells are called phantoms-64-b-c-seed0"),
        (f"{{{'a' * 200}: {{}}}}", "{b: {}}", "is too long"),
        (MANY, MANY, "asks for 40000 runs; a study has 10000 at most"),
    ],
)
def test_cells_that_would_share_a_folder_or_are_too_many_are_refused_before_anything_runs(
    tiny: Path, levels: str, other: str, said: str
) -> None:
    text = TINY.split("plots:", maxsplit=1)[0].replace("{64: {}, 128: {training: {images_seen: 128}}}", levels)
    tiny.write_text(f'{text}        g: {{words: "another", levels: {other}}}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        cells_of(read_study(tiny), "small", {}, RunConfig())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("128: {training: {images_seen: 128}}", "128: {model: {kind: stylegan2}}", "sampling.steps 2 is for diffusion"),
        ("scores: [pearson]", "scores: [beauty]", "beauty"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_the_cells_name_before_anything_is_probed(
    tiny: Path, tmp_path: Path, old: str, new: str, said: str
) -> None:
    tiny.write_text(TINY.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ConfigError, match=said) as error:
        run(tiny, tmp_path / "study")
    assert f"cell {LONG if 'stylegan2' in new else SHORT}: " in error.value.problem
    assert "level" in error.value.fix
    assert not (tmp_path / "study").exists()


def test_images_of_a_study_that_are_not_there_are_refused_before_anything_is_probed(tmp_path: Path) -> None:
    study = load_study("beware")
    data = dict.fromkeys(study.data, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="there is no such folder"):
        run_study(study, "small", data, tmp_path / "study", CarbonConfig(), quiet=True)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("name", packaged())
def test_every_packaged_study_has_cells_whose_settings_go_together_at_both_sizes(name: str) -> None:
    study = load_study(name)
    assert set(study.tables) == {"small", "full"}
    for size in study.tables:
        cells = cells_of(study, size, dict.fromkeys(study.data, Path("images")), RunConfig())
        assert len({cell.name for cell in cells}) == len(cells)
        assert len({cell.seed for cell in cells}) == 3
        for cell in cells:
            check_sampling(cell.config.sampling, cell.config.objective)
        for table in study.tables[size]:
            mine = [cell for cell in cells if cell.table == table.name]
            seen = {
                cell.config.training.images_seen for cell in mine if cell.levels.get("seen") in {None, usual(table)}
            }
            assert len(seen) == 1, "arms are compared at as many images seen"


def usual(table: Any) -> str | None:
    return next((factor.usual for factor in table.factors if factor.name == "seen"), None)


def test_images_are_asked_for_by_their_name_and_a_table_without_them_is_left_out() -> None:
    study = load_study("memorization")
    with pytest.raises(ConfigError, match="the study needs images: chest radiographs"):
        cells_of(study, "small", {}, RunConfig())
    with pytest.raises(ConfigError, match="wants no images called 'chess'"):
        cells_of(study, "small", {"chess": Path("x")}, RunConfig())
    assert {cell.table for cell in cells_of(study, "small", {"chest": Path("x")}, RunConfig())} == {"2d"}


def test_arms_of_one_seed_have_the_same_patients_and_arms_of_another_seed_others() -> None:
    cells = cells_of(load_study("beware"), "small", {"chest": Path("x")}, RunConfig())
    assert all(cell.config.images.split_seed == cell.config.training.seed == cell.seed for cell in cells)
    assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)  # every arm once before any twice
    assert len({cell.plan for cell in cells}) == 2  # what a run takes depends on the kind of model alone


def test_a_contrast_is_the_paired_difference_and_a_missing_partner_leaves_its_pair_out() -> None:
    study = load_study("beware")
    statement = next(each for each in study.statements if each.name == "copies-more")

    def found(model: str, patients: str, seed: int, value: float) -> Found:
        return Found("chest", {"model": model, "patients": patients}, seed, {"copy_rate": value})

    cells = [
        found(model, patients, seed, base + seed / 10 + (0.2 + seed / 100 if model == "diffusion" else 0.0))
        for model in ("diffusion", "stylegan2")
        for patients, base in (("16", 0.5), ("48", 0.1))
        for seed in (0, 1, 2)
    ]
    finding = judge(statement, [*cells, found("diffusion", "400", 0, 1.0)], by_name(study))
    assert finding.interval.estimate == pytest.approx(0.21)
    assert finding.verdict == "supports"
    assert judge(replace(statement, above=0.5), cells, by_name(study)).verdict == "contradicts"
    assert judge(statement, cells[:1], by_name(study)).verdict == "undecided"
    apart = [found("diffusion", "16", seed, share) for seed, share in ((0, 0.1), (1, 0.9), (2, 1.0))]
    wide = judge(statement, [*apart, *(found("stylegan2", "16", seed, 0.0) for seed in (0, 1, 2))], by_name(study))
    assert wide.interval.high == 1.0  # no difference of shares is larger, and Student's interval is


def by_name(study: Study) -> dict[str, Any]:
    return {table.name: table for table in study.tables["small"]}


def test_a_trend_looks_at_the_usual_levels_of_all_else() -> None:
    study = load_study("memorization")
    statement: Statement = next(each for each in study.statements if each.name == "patients-2d")
    usual_levels = {name: levels[0] for name, levels in by_name(study)["2d"].usual(()).items()}
    cells = [
        Found("2d", {**usual_levels, **other}, seed, {"copy_rate": value + seed / 100 * value})
        for seed in (0, 1, 2)
        for other, value in (
            ({"patients": "16"}, 0.9),
            ({"patients": "32"}, 0.6),
            ({"patients": "64"}, 0.3),
            ({"augmentation": "affine"}, 0.0),  # at 32 patients, and no part of the trend
        )
    ]
    finding = judge(statement, cells, by_name(study))
    assert finding.interval.estimate == pytest.approx(-0.3, abs=0.01)
    assert finding.verdict == "supports"


def test_ranks_that_follow_exactly_beat_ranks_that_are_reversed_by_two() -> None:
    joules = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    found = rank_difference(joules, [10 * value for value in joules], joules[::-1])
    assert found.estimate == pytest.approx(2.0)
    assert rank_difference(joules, joules, joules).estimate == pytest.approx(0.0)
    assert rank_difference(joules[:3], joules[:3], joules[:3]).estimate is None


def test_operations_grow_with_steps_images_and_voxels_as_arithmetic_says() -> None:
    config = RunConfig()
    config = replace(
        config,
        images=replace(config.images, size=(16, 16)),
        autoencoder=replace(config.autoencoder, kind="none"),
        denoiser=replace(config.denoiser, kind="reversible", channels=(8, 8), attention_levels=0, head_channels=8),
    )
    one = on_paper(config)
    wide = on_paper(replace(config, images=replace(config.images, size=(32, 32))))
    longer = on_paper(replace(config, sampling=replace(config.sampling, steps=2 * config.sampling.steps)))
    assert longer.synthesis_flop == 2 * one.synthesis_flop
    assert longer.training_flop == one.training_flop
    assert (wide.parameters, longer.parameters) == (one.parameters, one.parameters)
    per_call = one.training_flop / (3 * config.training.images_seen)
    assert one.synthesis_flop == pytest.approx(per_call * config.sampling.count * config.sampling.steps)
    assert 4 <= wide.training_flop / one.training_flop < 4.5  # four times, but for the attention in the middle


def run(path: Path, home: Path, at_once: int = 2) -> Any:
    return run_study(read_study(path), "small", {}, home, CarbonConfig(grid="FR"), at_once=at_once, quiet=True)


def finished_at(home: Path, cell: str) -> Any:
    return (RunFolder(home / "runs" / cell).read_summary() or {}).get("finished_at")


def test_a_study_goes_on_past_a_failed_run_and_after_its_runner_was_killed(tiny: Path, tmp_path: Path) -> None:
    home = tmp_path / "study"
    in_the_way = home / "runs" / LONG / "samples"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("no folder")
    results, failed = run(tiny, home)
    assert [each.job.cell.name for each in failed] == [LONG]
    assert {row.cell.name: row.state for row in results.rows} == {SHORT: "finished", LONG: "failed"}
    assert [finding.verdict for finding in results.findings] == ["undecided"]
    first = finished_at(home, SHORT)

    in_the_way.unlink()
    command = [sys.executable, "-m", "lichen", "study", str(tiny), "--out", str(home), "--quiet"]
    runner = subprocess.Popen(command, start_new_session=True)
    log = home / "logs" / f"{LONG}.txt"
    said = log.read_text()
    samples = home / "runs" / LONG / "samples"
    until = time.monotonic() + 120
    while not samples.is_dir() and runner.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(runner.pid, signal.SIGKILL)
    runner.wait()
    assert said in log.read_text()

    results, failed = run(tiny, home)
    assert not failed
    assert {row.state for row in results.rows} == {"finished"}
    assert finished_at(home, SHORT) == first, "what was finished was left alone"
    check_pages(home)
    tiny.write_text(TINY.replace("count: 4", "count: 5"), encoding="utf-8")
    with pytest.raises(RunError, match="made with other settings"):
        run(tiny, home)


def check_pages(home: Path) -> None:
    document = json.loads((home / "study.json").read_text())
    (statement,) = document["statements"]
    assert statement["effect"]["n"] == 1
    assert statement["verdict"] == "undecided", "one seed decides nothing"
    assert document["zone"] == "FR"
    assert document["spent_j"]["energy_j"] > 0
    assert document["expected"]["duration_s"]["estimate"] > 0
    with (home / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["seen"], row["state"]) for row in rows] == [("64", "finished"), ("128", "finished")]
    assert all(float(row["training_j"]) > 0 for row in rows)
    shared = {
        name: (home / name).read_text() for name in ("report.html", "study.md", "figures/energy.svg", "study.json")
    }
    for name, text in shared.items():
        assert "<img" not in text, name
        assert "data:" not in text.replace("data: {", ""), name
        assert "phantom-00" not in text, "no patient's name"
        assert "sample-0" not in text, name
    assert "figures/energy.svg" in shared["study.md"]
    assert "undecided" in shared["report.html"]


def test_an_outcome_without_a_figure_in_any_run_is_named_on_the_page(tiny: Path) -> None:
    study = read_study(tiny)
    cells = cells_of(study, "small", {}, RunConfig())

    def notes(*values: dict[str, float | None]) -> str:
        found = (Found(cell.table, cell.levels, cell.seed, each) for cell, each in zip(cells, values, strict=True))
        rows = tuple(Row(cell, "finished", each, {}) for cell, each in zip(cells, found, strict=True))
        place = place_of(CarbonConfig(grid="FR"))
        results = Results(
            study, "small", study.tables["small"], rows, (), {"energy": ()}, None, NO_READING, place, 1, 1
        )
        return " ".join(view_of(results).notes)

    said = notes({"training_j": 5.0, "copy_rate": None}, {"training_j": 6.0})
    assert "No finished run has a figure of: share of copies." in said
    assert "self_test of 0" in said
    assert "No finished run" not in notes({"training_j": 5.0}, {"training_j": 6.0, "copy_rate": 0.0})


def test_the_command_names_the_studies_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["study", "bewair"])
    assert exit_.value.code == 2
    assert "beware, latent-pollution, memorization" in capsys.readouterr().err
    with pytest.raises(SystemExit) as exit_:
        cli.main(["study", "beware", "--data", "images/chest"])
    assert exit_.value.code == 2
    assert "NAME=FOLDER" in capsys.readouterr().err


def test_a_study_without_a_size_is_refused(tiny: Path) -> None:
    tiny.write_text(f"{TINY.split('sizes:', maxsplit=1)[0]}sizes: {{}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="the study has no size"):
        read_study(tiny)
