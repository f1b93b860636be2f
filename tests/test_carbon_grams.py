"""From a place and joules to grams and words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichen.carbon import (
    Range,
    contract,
    energy_range_text,
    energy_text,
    equivalents,
    grams,
    grams_range_text,
    grams_text,
    intensity,
    load_table,
    number,
)
from lichen.errors import CarbonError

KWH = 3.6e6


@pytest.mark.parametrize("grid", ["FR", "fr", "FRA", "fra", " Fr "])
def test_a_country_is_found_by_either_code_in_any_case(grid: str) -> None:
    place = intensity(grid)
    assert (place.zone, place.zone_name, place.year, place.g_per_kwh.estimate) == ("FR", "France", 2024, 44.18)


def test_the_code_of_norway_is_a_country_and_no_boolean() -> None:
    assert intensity("NO").zone_name == intensity("no").zone_name == "Norway"


def test_the_united_kingdom_answers_to_its_reserved_code() -> None:
    assert intensity("UK") == intensity("GB")


def test_california_and_canada_are_different_places() -> None:
    assert intensity("US-CA").zone_name == "California, USA"
    assert intensity("CA").zone_name == "Canada"


@pytest.mark.parametrize(
    ("grid", "near"),
    [("Frnce", "FR"), ("California", "US-CA"), ("US-California", "US-CA"), ("Germany", "DE"), ("FRR", "FR")],
)
def test_an_unknown_place_is_an_error_that_names_the_nearest_code(grid: str, near: str) -> None:
    with pytest.raises(CarbonError, match=f"called '{grid}'") as error:
        intensity(grid)
    assert f"{near} (" in error.value.fix


def test_georgia_may_be_two_places_and_both_are_named() -> None:
    with pytest.raises(CarbonError) as error:
        intensity("Georgia")
    assert error.value.fix == "did you mean GE (Georgia), US-GA (Georgia, USA)?"


def test_no_place_is_the_range_of_the_world_without_an_estimate() -> None:
    anywhere = intensity(None)
    levels = [zone.level.estimate or 0 for zone in load_table().countries()]
    assert anywhere.g_per_kwh == Range(min(levels), None, max(levels))
    assert (anywhere.zone, anywhere.year) == (None, None)
    assert "Lesotho" in anywhere.note
    assert "Turkmenistan" in anywhere.note


@pytest.mark.parametrize("month", [0, 13, -1])
def test_a_month_that_is_none_is_an_error(month: int) -> None:
    with pytest.raises(CarbonError, match=f"month is {month}"):
        intensity("FR", month)


def test_a_month_is_the_yearly_level_times_its_seasonal_index() -> None:
    zone = load_table().zones["FR"]
    assert zone.seasonal_index is not None
    january = zone.seasonal_index[0]
    assert january.estimate is not None
    expected = Range(44.18 * january.low, 44.18 * january.estimate, 78.55 * january.high)
    assert intensity("FR", 1).g_per_kwh == expected
    assert january.estimate > 1.2  # French winters burn gas


def test_a_month_of_a_place_without_monthly_figures_widens_the_range_and_says_so() -> None:
    year, month = intensity("LU"), intensity("LU", 7)
    assert month.g_per_kwh.estimate == year.g_per_kwh.estimate
    assert month.g_per_kwh.low < 0.5 * year.g_per_kwh.low
    assert month.g_per_kwh.high > 1.5 * year.g_per_kwh.high
    assert month.note == "no monthly figures for Luxembourg: the yearly level, widened by other countries' seasons"


def test_every_place_and_month_has_an_estimate_within_its_range() -> None:
    for code in load_table().zones:
        for month in (None, *range(1, 13)):
            figures = intensity(code, month).g_per_kwh
            assert figures.estimate is not None
            assert 0 < figures.low <= figures.estimate <= figures.high


def test_a_kilowatt_hour_in_france_is_its_intensity_in_grams() -> None:
    assert grams((KWH, KWH, KWH), intensity("FR"), pue=1.0) == Range(44.18, 44.18, 78.55)


def test_the_ends_of_energy_pue_and_place_multiply() -> None:
    figures = grams((1 * KWH, 2 * KWH, 4 * KWH), intensity("FR"), pue=1.5)
    assert (figures.low, figures.estimate, figures.high) == pytest.approx((44.18 * 1.5, 44.18 * 3, 78.55 * 6))


def test_an_unknown_pue_stretches_only_the_high_end_and_estimates_the_computer_alone() -> None:
    given_one, unknown = grams((KWH,) * 3, intensity("PL"), 1.0), grams((KWH,) * 3, intensity("PL"))
    assert (unknown.low, unknown.estimate) == (given_one.low, given_one.estimate)
    assert unknown.high == pytest.approx(1.58 * given_one.high)


def test_an_unknown_place_or_energy_gives_no_estimate_of_grams() -> None:
    assert grams((KWH,) * 3, intensity(None)).estimate is None
    assert grams((KWH, None, KWH), intensity("FR")).estimate is None


@pytest.mark.parametrize("pue", [-1.0, 0.0, 0.99, float("nan"), float("inf")])
def test_a_building_cannot_use_less_than_its_computers(pue: float) -> None:
    with pytest.raises(CarbonError, match="PUE"):
        grams((1.0, 1.0, 1.0), intensity("FR"), pue)


@pytest.mark.parametrize("energy", [(-1.0, 0.0, 1.0), (2.0, 2.0, 1.0), (0.0, 0.0, float("nan"))])
def test_an_impossible_energy_is_an_error(energy: tuple[float, float, float]) -> None:
    with pytest.raises(CarbonError, match="impossible"):
        grams(energy, intensity("FR"))


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.sampled_from(["FR", "PL", None]))
def test_grams_add_up_over_energies(first_j: float, second_j: float, grid: str | None) -> None:
    place = intensity(grid)
    parts = grams((first_j,) * 3, place) + grams((second_j,) * 3, place)
    whole = grams((first_j + second_j,) * 3, place)
    assert (parts.low, parts.high) == pytest.approx((whole.low, whole.high))
    assert parts.estimate == (None if grid is None else pytest.approx(whole.estimate))


def test_a_thousand_grams_are_the_published_kilometres() -> None:
    found = {equivalent.what: equivalent for equivalent in equivalents(Range(500, 1000, 2000))}
    assert found["km by car in use, EU"].amount.estimate == pytest.approx(1000 / 175)
    assert found["km by car in use, EU"].text == "5.71 km by car in use, EU (175 g/km, Green Algorithms 2021)"
    plane = found["km by plane, economy, per passenger"].amount
    assert (plane.low, plane.high) == pytest.approx((500 / 244, 2000 / 139))


def test_every_equivalent_prints_its_factor_source_and_year() -> None:
    for equivalent in equivalents(Range(1e3, None, 2e6)):
        assert f"{equivalent.source} {equivalent.year})" in equivalent.text
        assert " to " in equivalent.text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12.345, "12.3"),
        (0.07, "0.07"),
        (999.6, "1,000"),
        (1234.5, "1,230"),
        (9.996, "10"),
        (1e-5, "0.00001"),
        (1e-9, "<0.000001"),
    ],
)
def test_a_number_has_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_grams_are_written_in_the_unit_that_reads_best() -> None:
    assert grams_text(Range(1, 12.34, 20)) == "12.3 g"
    assert grams_text(Range(1, 12340, 20000)) == "12.3 kg"
    assert grams_text(Range(0.41, None, 13.2)) == "0.41 to 13 g (place unknown)"
    assert grams_range_text(Range(0, 0, 0)) == "0 g"


def test_an_interval_is_told_in_the_unit_of_the_figure_that_it_stands_beside() -> None:
    assert grams_range_text(Range(0.00022, 0.00076, 0.0046)) == "220 to 4,600 µg"
    assert grams_range_text(Range(0.00022, None, 0.0046)) == "0.22 to 4.6 mg"
    assert energy_range_text(530, 2_100, 5_200) == "530 to 5,200 J"


def test_a_missing_energy_is_written_as_no_reading_and_not_as_zero() -> None:
    assert energy_text(None) == "no reading"
    assert energy_text(0.0) == "0 J"
    assert energy_text(4.43e6) == "1.23 kWh"


def test_a_contract_is_one_figure_without_season_or_spread() -> None:
    place = contract(56, "FR")
    assert (place.g_per_kwh.low, place.g_per_kwh.estimate, place.g_per_kwh.high) == (56, 56, 56)
    assert (place.zone, place.year, place.month) == ("FR", None, None)
    assert "given by the user" in place.attribution


@pytest.mark.parametrize("g_per_kwh", [0, -5, 0.056, 56_000, float("nan"), float("inf")])
def test_no_contract_has_electricity_without_a_life_cycle(g_per_kwh: float) -> None:
    with pytest.raises(CarbonError, match="life cycle"):
        contract(g_per_kwh)
