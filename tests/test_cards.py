"""A run's cost in other people's forms: the units that others expect, and nothing that nobody measured."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lichen import cli
from lichen.carbon import (
    Embodied,
    EmissionsRow,
    Intensity,
    Range,
    building_kwh,
    emissions_csv,
    grams,
    intensity,
    read_emissions,
    sci,
)
from lichen.carbon.codecarbon import COLUMNS
from lichen.carbon.words import printable
from lichen.cards import Cards, make_cards
from lichen.config import CarbonConfig
from lichen.errors import CarbonError, RunError
from lichen.files import write_json
from lichen.report import write_report
from lichen.summary import with_carbon

KWH = 3.6e6
FRANCE = intensity("FR")
FRANCE_G = 44.18
"""g CO2e per kWh in 2024, as in the packaged table."""

# Rows that codecarbon 3.3.2 and its first versions wrote; names and details of the machines are replaced.
CODECARBON_3 = """\
timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,cpu_energy,\
gpu_energy,ram_energy,energy_consumed,water_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,os,\
python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,tracking_mode,\
cpu_utilization_percent,gpu_utilization_percent,ram_utilization_percent,ram_used_gb,on_cloud,pue,wue
2026-01-02T03:04:05,a-project,00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002,\
12.008560836999095,4.849150011899584e-06,4.0380775662634463e-07,5.34975640265444,0.0,20.0,2.0265543015730746e-05,0.0,\
6.62661583333223e-05,8.653170134905304e-05,0.0,France,FRA,,,,Linux,3.11.7,3.3.2,2,A CPU,0,,,,16.0,machine,\
77.57272727272726,0,2.5818181818181816,0.6114727367054332,N,1.0,0.0
"""
CODECARBON_1 = """\
timestamp,experiment_id,project_name,duration,emissions,energy_consumed,country_name,country_iso_code,region,on_cloud,\
cloud_provider,cloud_region
2022-03-16T14:11:13,00000000-0000-0000-0000-000000000003,codecarbon,1014.5,0.004927606,0.0116057,France,FRA,,N,,
"""


def joules(low: float | None, estimate: float | None, high: float | None) -> dict[str, float | None]:
    return {"low_j": low, "energy_j": estimate, "high_j": high}


def phase(name: str, duration_s: float, **parts: tuple[str, float]) -> dict[str, Any]:
    """A phase whose components have (source, kWh); the interval is half to twice of it."""
    components = [
        {"component": part, "source": source, **joules(kwh * KWH / 2, kwh * KWH, kwh * KWH * 2)}
        for part, (source, kwh) in parts.items()
    ]
    kwh = sum(kwh for _, kwh in parts.values())
    return {"phase": name, "duration_s": duration_s, **joules(kwh * KWH / 2, kwh * KWH, kwh * KWH * 2)} | {
        "components": components
    }


MIXED = (
    phase("diffusion", 3000.0, gpu0=("counter", 0.5), gpu1=("polled", 0.125), cpu=("estimated", 0.125)),
    phase("denoise", 500.0, gpu0=("counter", 0.125)),
    phase("decode", 100.0, gpu0=("counter", 0.125)),
)
"""1 kWh, a quarter of it for synthesis."""


def summary_of(*phases: dict[str, Any], carbon: CarbonConfig | None = None, **changes: Any) -> dict[str, Any]:
    kwh = sum(one["energy_j"] for one in phases) / KWH
    total = joules(kwh * KWH / 2, kwh * KWH, kwh * KWH * 2) if phases else joules(None, None, None)
    summary = {
        "lichen": "0.1.0",
        "finished_at": "2026-01-31T23:59:59+00:00",
        "label": "scans",
        "energy": {"phases": list(phases), "total": total, "absent": [], "meters": ["gpu0 (NVIDIA H100): counter"]},
        "sampling": {"count": 12, "checkpoint_sha256": "0" * 64},
        "audit": {"tested": 12, "copies": 2},
        "provenance": {"platform": "Linux", "python": "3.11.7", "device": "cuda:0", "threads": 2},
        **changes,
    }
    return with_carbon(summary, carbon or CarbonConfig(grid="FR", pue=1.0))


def block_of(cards: Cards) -> dict[str, Any]:
    assert cards.model_card.startswith("---\n")
    assert cards.model_card.endswith("\n---\n")
    (block,) = [found for found in yaml.safe_load_all(cards.model_card) if found]
    assert list(block) == ["co2_eq_emissions"]
    found = block["co2_eq_emissions"]
    assert isinstance(found, dict)
    return found


def row_of(cards: Cards, tmp_path: Path) -> EmissionsRow:
    path = tmp_path / "emissions.csv"
    path.write_text(cards.emissions_csv, encoding="utf-8")
    (row,) = read_emissions(path)
    return row


# Units: one kilowatt-hour in all four texts.


def test_a_kilowatt_hour_is_grams_on_the_model_card_and_kilograms_for_codecarbon(tmp_path: Path) -> None:
    cards = make_cards(summary_of(*MIXED))
    assert block_of(cards)["emissions"] == pytest.approx(FRANCE_G)
    row = row_of(cards, tmp_path)
    assert row.energy_kwh == pytest.approx(1.0)
    assert row.emissions_kg == pytest.approx(FRANCE_G / 1000)
    assert row.duration_s == pytest.approx(3600)
    assert (row.gpu_kwh, row.cpu_kwh) == pytest.approx((0.875, 0.125))
    assert row.ram_kwh is None
    (cells,) = csv.DictReader(io.StringIO(cards.emissions_csv))
    assert float(cells["emissions_rate"]) == pytest.approx(FRANCE_G / 1000 / 3600)  # kg/s
    assert cards.sci["score_g_per_image"]["estimate"] == pytest.approx(FRANCE_G / 10)  # 12 drawn, 2 of them copies
    assert "1 kWh (0.5 to 2 kWh)" in cards.methods
    assert "emissions are estimated at 44.2 g of CO2e" in cards.methods


def test_the_overhead_of_the_building_is_in_energy_and_emissions_as_codecarbon_has_it(tmp_path: Path) -> None:
    cards = make_cards(summary_of(*MIXED, carbon=CarbonConfig(grid="FR", pue=1.5)))
    row = row_of(cards, tmp_path)
    assert (row.pue, row.energy_kwh, row.gpu_kwh) == pytest.approx((1.5, 1.5, 0.875 * 1.5))
    assert row.emissions_kg == pytest.approx(1.5 * FRANCE_G / 1000)
    assert cards.sci["E_kwh"]["estimate"] == pytest.approx(1.5)
    assert block_of(cards)["emissions"] == pytest.approx(1.5 * FRANCE_G, rel=1e-5)
    assert "(PUE) of 1.5" in cards.methods


def test_a_pue_that_nobody_gave_is_not_written_down_as_1(tmp_path: Path) -> None:
    cards = make_cards(summary_of(*MIXED, carbon=CarbonConfig(grid="FR")))
    assert row_of(cards, tmp_path).pue is None
    assert cards.sci["E_kwh"] == pytest.approx({"low": 0.5, "estimate": 1.0, "high": 2 * 1.58})
    assert "(PUE) is not known: the interval spans 1.0 to 1.58" in cards.methods
    assert "PUE unknown" in block_of(cards)["source"]


def test_every_text_names_place_month_and_whom_to_credit(tmp_path: Path) -> None:
    cards = make_cards(summary_of(*MIXED, carbon=CarbonConfig(grid="US-CA", month=3)))
    assert block_of(cards)["geographical_location"] == "California, USA (US-CA)"
    row = row_of(cards, tmp_path)
    assert (row.country_iso3, row.country_name, row.region) == ("USA", "United States", "California")
    assert (cards.sci["zone"], cards.sci["month"], cards.sci["year"]) == ("US-CA", 3, 2024)
    assert cards.sci["attribution"] == FRANCE.attribution
    assert FRANCE.attribution in cards.methods
    assert "California, USA in March" in cards.methods
    assert FRANCE.attribution.rstrip(".") in block_of(cards)["source"]


# What is not known is left out.


def test_an_unknown_place_has_no_single_figure_anywhere(tmp_path: Path) -> None:
    cards = make_cards(summary_of(*MIXED, carbon=CarbonConfig()))
    block = block_of(cards)
    assert "emissions" not in block
    assert "geographical_location" not in block
    assert "place unknown, so no single figure: 0.01 to 4.1 kg of CO2e" in block["source"]
    row = row_of(cards, tmp_path)
    assert row.energy_kwh == pytest.approx(1.0)
    assert (row.emissions_kg, row.country_iso3, row.country_name) == (None, None, None)
    assert cards.sci["score_g_per_image"]["estimate"] is None
    assert cards.sci["score_g_per_image"]["high"] == pytest.approx(2 * 1.58 * 1306.3 / 10)
    assert "no single figure is given" in cards.methods
    assert "are estimated at" not in cards.methods


def test_where_nothing_was_measured_no_text_has_a_figure(tmp_path: Path) -> None:
    cards = make_cards(summary_of())
    assert "emissions" not in block_of(cards)
    assert "nothing was measured" in block_of(cards)["source"]
    row = row_of(cards, tmp_path)
    assert (row.energy_kwh, row.emissions_kg, row.duration_s, row.cpu_kwh) == (None, None, None, None)
    assert cards.sci["score_g_per_image"] is None
    assert cards.sci["why"] == "no energy was measured"
    assert "neither energy nor emissions of CO2e are known" in cards.methods


def test_a_component_that_gave_no_reading_is_an_empty_cell_and_makes_lower_bounds(tmp_path: Path) -> None:
    summary = summary_of(*MIXED)
    summary["energy"]["absent"] = ["gpu1"]
    cards = make_cards(summary)
    assert row_of(cards, tmp_path).gpu_kwh is None
    assert row_of(cards, tmp_path).cpu_kwh == pytest.approx(0.125)
    assert "gpu1 gave no reading" in cards.methods
    assert "lower bound" in cards.methods
    assert "a lower bound, without gpu1" in block_of(cards)["source"]


def test_cells_that_lichen_knows_nothing_of_are_empty() -> None:
    (cells,) = csv.DictReader(io.StringIO(make_cards(summary_of(*MIXED)).emissions_csv))
    assert tuple(cells) == COLUMNS
    unknown = ("experiment_id", "cpu_power", "water_consumed", "codecarbon_version", "on_cloud", "wue", "longitude")
    assert {cells[column] for column in unknown} == {""}


# Honest words.


def test_an_estimate_is_never_called_a_measurement() -> None:
    cards = make_cards(summary_of(phase("diffusion", 10, cpu=("estimated", 0.01), ram=("estimated", 0.001))))
    assert "cpu and ram were estimated, not measured" in cards.methods
    assert "The run is estimated to have used" in cards.methods
    assert "cpu and ram estimated, not measured" in block_of(cards)["source"]
    for text in (cards.methods, cards.model_card):
        assert "measured" not in text.replace("not measured", "")
    assert "Lannelongue" in cards.methods.split("\n\n")[1]
    assert cards.sci["E_by_source"] == {"estimated": ["cpu", "ram"]}


def test_each_component_is_named_with_how_it_was_read() -> None:
    words = make_cards(summary_of(*MIXED)).methods
    assert "gpu0 was read from hardware energy counters; gpu1 was measured by polling power" in words
    assert "cpu was estimated, not measured" in words
    assert "The run used, partly measured and partly estimated, 1 kWh" in words


def test_what_was_only_counted_cites_no_estimates_and_no_synthesis_if_there_was_none() -> None:
    words = make_cards(summary_of(phase("diffusion", 10, gpu0=("counter", 1.0)))).methods
    assert "Lannelongue" not in words
    assert "Seyfarth" not in words
    assert "estimated, not measured" not in words


def test_synthesis_is_reported_apart_with_its_reference() -> None:
    words = make_cards(summary_of(*MIXED)).methods
    assert "Synthesis of 12 images" in words
    assert "took 250 Wh (120 to 500 Wh), 25 % of it" in words
    assert "arXiv:2407.14892" in words


@pytest.mark.parametrize(("source", "mode"), [("counter", "machine"), ("polled", "machine"), ("estimated", "process")])
def test_the_tracking_mode_says_what_was_counted(source: str, mode: str, tmp_path: Path) -> None:
    cards = make_cards(summary_of(phase("diffusion", 10, cpu=(source, 1.0))))
    assert row_of(cards, tmp_path).tracking_mode == mode
    assert row_of(make_cards(summary_of(*MIXED)), tmp_path).tracking_mode is None


def test_the_hardware_is_what_the_networks_ran_on() -> None:
    assert block_of(make_cards(summary_of(*MIXED)))["hardware_used"] == "NVIDIA H100 (gpu0)"
    on_cpu = summary_of(*MIXED, provenance={"platform": "", "python": "", "device": "cpu", "threads": 2})
    assert block_of(make_cards(on_cpu))["hardware_used"] == "CPU, 2 threads of PyTorch"


# Text that comes from outside.

HOSTILE = '=cmd|"/c calc"!A1\n---\nlicense: mit\nco2_eq_emissions: 0 #,;\x1b[2J'


def test_hostile_labels_stay_in_their_cell_and_are_no_formula(tmp_path: Path) -> None:
    cards = make_cards(summary_of(*MIXED, label=HOSTILE))
    assert row_of(cards, tmp_path).project_name == f"'{printable(HOSTILE)}"
    assert len(cards.emissions_csv.splitlines()) == 2
    assert make_cards(summary_of(*MIXED), project="a grant").emissions_csv.count("a grant") == 1


def test_hostile_meters_and_sources_change_neither_block_nor_terminal() -> None:
    summary = summary_of(*MIXED)
    summary["energy"] |= {"meters": [f"{HOSTILE}): counter", "gpu0 (A\x1b[2J: #GPU): counter"], "absent": [HOSTILE]}
    summary["lichen"] = HOSTILE
    cards = make_cards(summary, embodied=Embodied(1.0, HOSTILE))
    block = block_of(cards)
    assert block["emissions"] == pytest.approx(FRANCE_G)
    assert cards.model_card.count("\n---\n") == 1
    assert block["hardware_used"] == "A\ufffd[2J: #GPU (gpu0)"
    assert not {"\n", "\x1b"} & set(cards.sci["M_source"])
    assert "\x1b" not in cards.methods + cards.model_card
    assert len(cards.methods.split("\n\n")) == 2


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\r=1", "\n=1", "a\r=1", '",=1', "\0=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    table = emissions_csv([EmissionsRow(1.0, None, None, project_name=text)])
    assert not any(cell.lstrip()[:1] in set("=+-@") for line in csv.reader(table.splitlines()) for cell in line if cell)
    (cells,) = csv.DictReader(io.StringIO(table, newline=""))
    assert cells["project_name"].removeprefix("'") == printable(text)


def test_a_damaged_summary_is_an_error_with_a_fix() -> None:
    summary = summary_of(*MIXED)
    del summary["sampling"]
    with pytest.raises(RunError, match="summary of the run is damaged") as error:
        make_cards(summary)
    assert "repeat the command" in error.value.fix


# codecarbon's files.


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "emissions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_codecarbons_own_files_are_read_old_and_new(tmp_path: Path) -> None:
    (row,) = read_emissions(written(tmp_path, CODECARBON_3))
    assert (row.project_name, row.timestamp) == ("a-project", "2026-01-02T03:04:05")
    assert row.energy_kwh == 8.653170134905304e-05
    assert row.emissions_kg == 4.849150011899584e-06
    assert (row.cpu_kwh, row.gpu_kwh, row.pue) == (2.0265543015730746e-05, 0.0, 1.0)
    assert (row.country_iso3, row.region, row.tracking_mode) == ("FRA", None, "machine")
    assert row.energy_kwh == pytest.approx((row.cpu_kwh or 0) + (row.ram_kwh or 0))
    (row,) = read_emissions(written(tmp_path, CODECARBON_1))
    assert (row.duration_s, row.emissions_kg, row.cpu_kwh, row.pue) == (1014.5, 0.004927606, None, None)
    assert row.energy_kwh == 0.0116057


def test_codecarbon_goes_on_in_a_file_that_lichen_began() -> None:
    header = emissions_csv([]).strip().split(",")
    assert header == CODECARBON_3.splitlines()[0].split(",")


def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    (row,) = read_emissions(written(tmp_path, "\ufeff" + CODECARBON_3.replace("\n", "\r\n")))
    assert (row.timestamp, row.pue) == ("2026-01-02T03:04:05", 1.0)


def test_several_rows_are_read_in_order_and_empty_lines_passed_over(tmp_path: Path) -> None:
    text = CODECARBON_1 + "\n" + CODECARBON_1.splitlines()[1].replace("1014.5", "7")
    assert [row.duration_s for row in read_emissions(written(tmp_path, text))] == [1014.5, 7.0]


figure = st.none() | st.floats(0, 1e12, allow_subnormal=False)
name = st.none() | st.text(st.characters(codec="utf-8"), min_size=1).filter(
    lambda text: text.isprintable() and text.lstrip()[:1] not in set("=+-@")
)


@given(figure, figure, figure, figure, name, name)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    energy: float | None,
    emissions: float | None,
    duration: float | None,
    part: float | None,
    project: str | None,
    region: str | None,
) -> None:
    row = EmissionsRow(energy, emissions, duration, gpu_kwh=part, pue=part, project_name=project, region=region)
    path = tmp_path_factory.mktemp("csv") / "emissions.csv"
    path.write_text(emissions_csv([row, row]), encoding="utf-8", newline="")
    assert read_emissions(path) == (row, row)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0.004927606", "much", "row 2, column emissions: 'much' is no number"),
        ("0.004927606", "nan", "row 2, column emissions: 'nan' is no number"),
        ("0.0116057", "-1", "row 2, column energy_consumed: '-1' is impossible"),
        ("1014.5", "inf", "row 2, column duration: 'inf' is impossible"),
        (",N,,", ",N", "row 2, has 10 cells under 12 columns"),
        ("emissions,energy", "emission,energy", "lacks the column emissions"),
        (CODECARBON_1, "", "is empty"),
        (CODECARBON_1, "\n\n", "is empty"),
        (CODECARBON_1, CODECARBON_1.splitlines()[0], "has a header and no rows"),
        (CODECARBON_1, "\x89PNG\r\n", "lacks the column"),
        ("codecarbon,", '"codecarbon,', "cannot be read as a table"),
    ],
)
def test_what_is_no_emissions_file_is_an_error_with_file_row_and_column(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    assert old in CODECARBON_1
    path = written(tmp_path, CODECARBON_1.replace(old, new))
    with pytest.raises(CarbonError) as error:
        read_emissions(path)
    assert words in error.value.problem
    assert str(path) in error.value.problem
    assert error.value.fix


def test_a_file_that_is_not_there_is_an_error_of_lichen(tmp_path: Path) -> None:
    with pytest.raises(CarbonError, match="cannot be read as a table"):
        read_emissions(tmp_path / "nowhere.csv")


# Software Carbon Intensity.


def test_the_score_is_energy_times_intensity_plus_embodied_over_images() -> None:
    place = Intensity(Range(10, 100, 200), "XX", "somewhere", 7, 2024, "whom to credit")
    without = sci(Range(1, 2, 3), place, 4)
    assert without.g_per_image == Range(2.5, 50, 150)
    assert without.as_json()["M_g"] is None
    made = sci(Range(1, 2, 3), place, 4, embodied_g=40.0, embodied_source="data sheet")
    assert made.g_per_image == Range(12.5, 60, 160)
    assert (made.as_json()["M_g"], made.as_json()["M_source"]) == (40.0, "data sheet")
    stated = {name: made.as_json()[name] for name in ("standard", "functional_unit", "R", "zone", "month", "year")}
    assert stated == {
        "standard": "ISO/IEC 21031:2024",
        "functional_unit": "one released synthetic image",
        "R": 4,
        "zone": "XX",
        "month": 7,
        "year": 2024,
    }
    assert made.as_json()["attribution"] == "whom to credit"


def test_a_score_without_place_has_no_estimate_even_with_embodied_grams() -> None:
    score = sci(Range(1, 2, 3), intensity(None), 1, embodied_g=1.0, embodied_source="data sheet")
    assert score.g_per_image.estimate is None
    assert score.g_per_image.low == pytest.approx(20.83 + 1)


@pytest.mark.parametrize("released", [0, -1])
def test_no_score_is_given_per_no_image(released: int) -> None:
    with pytest.raises(CarbonError, match="per released synthetic image") as error:
        sci(Range(1, 1, 1), FRANCE, released)
    assert error.value.fix


def test_a_run_whose_images_are_all_copies_still_gets_its_other_texts(tmp_path: Path) -> None:
    cards = make_cards(summary_of(*MIXED, audit={"tested": 12, "copies": 12}))
    assert cards.sci["score_g_per_image"] is None
    assert "0 images were released" in cards.sci["why"]
    assert block_of(cards)["emissions"] == pytest.approx(FRANCE_G)
    assert "ISO/IEC" not in cards.methods


@given(st.floats(0, 1e9), st.floats(1, 10) | st.none(), st.integers(1, 10**6))
def test_the_score_times_its_images_is_the_grams_of_the_run(joules: float, pue: float | None, released: int) -> None:
    bounds = (joules / 2, joules, joules * 2)
    whole, score = grams(bounds, FRANCE, pue), sci(building_kwh(bounds, pue), FRANCE, released).g_per_image
    assert (whole.estimate, score.estimate) != (None, None)
    assert (score.low * released, score.high * released) == pytest.approx((whole.low, whole.high))
    assert (score.estimate or 0) * released == pytest.approx(whole.estimate)


def test_embodied_grams_grow_with_the_hours_of_use() -> None:
    assert Embodied(9.0, "data sheet").grams(7200) == 18.0
    cards = make_cards(summary_of(*MIXED), embodied=Embodied(100.0, "data sheet, 4 years"))
    assert cards.sci["M_g"] == pytest.approx(100.0)  # one hour
    assert cards.sci["score_g_per_image"]["estimate"] == pytest.approx((FRANCE_G + 100) / 10)
    assert "100 g for the making of the hardware are included, from: data sheet, 4 years" in cards.methods


@pytest.mark.parametrize(
    ("g_per_h", "source", "words"),
    [
        (1.0, "", "have no source"),
        (1.0, "  ", "have no source"),
        (-1.0, "data sheet", "are impossible"),
        (float("nan"), "data sheet", "are impossible"),
        (float("inf"), "data sheet", "are impossible"),
    ],
)
def test_embodied_grams_need_a_possible_figure_and_a_source(g_per_h: float, source: str, words: str) -> None:
    with pytest.raises(CarbonError, match=words):
        Embodied(g_per_h, source)
    with pytest.raises(CarbonError, match=words):
        sci(Range(1, 1, 1), FRANCE, 1, embodied_g=g_per_h, embodied_source=source)


def test_a_duration_below_zero_is_impossible() -> None:
    with pytest.raises(CarbonError, match="impossible"):
        Embodied(1.0, "data sheet").grams(-1)


# The command.


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished run that used 1 kWh in France."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("carbon:\n  grid: FR\n  pue: 1.0\nlabels:\n  project: a grant\n")
    (folder / "summary.json").write_text(json.dumps(summary_of(*MIXED)))
    return folder


def test_the_command_writes_four_files_and_prints_the_paragraph(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (run / "summary.json").read_bytes()
    assert call("card", str(run)) == 0
    shown = capsys.readouterr().out
    names = {"model-card.md", "emissions.csv", "sci.json", "methods.txt"}
    assert {path.name for path in (run / "cards").iterdir()} == names
    assert shown.startswith((run / "cards" / "methods.txt").read_text())
    assert all(str(run / "cards" / name) in shown for name in names)
    assert (run / "summary.json").read_bytes() == before
    (row,) = read_emissions(run / "cards" / "emissions.csv")
    assert (row.project_name, row.energy_kwh) == ("a grant", 1.0)


def test_the_command_sees_the_run_from_another_place_and_folder(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("card", str(run), "--carbon.grid", "PL", "--out", str(tmp_path / "here"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["model_card", "emissions_csv", "sci", "methods", "files"]
    assert found["sci"]["zone"] == "PL"
    assert not (run / "cards").exists()
    assert json.loads((tmp_path / "here" / "sci.json").read_text()) == found["sci"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--embodied-g-per-h", "3"], "have no source"),
        (["--embodied-source", "data sheet"], "have no figure"),
        (["--carbon.grid", "Atlantis"], "no electricity grid"),
    ],
)
def test_what_the_command_cannot_use_is_said_with_a_fix(
    options: list[str], words: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("card", str(run), *options) == 2
    problem, fix = capsys.readouterr().err.strip().splitlines()
    assert words in problem
    assert fix.startswith("  fix: ")
    assert not (run / "cards").exists()


def test_a_folder_without_finished_run_has_no_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("card", str(tmp_path)) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_the_same_run_gets_the_same_texts_again() -> None:
    summary = summary_of(*MIXED)
    assert make_cards(summary) == make_cards(summary)
    other = replace(make_cards(summary_of(*MIXED, finished_at="2026-02-01T00:00:00+00:00")))
    assert other.emissions_csv != make_cards(summary).emissions_csv


def test_a_run_that_says_no_source_of_its_hardware_is_refused_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", "--preset", "demo", "--embodied-g-per-h", "3", "--out", str(tmp_path / "run"), "--quiet") == 2
    assert "no source" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("energy-*"))


def test_the_making_of_the_hardware_stands_beside_the_grams_of_the_electricity(run: Path) -> None:
    config = CarbonConfig(embodied_g_per_h=3600, embodied_source="a data sheet")
    summary = with_carbon(json.loads((run / "summary.json").read_text()), config)
    seconds = sum(phase["duration_s"] for phase in summary["energy"]["phases"])
    assert summary["carbon"]["embodied"]["g"] == pytest.approx(seconds)  # 3,600 g an hour are 1 g a second
    write_json(run / "summary.json", summary)
    assert "a data sheet" in write_report(run).read_text()
