"""What-if figures in closed form: a run of round numbers, seen elsewhere and with other numbers."""

from __future__ import annotations

import pytest

from lichen.carbon import (
    Footprint,
    Plan,
    Range,
    all_year,
    everywhere,
    intensity,
    load_table,
    overtakes_at,
    ratio_text,
    what_if,
)
from lichen.carbon.whatif import energy_j, synthesis_j
from lichen.errors import CarbonError

KWH = 3.6e6


def exactly(kwh: float) -> Range:
    return Range(kwh * KWH, kwh * KWH, kwh * KWH)


RUN = Footprint(exactly(10), exactly(2), exactly(1), exactly(0.5), images=96, calls=20, batch=8)
FRANCE = intensity("FR")


def kwh(plan: Plan) -> float:
    return what_if(RUN, FRANCE, 1.0, plan).energy_kwh.estimate or 0.0


def test_as_it_was_it_uses_what_was_measured() -> None:
    outcome = what_if(RUN, FRANCE, pue=1.0)
    assert outcome.energy_kwh.estimate == pytest.approx(13.5)
    assert outcome.carbon_g.estimate == pytest.approx(13.5 * (FRANCE.g_per_kwh.estimate or 0))
    assert (outcome.zone, outcome.year, outcome.month, outcome.pue) == ("FR", FRANCE.year, None, 1.0)


def test_twice_the_images_are_twice_the_synthesis_and_the_same_training() -> None:
    assert kwh(Plan(images=192)) == pytest.approx(10 + 2 * 3 + 0.5)


def test_images_come_in_whole_batches() -> None:
    assert kwh(Plan(images=97)) == pytest.approx(kwh(Plan(images=104)))


def test_steps_change_the_denoising_alone() -> None:
    assert kwh(Plan(calls=1000)) == pytest.approx(10 + 2 * 50 + 1 + 0.5)


def test_one_image_has_its_own_synthesis_and_its_share_of_the_training() -> None:
    grams_per_kwh = FRANCE.g_per_kwh.estimate or 0.0
    alone, shared = (what_if(RUN, FRANCE, 1.0, Plan(shared_over=n)).per_image_g for n in (None, 10_000))
    assert alone is not None
    assert shared is not None
    assert alone.estimate == pytest.approx(grams_per_kwh * (10 + 3) / 96)
    assert shared.estimate == pytest.approx(grams_per_kwh * (10 / 10_000 + 3 / 96))


def test_synthesis_overtakes_training_at_the_first_whole_batch_that_costs_more() -> None:
    images = overtakes_at(RUN)
    assert images is not None
    assert images % 8 == 0
    training = RUN.training_j.estimate or 0.0
    assert (synthesis_j(RUN, Plan(images=images)).estimate or 0) > training
    assert (synthesis_j(RUN, Plan(images=images - 8)).estimate or 0) <= training
    assert overtakes_at(Footprint(exactly(10))) is None


def test_everywhere_is_every_country_the_cleanest_first_and_grams_go_with_intensity() -> None:
    table = load_table()
    outcomes = everywhere(RUN, pue=1.0)
    assert {outcome.zone for outcome in outcomes} == {zone.code for zone in table.countries()}
    grams = [outcome.carbon_g.estimate or 0.0 for outcome in outcomes]
    assert grams == sorted(grams)
    first, last = outcomes[0], outcomes[-1]
    levels = {zone.code: zone.level.estimate or 0.0 for zone in table.countries()}
    assert grams[-1] / grams[0] == pytest.approx(max(levels.values()) / min(levels.values()))
    text = ratio_text(first, last)
    for words in (first.zone_name, last.zone_name, str(first.year), str(last.year), "Ember"):
        assert words in text


def test_a_year_has_twelve_months_and_a_place_without_seasons_none() -> None:
    months = all_year(RUN, "FR", pue=1.0)
    assert [outcome.month for outcome in months] == list(range(1, 13))
    mean = sum(outcome.carbon_g.estimate or 0.0 for outcome in months) / 12
    assert mean == pytest.approx(13.5 * (FRANCE.g_per_kwh.estimate or 0), rel=0.001)
    assert all_year(RUN, "LU") == ()


def test_a_month_is_named_in_a_ratio_only_where_its_season_is_known() -> None:
    may, january = (what_if(RUN, intensity("FR", month), 1.0) for month in (5, 1))
    text = ratio_text(may, january)
    assert f"France, month 5 at the level of {FRANCE.year}" in text
    lesotho = what_if(RUN, intensity("LS", 5), 1.0)
    assert "month" not in ratio_text(lesotho, lesotho)
    assert not any("seasonal index" in words for words in lesotho.assumptions)


def test_low_ends_meet_low_ends() -> None:
    loose = Footprint(Range(1.0, 2.0, 4.0), Range(1.0, 1.0, 2.0), images=8, calls=10, batch=8)
    assert energy_j(loose, Plan(calls=20)) == Range(3.0, 4.0, 8.0)


@pytest.mark.parametrize("plan", [Plan(images=0), Plan(calls=-1), Plan(shared_over=0)])
def test_an_impossible_number_is_an_error(plan: Plan) -> None:
    with pytest.raises(CarbonError, match="at least 1"):
        what_if(RUN, FRANCE, 1.0, plan)


def test_a_run_without_samples_says_nothing_about_samples() -> None:
    trained = Footprint(exactly(10))
    assert what_if(trained, FRANCE, 1.0).per_image_g is None
    with pytest.raises(CarbonError, match="nothing was drawn"):
        what_if(trained, FRANCE, 1.0, Plan(images=100))


def test_an_unknown_place_stays_a_range() -> None:
    assert what_if(RUN, intensity(None), 1.0).carbon_g.estimate is None


@pytest.mark.parametrize("plan", [Plan(images=10**400), Plan(calls=10**400), Plan(shared_over=10**400)])
def test_a_number_that_no_machine_can_count_is_an_error(plan: Plan) -> None:
    with pytest.raises(CarbonError, match="is larger than"):
        what_if(RUN, FRANCE, 1.0, plan)
