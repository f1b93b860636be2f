"""lichen select: a search read strictly, its candidates trained once each through kills and beside other runners."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import quick_search
from lichen.carbon import Range
from lichen.config import BudgetConfig, EnergyBudgetConfig, SegmentationConfig
from lichen.energy import Interval, read_sessions, read_traces, total
from lichen.errors import BudgetError, ConfigError, RunError
from lichen.runs import RunFolder, read_lines
from lichen.searching.definition import Search, Span
from lichen.searching.points import applied, at_random, grid, places_of
from lichen.searching.reading import read_search
from lichen.searching.refusals import refuse_what_nothing_kept
from lichen.searching.rulings import Ruling, Rulings
from lichen.searching.spending import spent_on
from lichen.searching.tasks import Expected
from lichen.searching.terms import Terms
from lichen.searching.trials import Trial
from lichen.searching.whole import run_search
from lichen.selection import proposing
from lichen.selection.recording import from_json
from lichen.selection.types import Limits, Setting
from lichen.settings import dump_settings
from quick_candidate import STEPS, dice_of, summary
from quick_search import FRANCE, WIDTHS, Quick, select, written

SPANS = """
lichen_search: 1
title: "Which steps, how fast?"
task: generation
base: {images: {size: [32, 32]}}
space:
  training.learning_rate: {from: 1e-4, to: 1e-2, scale: log}
  denoiser.channels: [[8, 8], [16, 16]]
  sampling.steps: {from: 4, to: 8}
seeds: [0, 1]
planned_images: 100
"""


@pytest.fixture
def widths(tmp_path: Path) -> Search:
    return read_search(written(tmp_path / "widths.yaml", WIDTHS))


@pytest.fixture
def spans(tmp_path: Path) -> Search:
    return read_search(written(tmp_path / "spans.yaml", SPANS), "random")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "lichen_search: 1",
            "lichen_search: 2",
            "line 2: the search is of form 2; this version of lichen reads form 1",
        ),
        ("  segmenter.width: [4, 8, 16]", "  {}", "line 8: the space is empty"),
        ("  segmenter.width: [4, 8, 16]", "", "the space is empty"),
        ("[4, 8, 16]", "[]", "line 8: segmenter.width has no values, so the space is empty"),
        (
            "segmenter.width",
            "segmenter.wdith",
            "line 8: there is no setting segmenter.wdith\n  fix: did you mean segmenter.width?",
        ),
        ("[4, 8, 16]", "[4, 8, 4]", "line 8: segmenter.width has 4 twice"),
        ("[4, 8, 16]", "[4, 8, 08]", "line 8: segmenter.width has 08 twice"),
        ("[4, 8, 16]", "[4, 0]", "line 8: segmenter.width is 0; it must be at least 1"),
        ("[4, 8, 16]", "[4, wide]", "line 8: segmenter.width is 'wide'"),
        ("[4, 8, 16]", "[4, 8]\n  segmenter.width: [16]", "line 9: the space has segmenter.width twice"),
        ("[4, 8, 16]", "{from: 4, to: 16}", "line 8: segmenter.width is a span, and a grid needs values"),
        ("[4, 8, 16]", "4", "line 8: segmenter.width has one value"),
        ("seeds: [0]", f"seeds: {list(range(3334))}", "the search asks for 10002 candidates; it may have 10000"),
        ("segmenter.width: [4, 8, 16]", "training.seed: [0, 1]", "training.seed cannot be varied\n  fix: name seeds"),
        ("segmenter.width: [4, 8, 16]", "carbon.grid: [FR, DE]", "changes nothing in what is made"),
        ("task: segmentation", "task: painting", "line 4: the search: task is 'painting'"),
        ("seeds: [0]", "seeds: [0, 0]", "line 9: the search needs seeds, each another"),
        ("seeds: [0]", "quality: kernel_distance", "line 9: a segmentation has no kernel_distance"),
        ("seeds: [0]", "copy_rate: 0.1", "line 9: a segmentation makes no copies"),
        ("seeds: [0]", "planned_images: 5", "line 9: a segmentation makes no images"),
        ("seeds: [0]", "beta: -1", "line 9: beta is -1"),
        ("seeds: [0]", "peak_memory_gb: 1e305", "line 9: peak_memory_gb is 1e+305"),
        ('"How wide', '"\\ud800 How wide', "line 3: the search: title has half of a letter in it"),
        ("seeds: [0]", "seedz: [0]", "line 9: the search has no seedz\n  fix: did you mean seeds?"),
        ("images_seen: 20", "images_sene: 20", "line 6: there is no setting training.images_sene"),
    ],
)
def test_a_search_that_says_something_wrong_is_refused_with_file_and_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert WIDTHS.count(old) == 1
    path = written(tmp_path / "search.yaml", WIDTHS.replace(old, new))
    with pytest.raises(ConfigError) as error:
        read_search(path)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{path}, line ")


def test_a_search_that_is_not_there_is_no_settings_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no search in a file .*absent\.yaml\n  fix: name its YAML file"):
        read_search(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("from: 1e-4", "from: 0", "training.learning_rate starts at 0, which has no logarithm"),
        ("from: 1e-4", "from: 1", "training.learning_rate goes from 1 to 0.01"),
        ("scale: log", "scale: cubic", "training.learning_rate has the scale 'cubic'"),
        ("{from: 4, to: 8}", "{from: 0, to: 8}", "sampling.steps is 0"),
        ("{from: 4, to: 8}", "{from: 4, to: .inf}", "to is '.inf'\n  fix: give a number"),
        ("[[8, 8], [16, 16]]", "{from: 8, to: 16}", "denoiser.channels is no number"),
        ("[[8, 8], [16, 16]]", "[[8, 8], [7]]", "denoiser.channels is 7; every level needs a positive multiple of 8"),
        ("planned_images: 100", "", "the search has no planned_images"),
        ("{images: {size: [32, 32]}}", "{sampling: {count: 8}}", "line 5: candidates draw 8 images each"),
    ],
)
def test_a_span_that_no_value_can_come_from_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = written(tmp_path / "search.yaml", SPANS.replace(old, new))
    with pytest.raises(ConfigError) as error:
        read_search(path, "random")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        ({"method": "random"}, "needs a number of trials"),
        ({"trials": 3}, "a grid has no number of trials"),
        ({"converge": True}, "no budget to converge beyond"),
        ({"budget": EnergyBudgetConfig(carbon_g=1.0)}, "without a place nobody knows the grams"),
        ({"search_budget": EnergyBudgetConfig(carbon_g=1.0)}, r"^search-budget\.carbon-g .* nobody knows the grams"),
        ({"budget": EnergyBudgetConfig(energy_kwh=0.0)}, r"^budget\.energy-kwh is 0\.0; it must be positive"),
        ({"search_budget": EnergyBudgetConfig(energy_kwh=-1.0)}, r"^search-budget\.energy-kwh is -1\.0"),
        ({"at_once": 0}, "processes is 0"),
    ],
)
def test_terms_that_do_not_go_together_are_refused(terms: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Terms(**terms)  # type: ignore[arg-type]


def test_a_budget_of_grams_is_kept_at_the_upper_edge_of_place_and_building(widths: Search) -> None:
    terms = Terms(carbon=replace(FRANCE, pue=2.0, intensity=100.0), budget=EnergyBudgetConfig(carbon_g=50.0))
    assert terms.limits(widths).candidate_j == pytest.approx(0.25 * 3.6e6)
    unknown = replace(terms, carbon=replace(FRANCE, intensity=100.0))
    assert unknown.limits(widths).candidate_j == pytest.approx(0.5 / 1.58 * 3.6e6)
    both = replace(unknown, budget=EnergyBudgetConfig(carbon_g=50.0, energy_kwh=0.1))
    assert both.cut_j == pytest.approx(0.1 * 3.6e6)
    assert replace(both, converge=True).limits(widths).candidate_j is None


def test_every_combination_has_one_name_and_the_settings_it_says(tmp_path: Path) -> None:
    text = WIDTHS.replace("[4, 8, 16]", "[4, 8]\n  segmenter.levels: [2, 3]").replace("[0]", "[0, 1]")
    search = read_search(written(tmp_path / "search.yaml", text))
    places = places_of(search, grid(search))
    assert [place.name for place in places[:2]] == ["width-4-levels-2-seed-0", "width-4-levels-3-seed-0"]
    assert [place.seed for place in places] == [0, 0, 0, 0, 1, 1, 1, 1]
    made = applied(search, places[1].point, SegmentationConfig())
    assert (made.segmenter.width, made.segmenter.levels) == (4, 3)
    assert places[1].settings == {"segmenter.width": 4.0, "segmenter.levels": 3.0}


def test_random_points_lie_in_the_space_and_more_of_them_begin_with_the_same(spans: Search) -> None:
    points = at_random(spans, 40, seed=3)
    assert points[:10] == at_random(spans, 10, seed=3)
    assert points != at_random(spans, 40, seed=4)
    assert {point["denoiser.channels"] for point in points} == {"8x8", "16x16"}
    assert {point["sampling.steps"] for point in points} == set("45678")
    rates = [float(point["training.learning_rate"]) for point in points]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert 12 <= sum(rate < 1e-3 for rate in rates) <= 28, "half of a log scale lies below its middle"
    few = replace(spans, space=tuple(each for each in spans.space if not isinstance(each, Span)))
    assert len(at_random(few, 40, seed=3)) == 2


def test_a_ruling_stands_until_one_of_its_limits_is_raised(tmp_path: Path) -> None:
    rulings = Rulings(tmp_path / "decisions.jsonl")
    then = Limits(candidate_j=10.0, search_j=100.0)
    assert len(rulings.add([Ruling("a", "refuse", "too dear", then)])) == 1
    assert rulings.add([Ruling("a", "refuse", "too dear", then)]) == ()
    assert rulings.standing(then)["a"].reason == "too dear"
    assert "a" not in Rulings(tmp_path / "decisions.jsonl", exhaustive=True).standing(then), "more than limits counted"
    assert "a" in rulings.standing(replace(then, candidate_j=5.0))
    assert "a" not in rulings.standing(replace(then, candidate_j=11.0))
    assert "a" not in rulings.standing(replace(then, search_j=None))


def test_a_cut_candidate_stays_so_until_its_budget_is_raised_or_it_is_to_converge(
    tmp_path: Path, widths: Search
) -> None:
    place = places_of(widths, grid(widths))[0]
    budget = EnergyBudgetConfig(energy_kwh=1e-5)
    config = applied(widths, place.point, SegmentationConfig(carbon=FRANCE))
    expected = Expected(Range(1, 40, 80), None, Interval(1, 1, 1), None, None, None)

    def trial(terms: Terms) -> Trial:
        return Trial(place, config, Quick(), 0, terms, tmp_path)

    terms = Terms(carbon=FRANCE, budget=budget)
    folder = trial(terms).folder
    folder.path.mkdir(parents=True)
    folder.write_config(dump_settings(replace(config, budget=BudgetConfig(energy_kwh=1e-5))))
    phase = {"phase": "segmenter", "duration_s": 1.0, "low_j": 30.0, "energy_j": 35.0, "high_j": 40.0}
    folder.write_summary(summary(config, "cut", 0.7, {"phases": [phase]}))
    found = trial(terms).candidate(expected, None, None)
    assert (found.state, found.cut and found.cut.quality, found.found) == ("stopped", 0.7, None)
    larger = replace(terms, budget=EnergyBudgetConfig(energy_kwh=2e-5))
    found = trial(larger).candidate(expected, None, None)
    assert (found.state, found.cut) == ("waiting", None)
    assert trial(Terms(carbon=FRANCE)).candidate(expected, None, None).state == "waiting"

    converging = trial(replace(terms, converge=True))
    found = converging.candidate(expected, None, None)
    assert (found.state, found.cut and found.cut.quality) == ("waiting", 0.7)
    converging.start(1).wait()
    found = converging.candidate(expected, None, None)
    assert (found.state, found.cut and found.cut.quality) == ("finished", 0.7)
    assert found.found is not None
    assert found.found.quality == dice_of(4)
    with pytest.raises(RunError, match="made with other settings"):
        replace(converging, config=replace(config, segmenter=replace(config.segmenter, width=5))).find()


def runner(search: Search, home: Path, *method: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, quick_search.__file__, str(search.path), str(home), *method])


def until(true: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def lines_of(home: Path) -> int:
    return sum(len(path.read_text().splitlines()) for path in home.glob("runs/*/log.jsonl"))


def pid_in(folder: RunFolder) -> int:
    return read_sessions(folder.traces)[-1].pid


def test_what_was_killed_goes_on_and_two_runners_share_what_is_left(tmp_path: Path, widths: Search) -> None:
    home = tmp_path / "search"
    first = runner(widths, home, "grid")
    until(lambda: lines_of(home) >= 3)
    (begun,) = (RunFolder(path) for path in home.glob("runs/*"))
    os.kill(pid_in(begun), signal.SIGKILL)  # the candidate: it failed, and the runner goes on with the next
    until(lambda: len(list(home.glob("runs/*/log.jsonl"))) == 2)
    os.kill(first.pid, signal.SIGKILL)  # the runner: its candidate lives on, and is waited for
    first.wait()
    second = runner(widths, home, "grid")
    results = select(widths, home, Terms(carbon=FRANCE))
    assert second.wait() == 0
    assert [one.state for one in results.candidates] == ["finished"] * 3
    for folder in map(RunFolder, home.glob("runs/*")):
        seen = [json.loads(line)["images_seen"] for line in folder.log.read_text().splitlines()]
        assert seen == list(range(1, STEPS + 1)), "every step once"
        assert len(read_sessions(folder.traces)) == (2 if folder == begun else 1)
    traces = [total(p.total for p in read_traces(RunFolder(path).traces)).energy_j for path in home.glob("runs/*")]
    assert sum(one.spent_j for one in results.candidates) == pytest.approx(sum(joules or 0 for joules in traces))
    assert (spent_on(home).energy_j.estimate or 0) >= sum(one.spent_j for one in results.candidates)
    finished = {path: path.read_bytes() for path in home.glob("runs/*/summary.json")}
    select(widths, home, Terms(carbon=FRANCE))
    assert finished == {path: path.read_bytes() for path in home.glob("runs/*/summary.json")}


def test_what_was_refused_for_another_is_trained_where_all_are(tmp_path: Path, widths: Search) -> None:
    home = tmp_path / "search"
    rulings = Rulings(home / "decisions.jsonl")
    home.mkdir()
    rulings.add([Ruling(f"width-{width}-seed-0", "refuse", "dominated", Limits()) for width in (8, 16)])
    assert [one.state for one in select(widths, home, Terms(carbon=FRANCE), 10.0).candidates] == [
        "finished",
        "refused",
        "refused",
    ]
    results = select(widths, home, Terms(carbon=FRANCE, exhaustive=True), per_width_j=10.0)
    assert [one.state for one in results.candidates] == ["finished"] * 3
    kept = from_json(json.loads((home / "candidates.json").read_text()))
    assert [one.forecast_j for one in kept] == [Range(8 * w, 10 * w, 12.5 * w) for w in (4, 8, 16)]
    assert all(one.training_j != one.forecast_j for one in kept)


def test_a_budget_that_is_spent_before_there_is_anything_to_test_stops_a_candidate_and_fails_none(
    tmp_path: Path, widths: Search
) -> None:
    place = places_of(widths, grid(widths))[0]
    expected = Expected(Range(1, 40, 80), None, Interval(1, 1, 1), None, None, None)
    terms = Terms(carbon=FRANCE, budget=EnergyBudgetConfig(energy_kwh=1e-5))

    def state(terms: Terms) -> tuple[str, str]:
        trial = Trial(place, applied(widths, place.point, SegmentationConfig()), Quick(), 0, terms, tmp_path)
        found = trial.candidate(expected, None, None)
        return found.state, found.reason

    Trial(place, SegmentationConfig(), Quick(), 0, terms, tmp_path).lose_to_budget()
    assert state(terms) == ("stopped", "its budget is spent")
    assert state(replace(terms, converge=True)) == ("waiting", "")
    assert state(replace(terms, budget=EnergyBudgetConfig(energy_kwh=2e-5))) == ("waiting", "")


def test_what_cannot_keep_the_budget_is_never_trained_and_a_budget_below_all_names_the_cheapest(
    tmp_path: Path, widths: Search
) -> None:
    home = tmp_path / "search"
    small, large = (Terms(carbon=FRANCE, budget=EnergyBudgetConfig(energy_kwh=joules / 3.6e6)) for joules in (1, 50))
    with pytest.raises(BudgetError, match=r"the cheapest candidate, width-4-seed-0, costs .* --budget\.energy-kwh is"):
        select(widths, home, small, per_width_j=10.0)
    assert not (home / "runs").exists()
    results = select(widths, home, large, per_width_j=10.0)
    assert {one.name: one.state for one in results.candidates} == {
        "width-4-seed-0": "finished",
        "width-8-seed-0": "refused",
        "width-16-seed-0": "refused",
    }
    assert [path.name for path in home.glob("runs/*")] == ["width-4-seed-0"]
    assert len((home / "decisions.jsonl").read_text().splitlines()) == 5


def test_optuna_goes_on_with_the_trial_that_a_killed_process_left(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    search = read_search(
        written(tmp_path / "search.yaml", WIDTHS.replace("[4, 8, 16]", "{from: 2, to: 64, scale: log}")), "optuna"
    )
    home = tmp_path / "search"
    first = runner(search, home, "optuna", "3")
    until(lambda: lines_of(home) >= 3)
    (begun,) = (RunFolder(path) for path in home.glob("runs/*"))
    for pid in (first.pid, pid_in(begun)):
        os.kill(pid, signal.SIGKILL)
    first.wait()
    terms = Terms(method="optuna", trials=3, carbon=FRANCE)
    results = select(search, home, terms)
    assert begun.path.name in {one.name for one in results.candidates}
    assert 1 <= len(results.candidates) <= 3
    assert {one.state for one in results.candidates} == {"finished"}
    again = select(search, home, terms)
    assert [asdict(one) for one in again.candidates] == [asdict(one) for one in results.candidates]


def test_many_rulings_are_kept_in_one_reading_of_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rulings, readings = Rulings(tmp_path / "decisions.jsonl"), list[Path]()

    def reading(path: Path) -> list[dict[str, Any]]:
        readings.append(path)
        return read_lines(path)

    monkeypatch.setattr("lichen.searching.rulings.read_lines", reading)
    many = [Ruling(f"width-{width}", "refuse", "too dear", Limits()) for width in range(50)]
    assert rulings.add(many[:25]) == tuple(many[:25])
    assert rulings.add(many) == tuple(many[25:])
    assert len(readings) == 2
    assert list(rulings.standing(Limits())) == [each.candidate for each in many]


def test_a_small_space_is_drawn_from_until_all_of_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = WIDTHS.replace("[4, 8, 16]", "{from: 4, to: 6}\n  segmenter.levels: [2, 3]")
    search = read_search(written(tmp_path / "search.yaml", text), "random")
    draw, draws = proposing.at_random, list[int]()

    def drawing(space: proposing.Space, seed: int, number: int) -> dict[str, Setting]:
        draws.append(number)
        return draw(space, seed, number)

    monkeypatch.setattr(proposing, "at_random", drawing)
    assert len(at_random(search, 10_000, seed=0)) == 6
    assert len(draws) < 100


def test_images_that_are_not_there_are_missed_before_anything_is_timed(tmp_path: Path, widths: Search) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        run_search(widths, tmp_path / "nowhere", tmp_path / "search", Terms(carbon=FRANCE), task=Quick(), quiet=True)
    assert not (tmp_path / "search").exists()


def test_a_budget_that_nothing_could_be_tested_within_says_what_would_do(tmp_path: Path, widths: Search) -> None:
    budget = EnergyBudgetConfig(energy_kwh=1e-5)
    terms, home = Terms(carbon=FRANCE, budget=budget), tmp_path / "search"
    place = places_of(widths, grid(widths))[0]
    expected = Expected(Range(1, 20, 36), None, Interval(1, 1, 1), None, None, None)
    trial = Trial(place, applied(widths, place.point, SegmentationConfig()), Quick(), 0, terms, home)
    trial.lose_to_budget()
    lost = trial.candidate(expected, None, None)
    assert lost.cut_untested
    with pytest.raises(BudgetError, match=r"before any candidate could be tested\n  fix: raise it: .* width-4"):
        refuse_what_nothing_kept([lost], terms)
