"""The table of intensities against the data it was made from, and the traps in those data."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from lichen.carbon import intensity, load_table
from lichen.carbon.table import PACKAGED_TABLE
from lichen.carbon.years import shape_of_year
from lichen.errors import CarbonError

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "make_carbon_table.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_carbon_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ember(data_dir: Path) -> Path:
    folder = data_dir / "carbon-intensity"
    if not folder.is_dir():
        pytest.skip(f"no carbon figures at {folder}")
    return folder


def test_the_packaged_table_is_what_the_script_makes_of_the_data(script: ModuleType, ember: Path) -> None:
    assert script.make_table(ember).encode() == PACKAGED_TABLE.read_bytes()


@pytest.mark.parametrize(
    ("iso3", "ratio"), [("DEU", 1.46), ("FRA", 2.18), ("AUT", 3.92), ("GBR", 1.72), ("USA", 1.27), ("POL", 1.17)]
)
def test_the_dirtiest_month_of_2024_over_the_cleanest_is_the_published_ratio(
    script: ModuleType, ember: Path, iso3: str, ratio: float
) -> None:
    rows = script.read(ember / "derived_country_monthly.csv")
    monthly = {(int(row["year"]), int(row["month"])): value for row, value in rows if row["iso3"] == iso3}
    index = shape_of_year(monthly, 2024)
    assert index is not None
    assert max(index) / min(index) == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(
    ("code", "level"), [("SE", 35.82), ("FR", 44.18), ("AT", 102.62), ("DE", 344.14), ("NO", 30.75)]
)
def test_levels_come_from_the_yearly_figures_and_not_from_the_monthly_ones(code: str, level: float) -> None:
    assert load_table().zones[code].level.estimate == level


def test_countries_whose_monthly_figures_miss_months_keep_only_their_yearly_level() -> None:
    zones = load_table().zones
    for code in ("LU", "ME", "CF"):  # the three whose source files hold zeros for missing months or years
        assert zones[code].seasonal_index is None
        assert zones[code].level.low > 0


def test_a_zero_is_missing_and_never_a_clean_grid(script: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "yearly.csv"
    file.write_text("iso3,country,year,gco2e_per_kwh\nLUX,Luxembourg,2023,0.0\nLUX,Luxembourg,2022,141.67\n")
    assert [(row["year"], value) for row, value in script.read(file)] == [("2022", 141.67)]


def test_the_table_holds_209_countries_50_states_and_the_capital() -> None:
    table = load_table()
    assert len(table.countries()) == 209
    assert sum(code.startswith("US-") for code in table.zones) == 51
    assert "CC BY 4.0" in table.attribution


def test_every_seasonal_index_has_a_mean_of_one() -> None:
    for zone in load_table().zones.values():
        for index in [zone.seasonal_index] if zone.seasonal_index else []:
            assert sum(month.estimate or 0.0 for month in index) / 12 == pytest.approx(1, abs=0.0005)


def test_an_index_is_the_mean_of_the_years_and_its_range_what_they_did(script: ModuleType) -> None:
    shapes = {2020: 1.2, 2021: 1.3, 2022: 1.4}  # January over the mean of the year; the rest shares what is left
    monthly = {
        (year, month): 100 * (january if month == 1 else (12 - january) / 11)
        for year, january in shapes.items()
        for month in range(1, 13)
    }
    assert script.index_columns(monthly)[:3] == ["1.300", "1.200", "1.400"]
    del monthly[2022, 5]
    assert set(script.index_columns(monthly)) == {""}


def test_a_file_with_other_columns_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("# me\nzone,g\nFR,1\n")
    with pytest.raises(CarbonError, match=r"mine\.csv lacks the columns iso3, name, year and"):
        load_table(file)


def test_a_file_with_a_zero_level_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(PACKAGED_TABLE.read_text(encoding="utf-8").replace("2024,44.18,44.18,78.55", "2024,0,0,78.55"))
    with pytest.raises(CarbonError, match=r"mine\.csv has an impossible row for zone FR"):
        load_table(file)


def test_a_newer_file_of_the_same_layout_brings_its_own_attribution(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    text = PACKAGED_TABLE.read_text(encoding="utf-8").replace("2024,44.18,44.18,78.55", "2025,20,19,60")
    file.write_text("# Measured by me" + text[text.index("\n") :])
    table = load_table(file)
    assert (table.zones["FR"].year, table.zones["FR"].level.estimate) == (2025, 20)
    assert table.attribution == "Measured by me"


def listed(path: Path, *rows: str, columns: str = "zone,year,month,gco2e_per_kwh") -> Path:
    path.write_text("\n".join((columns, *rows)) + "\n")
    return path


def test_a_plain_list_of_figures_is_a_table_with_level_spread_and_season(tmp_path: Path) -> None:
    months = [f"FR,{year},{month},{100 + month}" for year in (2023, 2024, 2025) for month in range(1, 13)]
    file = listed(tmp_path / "new.csv", "FRA,2024,,50", "fr,2025,,40", "DE,2025,,300", *months)
    table = load_table(file)
    france, germany = table.zones["FR"], table.zones["DE"]
    assert (france.name, france.iso3, france.year) == ("France", "FRA", 2025)
    assert (france.level.low, france.level.estimate, france.level.high) == (40, 40, 50)
    assert france.seasonal_index is not None
    assert france.seasonal_index[11].estimate == pytest.approx(112 / 106.5)
    assert germany.seasonal_index is None
    assert "new.csv" in table.attribution


def test_the_columns_of_ember_will_do_and_months_alone_make_a_level(tmp_path: Path) -> None:
    rows = [f"NOR,Norway,2025,{month},{month}" for month in range(1, 13)]
    file = listed(tmp_path / "ember.csv", *rows, columns="iso3,country,year,month,gco2e_per_kwh")
    assert load_table(file).zones["NO"].level.estimate == pytest.approx(6.5)


def test_two_figures_for_one_place_and_time_are_an_error_and_the_same_one_twice_is_none(tmp_path: Path) -> None:
    same = load_table(listed(tmp_path / "same.csv", "FR,2025,,50", "FRA,2025,,50"))
    assert same.zones["FR"].level.estimate == 50
    with pytest.raises(CarbonError, match="row 2: 60 for FR in 2025, where another row says 50"):
        load_table(listed(tmp_path / "two.csv", "FR,2025,,50", "FRA,2025,,60"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("FR,2025,13,50", "month 13 is none"),
        ("FR,2025,,0", "must be 1 to 5000"),
        ("FR,2025,,nan", "must be 1 to 5000"),
        ("FR,2025,,0.056", "must be 1 to 5000 grams"),
        ("FR,20255,,44", "year 20255 is none"),
        ("FR,2025,,44,5", "more or fewer cells"),
        ("FR;2025;;44", "more or fewer cells"),
        ("FR,2025,,44\nfra,2025,,440", "row 2: 440 for FR in 2025, where another row says 44"),
        ("FR,2025,3,44\nFR,2025,3,45", "45 for FR in 2025-03"),
        ("FR,soon,,50", "row 1"),
        (",2025,,50", "names no zone"),
        ("FR,2025,1,50", "neither a yearly figure nor twelve months"),
        ("FR,2025", "row 1"),
    ],
)
def test_an_impossible_row_of_a_plain_list_is_named(tmp_path: Path, row: str, why: str) -> None:
    with pytest.raises(CarbonError, match=why):
        load_table(listed(tmp_path / "bad.csv", row))


def test_a_field_too_long_for_a_table_is_an_error_with_the_layout(tmp_path: Path) -> None:
    path = listed(tmp_path / "long.csv", 'FR,2025,,"' + "4" * 200_000 + '"')
    with pytest.raises(CarbonError, match="cannot be read as a table"):
        load_table(path)


def test_words_from_a_file_cannot_move_the_cursor_and_the_united_kingdom_has_both_codes(tmp_path: Path) -> None:
    path = listed(tmp_path / "red.csv", "UK,2025, ,200", "X\x1b[2J,2025,,44")
    path.write_text("# \x1b[31mred\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    table = load_table(path)
    assert table.attribution.isprintable()
    assert [name for name in table.zones if not name.isprintable()] == []
    assert intensity("uk", table=table).g_per_kwh.estimate == 200
