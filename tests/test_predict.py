"""Looking ahead and back: lichen predict, lichen whatif, and a forecast beside what came."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lichen import cli
from lichen.carbon import J_PER_KWH, Plan, intensity, what_if
from lichen.chain import run
from lichen.energy import Energy, Forecast, Interval, PhaseForecast
from lichen.energy.readings import NO_READING
from lichen.footprint import footprint_of
from lichen.hindsight import forecast_and_what_came
from lichen.outlook import Outlook
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings

TINY = Path(__file__).with_name("tiny.yaml")
Call = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    config = load_settings(TINY, load_preset("demo", 2))
    folder = RunFolder(tmp_path_factory.mktemp("predict") / "run")
    config = replace(
        config,
        autoencoder=replace(config.autoencoder, images_seen=64),
        training=replace(config.training, images_seen=64),
        carbon=replace(config.carbon, grid="FR", pue=1.0),
    )
    run(config, folder, command="lichen run", quiet=True)
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def call(*words: str) -> tuple[int, Any]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main(list(words))
        said = capsys.readouterr()
        return int(exit_.value.code or 0), json.loads(
            said.out
        ) if "--json" in words and said.out else said.out + said.err

    return call


def test_a_plan_is_forecast_in_whole_and_in_parts(call: Call) -> None:
    plan = ("--preset", "demo", "--config", str(TINY), "--grid", "FR")
    code, found = call("predict", *plan, "--samples", "200", "--images-seen", "5000", "--quiet", "--json")
    assert code == 0
    assert (found["samples"], found["images_seen"], found["zone"]) == (200, 5000, "FR")
    phases = {phase["phase"]: phase for phase in found["phases"]}
    assert list(phases) == ["autoencoder", "encode", "diffusion", "denoise", "decode"]
    assert phases["diffusion"]["units"] == 5000
    assert phases["denoise"]["units"] == 200 * 4  # four steps of tiny.yaml, in whole batches of eight
    for figure in ("duration_s", "energy_kwh", "carbon_g"):
        assert 0 < found[figure]["low"] < found[figure]["estimate"] < found[figure]["high"]
        if figure != "carbon_g":
            parts = [found[part][figure]["estimate"] for part in ("training", "synthesis")]
            assert sum(parts) == pytest.approx(found[figure]["estimate"])
    synthesis = found["synthesis"]["energy_kwh"]["estimate"] / 200
    assert found["synthesis_overtakes_training_at"] == pytest.approx(
        found["training"]["energy_kwh"]["estimate"] / synthesis, abs=8
    )
    assert found["peak_memory_bytes"] > 1e6
    code, words = call("predict", *plan, "--samples", "8", "--images-seen", "64", "--quiet")
    assert code == 0
    assert all(word in words for word in ("time", "energy", "memory", "in France", "overtakes training at"))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("predict", "--samples", "0"), "samples is 0"),
        (("predict", "--images-seen", "-3"), "images-seen is -3"),
        (("predict", "--carbon.grid", "Atlantis"), "Atlantis"),
        (("whatif", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_looked_ahead_at_is_said_with_a_fix(words: tuple[str, ...], problem: str, call: Call) -> None:
    code, said = call(*words)
    assert code == 2
    assert problem in said
    assert "fix: " in said


def test_a_run_keeps_its_forecast_and_says_what_came(finished: RunFolder) -> None:
    found = finished.require_summary()["forecast"]
    rows = {row["phase"]: row for row in found["phases"]}
    assert list(rows) == ["autoencoder", "encode", "diffusion", "denoise", "decode"]
    energy = {phase["phase"]: phase for phase in finished.require_summary()["energy"]["phases"]}
    assert rows["diffusion"]["came_s"] == energy["diffusion"]["duration_s"]
    assert found["total"]["came_j"] == pytest.approx(sum(energy[name]["energy_j"] for name in rows))
    assert "probe" in energy


def test_a_forecast_of_another_plan_is_not_compared() -> None:
    line = {"units": {"autoencoder": 1, "diffusion": 2}, "forecast": {"phases": []}}
    assert forecast_and_what_came([line], [], {"autoencoder": 1, "diffusion": 3}) is None
    assert forecast_and_what_came([{"at": "x"}, {"units": 3}], [], {}) is None


def test_a_run_is_seen_from_elsewhere_without_running_anything(finished: RunFolder, call: Call) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.path.rglob("*") if path.is_file()}
    options = ("--grid", "DE", "--month", "7", "--pue", "1.2", "--samples", "10000", "--steps", "50")
    code, found = call("whatif", str(finished.path), *options, "--json")
    assert code == 0
    assert {path: path.stat().st_mtime_ns for path in finished.path.rglob("*") if path.is_file()} == before
    assert (found["zone"], found["month"], found["pue"]) == ("DE", 7, 1.2)
    assert found["assumptions"]
    summary = finished.require_summary()
    footprint = footprint_of(summary["energy"]["phases"], images=10, network_calls=4, batch_size=8)
    assert footprint is not None
    wanted = what_if(footprint, intensity("DE", 7), 1.2, Plan(images=10_000, calls=50))
    assert found["carbon_g"]["estimate"] == pytest.approx(wanted.carbon_g.estimate)
    assert found["energy_kwh"]["high"] == pytest.approx(wanted.energy_kwh.high)
    assert found["as_run"]["energy_kwh"]["estimate"] == pytest.approx(
        summary["energy"]["total"]["energy_j"] / J_PER_KWH
    )
    assert len(found["places"]) > 200
    assert [month["month"] for month in found["months"]] == list(range(1, 13))


def test_images_that_were_drawn_after_a_run_had_finished_do_not_change_what_one_cost(
    finished: RunFolder, call: Call, tmp_path: Path
) -> None:
    more = RunFolder(tmp_path / "more")
    shutil.copytree(finished.path, more.path)
    for number in range(10, 400):
        (more.samples / f"sample-{number:06}.json").write_text("{}", encoding="utf-8")
    (_, wanted), (_, found) = (call("whatif", str(folder.path), "--json") for folder in (finished, more))
    assert found["per_image_g"] == wanted["per_image_g"]
    assert found["synthesis_overtakes_training_at"] == wanted["synthesis_overtakes_training_at"]


def test_a_contract_has_neither_month_nor_year_in_the_summary_of_a_report(
    finished: RunFolder, call: Call, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished.path, tmp_path / "copy")
    assert "in France, by contract\n" in call("report", str(copy), "--grid", "FR", "--intensity", "56")[1]
    assert "in Sweden in January (level of 2024)\n" in call("report", str(copy), "--grid", "SE", "--month", "1")[1]


def test_a_table_of_few_countries_shows_each_of_them_once(finished: RunFolder, call: Call, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    few.write_text("zone,year,month,gco2e_per_kwh\nFR,2025,,30\nDE,2025,,300\n", encoding="utf-8")
    code, words = call("whatif", str(finished.path), "--grid", "FR", "--intensity-file", str(few))
    assert code == 0
    assert words.count("Germany (2025)") == 1


def test_the_table_names_places_months_steps_and_samples_and_a_chart_is_drawn(
    finished: RunFolder, call: Call, tmp_path: Path
) -> None:
    chart = tmp_path / "chart.svg"
    code, words = call("whatif", str(finished.path), "--chart", str(chart))
    assert code == 0
    for word in ("France", "where", "when", "steps", "samples", "times from", "Ember", "Green Algorithms", "assumed"):
        assert word in words
    assert chart.read_text(encoding="utf-8").startswith("<svg xmlns=")
    code, words = call("whatif", str(finished.path), "--places", "--intensity", "56")
    assert code == 0
    assert "Tonga" in words
    assert "France, by contract" in words


@pytest.mark.parametrize("options", [("--steps", "1"), ("--samples", "0"), ("--month", "13"), ("--pue", "-1")])
def test_an_impossible_question_is_an_error(options: tuple[str, ...], finished: RunFolder, call: Call) -> None:
    code, said = call("whatif", str(finished.path), *options)
    assert code == 2
    assert "fix: " in said


def two_phases() -> Forecast:
    seconds = Interval(9, 10, 11)
    phases = (
        PhaseForecast("train", 100, "image", seconds, Energy(90, 100, 110)),
        PhaseForecast("draw", 10, "image", seconds, Energy(9, 10, 11)),
    )
    return Forecast(phases, 1.0, None)


def test_the_outlook_trusts_the_forecast_first_and_then_the_pace_of_the_work() -> None:
    outlook = Outlook(two_phases(), {"train": 50})
    assert outlook.expected(Energy(5, 5, 5), 0.0).energy_j == pytest.approx(5 + 50 + 10)
    outlook.begin(["train"], Energy(5, 5, 5))
    assert outlook.expected(Energy(5, 5, 5), 0.005).energy_j == pytest.approx(5 + 0.995 * 50 + 10)
    twice = outlook.expected(Energy(55, 55, 55), 0.5).energy_j  # half of what was left took 50 J, twice the forecast
    assert twice == pytest.approx(55 + 50 + 10)
    outlook.end()
    assert outlook.expected(Energy(105, 105, 105), 0.0).energy_j == pytest.approx(115)


def test_an_outlook_without_readings_expects_what_was_forecast() -> None:
    outlook = Outlook(two_phases(), {})
    outlook.begin(["train"], NO_READING)
    assert outlook.expected(NO_READING, 0.5).energy_j == pytest.approx(50 + 10)


@pytest.mark.parametrize("option", ["--samples", "--images-seen", "--sampling.steps"])
def test_a_plan_that_no_machine_can_count_is_an_error(call: Call, option: str) -> None:
    code, words = call("predict", "--preset", "demo", option, "1" + "0" * 400)
    assert code == 2
    assert "is larger than 1,000,000,000,000,000" in words


@pytest.mark.parametrize(
    "path", [("phases", 0, "low_j"), ("phases", 1), ("total", "low_j"), ("phases", 0, "components", 0)]
)
@pytest.mark.parametrize("value", [None, [], "x", float("nan"), 10**400, {}])
def test_a_damaged_summary_is_an_error_with_a_fix_or_a_result(
    finished: RunFolder, call: Call, tmp_path: Path, path: tuple[str | int, ...], value: Any
) -> None:
    summary = json.loads(finished.summary.read_text(encoding="utf-8"))
    part = summary["energy"]
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    shutil.copy(finished.config, tmp_path)
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    for command in ("card", "report", "whatif"):
        code, words = call(command, str(tmp_path))
        assert code in {0, 2}, words
        assert code == 0 or "fix: " in words


def test_a_prediction_says_whether_the_budget_allows_the_plan(call: Call) -> None:
    plan = ("predict", "--preset", "demo", "--config", str(TINY), "--quiet")
    code, words = call(*plan, "--budget.carbon-g", "1")
    assert code == 2
    assert "without a place nobody knows the grams" in words
    code, words = call(*plan, "--budget.hours", "1e-9")
    assert code == 4
    assert words.startswith("plan")
    assert "--budget.hours is" in words
    assert call(*plan, "--budget.hours", "100")[0] == 0
