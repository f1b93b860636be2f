"""Front, choices, steps, objectives and savings of candidates: closed forms and laws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lichen.carbon import Range, intensity
from lichen.selection.answers import at_least, choose, ends, next_percent_j, saving, steps, within_budget
from lichen.selection.front import Configuration, configurations, cut_short, difference_between, front
from lichen.selection.objectives import least_objective, loss_of, objectives, pepr, proxies, scalar_objective, scaled
from lichen.selection.types import Candidate, Limits, Measured
from lichen.statistics import mean

NOTHING = Limits()


def candidate(
    width: float, quality: float | None, cost_j: float | None, *, seed: int = 0, half: float | None = None
) -> Candidate:
    """One that is done, or refused where it has no quality."""
    found = None
    if quality is not None:
        low, high = (None, None) if half is None else (quality - half, quality + half)
        found = Measured(quality, low, high, cost_j or 0.0)
    cost = None if cost_j is None else Range(cost_j, cost_j, cost_j)
    return Candidate(
        f"width-{width:g}-seed-{seed}",
        {"segmenter.width": width},
        seed,
        "refused" if found is None else "finished",
        cost,
        None,
        cost_j or 0.0,
        (),
        found,
        None,
        cost_j,
        int(width),
        None,
        None,
        None,
        "",
    )


def five() -> list[Candidate]:
    """Of five points two are beaten: width 3 by width 2, and width 5 by width 4, which is as good and cheaper."""
    points = [(1, 0.5, 10.0), (2, 0.7, 20.0), (3, 0.6, 30.0), (4, 0.8, 40.0), (5, 0.8, 50.0)]
    return [candidate(width, quality, cost, half=0.001) for width, quality, cost in points]


def widths(among: Sequence[Configuration]) -> list[float]:
    return [float(each.settings["segmenter.width"]) for each in among]


def test_the_front_of_five_points_is_the_three_that_no_other_one_beats() -> None:
    assert widths(front(configurations(five(), NOTHING), "higher")) == [1, 2, 4]


def test_where_lower_is_better_the_cheapest_of_five_points_may_be_the_whole_front() -> None:
    assert widths(front(configurations(five(), NOTHING), "lower")) == [1]


def test_configurations_of_equal_quality_and_cost_are_both_on_the_front() -> None:
    twins = [candidate(1, 0.5, 10.0), candidate(2, 0.5, 10.0), candidate(3, 0.4, 10.0)]
    assert widths(front(configurations(twins, NOTHING), "higher")) == [1, 2]


points = st.lists(st.tuples(st.floats(0, 1), st.floats(1, 100)), min_size=1, max_size=12)


@given(points)
def test_what_is_not_on_the_front_is_beaten_by_something_on_it_and_nothing_on_it_is_beaten(
    drawn: list[tuple[float, float]],
) -> None:
    among = configurations([candidate(width, *point) for width, point in enumerate(drawn)], NOTHING)
    on_it = front(among, "higher")

    def beaten(each: Configuration) -> bool:
        cost, quality = each.point
        others = [other.point for other in among if other is not each]
        return any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in others)

    assert {id(each) for each in on_it} == {id(each) for each in among if not beaten(each)}


def test_candidates_that_differ_in_the_seed_alone_are_one_configuration_with_students_interval() -> None:
    qualities = [0.70, 0.72, 0.77]
    (one,) = configurations([candidate(8, q, 10.0 + seed, seed=seed) for seed, q in enumerate(qualities)], NOTHING)
    assert one.quality == mean(qualities)
    assert one.quality.n == 3
    assert one.point[0] == pytest.approx(11.0)
    assert one.cost_over_seeds_j == mean([10.0, 11.0, 12.0])


def test_a_single_candidate_keeps_the_interval_of_its_own_test_images() -> None:
    (one,) = configurations([candidate(8, 0.7, 10.0, half=0.05)], NOTHING)
    assert one.quality.low == pytest.approx(0.65)
    assert one.quality.high == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("broken", "limits", "words"),
    [
        ({"peak_memory_bytes": 9 * 10**9}, Limits(peak_memory_bytes=8 * 10**9), "takes 9 GB of memory"),
        ({"copy_rate": 0.05}, Limits(copy_rate=0.01), "up to 5 % of its images may be copies"),
        ({"copy_rate": None}, Limits(copy_rate=0.01), "no audit says"),
    ],
)
def test_what_breaks_a_limit_is_on_no_front_and_says_which(broken: dict[str, Any], limits: Limits, words: str) -> None:
    fine = replace(candidate(1, 0.5, 10.0), peak_memory_bytes=10**9, copy_rate=0.0)
    known: dict[str, Any] = {"peak_memory_bytes": 10**9, "copy_rate": 0.0}
    best = replace(candidate(2, 0.9, 5.0), **{**known, **broken})
    among = configurations([fine, best], limits)
    assert widths(front(among, "higher")) == [1]
    assert words in among[1].why_not


def test_without_a_known_cost_nothing_is_on_the_front_and_nothing_is_chosen() -> None:
    among = configurations([candidate(1, 0.5, None), candidate(2, 0.6, None)], NOTHING)
    assert front(among, "higher") == ()
    assert choose(among, "higher") is None
    assert among[0].why_not == "its cost is not known"


def noisy(width: float, cost: float, quality: float, noise: Sequence[float]) -> list[Candidate]:
    return [candidate(width, quality + each, cost, seed=seed) for seed, each in enumerate(noise)]


def test_of_configurations_not_shown_to_be_worse_than_the_best_the_cheapest_is_taken() -> None:
    alike = noisy(4, 10.0, 0.750, (0.01, -0.01, 0.0)) + noisy(64, 150.0, 0.752, (-0.01, 0.01, 0.002))
    worse = noisy(2, 5.0, 0.5, (0.01, -0.01, 0.0))
    choice = choose(configurations([*worse, *alike], NOTHING), "higher")
    assert choice is not None
    assert widths([choice.take, choice.best]) == [4, 64]
    assert widths(choice.alike) == [4, 64]
    assert choice.is_judged


def test_differences_are_paired_by_seed_so_what_a_seed_does_to_both_cancels() -> None:
    shared = (0.1, -0.1, 0.05)
    low = [candidate(4, 0.70 + each, 10.0, seed=seed) for seed, each in enumerate(shared)]
    jitter = (0.001, -0.001, 0.0)
    high = [candidate(8, 0.72 + each + j, 20.0, seed=s) for s, (each, j) in enumerate(zip(shared, jitter, strict=True))]
    one, other = configurations([*low, *high], NOTHING)
    between = difference_between(other, one)
    assert between.low is not None
    assert between.low > 0  # each alone has an interval of more than 0.2 to either side
    assert one.quality.low is not None
    assert one.quality.low < 0.5


def test_without_any_interval_the_best_figure_is_taken_and_nothing_is_said_to_be_judged() -> None:
    choice = choose(configurations([candidate(1, 0.5, 10.0), candidate(2, 0.6, 20.0)], NOTHING), "higher")
    assert choice is not None
    assert widths([choice.take]) == [2]
    assert not choice.is_judged


def test_a_budget_buys_the_best_below_it_and_a_quality_the_cheapest_above_it() -> None:
    among = configurations(five(), NOTHING)
    choice = within_budget(among, 39.0, "higher")
    assert choice is not None
    assert widths([choice.take]) == [2]
    assert within_budget(among, 9.0, "higher") is None
    spent = [replace(one, cut=Measured(0.1, None, None, 1.0)) for one in five()]
    assert within_budget(configurations(spent, NOTHING), 39.0, "higher") is None
    cut = within_budget([*configurations(spent, NOTHING), *cut_short(spent, NOTHING)], 39.0, "higher")
    assert cut is not None
    assert cut.best.is_cut
    untested = [replace(one, cut_untested=True) for one in five()]
    assert within_budget(configurations(untested, NOTHING), 39.0, "higher") is None
    enough = at_least(among, 0.65, "higher")
    assert enough is not None
    assert widths([enough]) == [2]
    assert at_least(among, 0.81, "higher") is None


def test_a_cut_candidate_stands_for_itself_at_what_was_spent_and_others_for_what_they_are() -> None:
    dear = replace(candidate(8, 0.8, 100.0, seed=0), cut=Measured(0.6, None, None, 40.0))
    cheap = candidate(8, 0.7, 30.0, seed=1)
    (cut,) = cut_short([dear, cheap, candidate(4, 0.5, 10.0)], NOTHING)
    assert cut.is_cut
    assert cut.quality.estimate == pytest.approx(0.65)
    assert cut.point[0] == pytest.approx(35.0)


def test_along_a_line_the_next_percent_costs_a_hundredth_of_the_quality_over_the_slope() -> None:
    line = [candidate(width, 0.5 + 0.1 * width, 100.0 + 50.0 * width) for width in range(4)]
    along = front(configurations(line, NOTHING), "higher")
    for each, step in zip(along, steps(along, "higher"), strict=False):
        assert step.next_percent_j == pytest.approx(0.01 * each.point[1] / 0.1 * 50.0)
    assert steps(along, "higher")[0].gain == pytest.approx(0.2)
    assert steps(along, "higher")[0].extra_share == pytest.approx(0.5)


def test_the_next_percent_may_lie_beyond_the_next_point_or_beyond_the_front() -> None:
    bent = [candidate(1, 1.0, 10.0), candidate(2, 1.005, 20.0), candidate(3, 1.015, 40.0)]
    along = front(configurations(bent, NOTHING), "higher")
    assert next_percent_j(along, "higher") == pytest.approx(20.0)
    assert next_percent_j(along[:2], "higher") is None


def test_of_a_distance_the_next_percent_is_a_hundredth_less() -> None:
    line = [candidate(1, 2.0, 10.0), candidate(2, 1.0, 110.0)]
    along = front(configurations(line, NOTHING), "lower")
    assert next_percent_j(along, "lower") == pytest.approx(2.0)


def test_the_ends_of_a_front_tell_its_ratio_of_cost_and_its_gain() -> None:
    found = ends(front(configurations(five(), NOTHING), "higher"), "higher")
    assert found is not None
    assert found.cost_ratio.estimate == pytest.approx(4.0)
    assert found.gain == pytest.approx(0.6)


def test_a_search_that_trained_all_saved_nothing_but_lost_its_probes() -> None:
    done = [candidate(1, 0.5, 10.0), candidate(2, 0.6, 20.0)]
    found = saving(done, Range(33.0, 33.0, 33.0))
    assert found.saved_j == Range(-3.0, -3.0, -3.0)
    assert found.forecast == 0
    tested = [replace(each, spent_j=each.spent_j + 5) for each in done]
    found = saving(tested, Range(43.0, 43.0, 43.0))
    assert found.saved_j == Range(-3.0, -3.0, -3.0), "what they read and tested is on both sides"
    assert found.everything_j == Range(40.0, 40.0, 40.0)


def test_what_was_refused_is_saved_as_far_as_its_forecast_is_known() -> None:
    refused = replace(candidate(2, None, 20.0), training_j=Range(15.0, 20.0, 40.0))
    unknown = candidate(3, None, None)
    found = saving([candidate(1, 0.5, 10.0), refused, unknown], Range(11.0, 11.0, 11.0))
    assert found.saved_j == Range(14.0, 19.0, 39.0)
    assert found.everything_j == Range(25.0, 30.0, 50.0)
    assert (found.forecast, found.unknown) == (1, 1)
    assert found.share is not None
    assert found.share.estimate == pytest.approx(19 / 30)


@given(st.floats(0, 1), st.floats(0, 1))
def test_pepr_lies_between_half_the_performance_and_all_of_it(resource: float, performance: float) -> None:
    assert performance / 2 <= pepr(resource, performance) <= performance


def test_pepr_refuses_what_is_not_a_share_and_there_is_none_of_a_distance() -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        pepr(0.5, 3.0)
    among = configurations(five(), NOTHING)
    place = intensity("FR")
    assert all(score is None for _, score in objectives(among, "lower", 1.0, place, None))
    scores = [score for _, score in objectives(among, "higher", 1.0, place, None)]
    assert scores[0] == pytest.approx(0.5)
    assert scores[-1] == pytest.approx(0.4)


def test_costs_are_scaled_from_the_cheapest_to_the_dearest() -> None:
    assert scaled([10.0, 20.0, 50.0]) == pytest.approx((0.0, 0.25, 1.0))
    assert scaled([7.0, 7.0]) == (0.0, 0.0)


def test_the_scalar_objective_counts_kilograms() -> None:
    assert scalar_objective(loss_of(0.75, "higher"), Range(100.0, 200.0, 400.0), 0.5) == Range(0.3, 0.35, 0.45)
    assert loss_of(0.02, "lower") == 0.02


def test_at_an_unknown_place_the_objective_is_a_range_and_names_each_that_may_be_the_least() -> None:
    cheap, good = candidate(1, 0.5, 1e6), candidate(2, 0.6, 3e6)
    values = [
        value for value, _ in objectives(configurations([cheap, good], NOTHING), "higher", 1.0, intensity(None), 1.0)
    ]
    assert all(value is not None and value.estimate is None for value in values)
    assert set(least_objective(values)) == {0, 1}
    known = [
        value for value, _ in objectives(configurations([cheap, good], NOTHING), "higher", 0.0, intensity("FR"), 1.0)
    ]
    assert least_objective(known) == (1,)


def test_parameters_that_rise_with_joules_rank_like_them_and_lacking_ones_are_left_out() -> None:
    found = proxies(configurations([candidate(width, 0.5, 10.0 * width) for width in (1, 2, 3, 5, 8)], NOTHING))
    assert found["parameters"].estimate == pytest.approx(1.0)
    assert found["parameters"].n == 5
    assert found["operations"].estimate is None
