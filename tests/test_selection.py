"""What a search decides: the laws that hold whatever is known of its candidates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichen.carbon import Range
from lichen.selection.policy import decide, exhaust
from lichen.selection.recording import from_json, to_json
from lichen.selection.replay import Recorded, at_random, replay, successive_halving
from lichen.selection.types import Candidate, CurvePoint, Decision, Direction, Limits, Measured, State
from made_searches import made_search

POINTS = 8


def candidate(width: float, cost_j: float, state: State = "waiting", quality: float = 0.0, seed: int = 0) -> Candidate:
    """One whose cost is known to a tenth, with a curve that saturates at ``quality`` once it runs."""
    share = {"finished": 1.0, "running": 0.5}.get(state, 0.0)
    times = [(step + 1) / POINTS for step in range(int(POINTS * share))]
    curve = tuple(CurvePoint(cost_j * t, quality - 0.3 * 0.5 ** (12 * t)) for t in times)
    return Candidate(
        name=f"width-{width:g}-seed-{seed}",
        settings={"segmenter.width": width},
        seed=seed,
        state=state,
        training_j=Range(0.9 * cost_j, cost_j, 1.1 * cost_j),
        synthesis_j=None,
        spent_j=cost_j * share,
        curve=curve,
        found=Measured(quality, None, None, cost_j) if state == "finished" else None,
        cut=None,
        training_s=None,
        parameters=None,
        training_flop=None,
        peak_memory_bytes=None,
        copy_rate=None,
        reason="",
    )


def flat() -> list[Candidate]:
    """Four finished widths that come to the same."""
    return [candidate(width, width**2, "finished", 0.8) for width in (4, 8, 16, 24)]


LARGE = "width-64-seed-0"


def test_a_candidate_that_costs_more_and_cannot_be_better_is_refused_with_the_figures() -> None:
    decision = decide([*flat(), candidate(32, 32**2)], "higher", Limits(), free=1)
    assert decision.start == ()
    assert "922 J at least" in decision.refuse["width-32-seed-0"]
    assert "probability" in decision.refuse["width-32-seed-0"]


def test_one_that_may_well_be_better_or_does_not_surely_cost_more_is_trained() -> None:
    rising = [candidate(width, width**2, "finished", 0.1 * width**0.5) for width in (4, 8, 16, 24)]
    assert decide([*rising, candidate(64, 64**2)], "higher", Limits(), free=1).start == (LARGE,)
    cheap = replace(candidate(64, 64**2), training_j=Range(1.0, 40.0, 8000.0))
    assert decide([*flat(), cheap], "higher", Limits(), free=1).start == (LARGE,)


def test_a_search_ends_where_what_is_left_costs_too_much_for_what_it_may_gain() -> None:
    rising = [candidate(width, width**2, "finished", 0.1 * width**0.5) for width in (4, 8, 16, 24)]
    decision = decide([*rising, candidate(64, 1e6)], "higher", Limits(), free=1)
    assert decision.start == ()
    assert "not worth" in decision.refuse[LARGE]
    beside = [*rising, candidate(64, 1e6), candidate(32, 32**2)]
    assert decide(beside, "higher", Limits(), free=1).start == ("width-32-seed-0",)
    assert not decide(beside, "higher", Limits(), free=1).refuse  # it may be worth it when more was spent
    assert not decide([*rising[:2], candidate(64, 1e6)], "higher", Limits(), free=1).refuse


def test_a_repetition_is_worth_joules_while_it_may_change_what_is_taken() -> None:
    def played(gap: float) -> tuple[str, ...]:
        found = [candidate(width, 100, "finished", 0.8 + rise) for width, rise in ((4, -0.1), (8, 0.0), (16, gap))]
        found += [candidate(width, 100, "finished", 0.801 + rise, seed=1) for width, rise in ((4, -0.1), (8, 0.0))]
        return decide([*found, candidate(16, 100, seed=1)], "higher", Limits(), free=1).start

    assert played(0.002) == ("width-16-seed-1",)
    assert played(0.3) == ()


def test_a_waiting_candidate_is_not_judged_by_fewer_configurations_than_the_model_needs() -> None:
    two = [candidate(width, width**2, "finished", 0.8) for width in (4, 8)]
    assert decide([*two, candidate(64, 64**2)], "higher", Limits(), free=1).start == (LARGE,)


def test_a_running_candidate_whose_curve_ends_below_the_front_is_stopped_and_not_before_four_points() -> None:
    running = candidate(64, 64**2, "running", 0.6)
    assert LARGE in decide([*flat(), running], "higher", Limits(), free=1).stop
    assert not decide([*flat(), replace(running, curve=running.curve[:3])], "higher", Limits(), free=1).stop
    assert not decide([*flat(), candidate(64, 64**2, "running", 0.95)], "higher", Limits(), free=1).stop


def test_what_cannot_keep_a_limit_is_refused_and_each_reason_names_it() -> None:
    waiting = [candidate(4, 16), candidate(64, 4096), replace(candidate(8, 64), peak_memory_bytes=9 * 10**9)]
    limits = Limits(candidate_j=1000, peak_memory_bytes=8 * 10**9)
    decision = decide(waiting, "higher", limits, free=3)
    assert decision.start == ("width-4-seed-0",)
    assert "1.02 Wh at least" in decision.refuse[LARGE]
    assert "9 GB" in decision.refuse["width-8-seed-0"]
    spent = [candidate(4, 16, "finished", 0.5), candidate(8, 64)]
    assert "of the search are left" in decide(spent, "higher", Limits(search_j=80), free=1).refuse["width-8-seed-0"]
    assert decide(spent, "higher", Limits(search_j=90), free=1).start == ("width-8-seed-0",)


def test_trainings_that_fit_the_search_one_by_one_do_not_start_together_where_they_do_not() -> None:
    waiting = [candidate(4, 100), candidate(8, 101)]
    assert decide(waiting, "higher", Limits(search_j=150), free=2).start == ("width-4-seed-0",)
    assert decide(waiting, "higher", Limits(search_j=250), free=2).start == ("width-4-seed-0", "width-8-seed-0")


def test_a_forecast_stops_a_running_candidate_but_not_the_last_hope_which_ends_with_a_spent_budget() -> None:
    running = candidate(64, 4096, "running", 0.6)
    limits = Limits(candidate_j=3000)
    assert LARGE in decide([candidate(4, 16), running], "higher", limits, free=1).stop
    assert not decide([running], "higher", limits, free=1).stop
    assert LARGE in decide([replace(running, spent_j=3001)], "higher", limits, free=1).stop
    assert "all of its" in decide([running], "higher", Limits(search_j=2000), free=1).stop[LARGE]


def test_a_finished_candidate_beyond_the_limits_dominates_nothing() -> None:
    greedy = [replace(one, peak_memory_bytes=10**10) for one in flat()]
    limits = Limits(peak_memory_bytes=10**9)
    assert decide([*greedy, candidate(64, 4096)], "higher", limits, free=1).start == (LARGE,)


states = st.sampled_from(["waiting", "running", "finished", "stopped"])
rows = st.lists(st.tuples(states, st.floats(0.3, 0.9), st.sampled_from([4, 8, 16, 32, 64])), min_size=1, max_size=6)


def known(drawn: Sequence[tuple[State, float, int]]) -> list[Candidate]:
    return [candidate(width, width**2, state, q, seed) for seed, (state, q, width) in enumerate(drawn)]


@settings(max_examples=25)
@given(rows, st.randoms(use_true_random=False), st.integers(0, 3), st.floats(10, 20000))
def test_order_changes_nothing_more_budget_never_refuses_more_and_no_place_is_taken_twice(
    drawn: list[tuple[State, float, int]], chance: object, free: int, search_j: float
) -> None:
    candidates = known(drawn)
    decision = decide(candidates, "higher", Limits(search_j=search_j), free=free)
    shuffled = list(candidates)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(shuffled, "higher", Limits(search_j=search_j), free=free) == decision
    assert len(set(decision.start)) == len(decision.start) <= free
    state = {one.name: one.state for one in candidates}
    assert all(state[name] == "waiting" for name in (*decision.start, *decision.refuse))
    assert all(state[name] == "running" for name in decision.stop)
    assert not set(decision.start) & set(decision.refuse)
    for more in (Limits(search_j=2 * search_j), Limits()):
        assert set(decide(candidates, "higher", more, free=free).refuse) <= set(decision.refuse)


@settings(max_examples=15)
@given(rows)
def test_quality_turned_over_with_its_direction_changes_nothing(drawn: list[tuple[State, float, int]]) -> None:
    candidates = known(drawn)
    turned = [
        replace(
            one,
            curve=tuple(CurvePoint(point.spent_j, -point.quality) for point in one.curve),
            found=one.found and replace(one.found, quality=-one.found.quality),
        )
        for one in candidates
    ]
    assert decide(candidates, "higher", Limits(), free=2) == decide(turned, "lower", Limits(), free=2)


def grid_j(recorded: Sequence[Recorded]) -> float:
    return sum(one.whole.spent_j for one in recorded)


def test_training_all_takes_the_best_for_the_whole_energy_and_a_share_buys_no_more_than_itself() -> None:
    recorded = made_search("saturating", 1)
    everything = replay(recorded, exhaust, "higher")
    assert everything.share == pytest.approx(1.01)  # probes
    assert set(everything.trained.values()) == {1.0}
    best = max(recorded, key=lambda one: max(point.quality for point in one.whole.curve)).whole.name
    assert everything.taken == best
    some = replay(recorded, at_random(3), "higher", Limits(search_j=0.5 * grid_j(recorded)))
    assert some.share <= 0.5 * 1.2


def test_halving_ends_with_one_and_trains_half_of_the_rest_as_far_as_each_rung() -> None:
    recorded = made_search("largest", 0)
    played = replay(recorded, successive_halving(), "higher", places=len(recorded))
    assert max(played.trained.values()) == 1.0
    assert sum(share < 1 for share in played.trained.values()) == len(recorded) - 1


def test_deciding_spends_far_less_than_training_all_where_the_smallest_is_best_and_loses_nothing() -> None:
    recorded = [
        replace(one, whole=replace(one.whole, curve=one.whole.curve[2::3])) for one in made_search("smallest", 0)
    ]
    played = replay(recorded, decide, "higher")
    assert played.taken == "width-04-seed-0"
    assert played.share < 0.5


def test_a_candidate_without_a_curve_cannot_be_replayed() -> None:
    first, *others = made_search("noise", 0)
    with pytest.raises(ValueError, match="cannot be replayed"):
        replay([replace(first, whole=replace(first.whole, curve=())), *others], exhaust, "higher")


def test_candidates_come_back_from_json_as_they_were() -> None:
    candidates = [one.whole for one in made_search("noise", 0)]
    candidates[0] = replace(candidates[0], synthesis_j=Range(1, None, 2), training_j=None, settings={"a": "word"})
    assert from_json(json.loads(json.dumps(to_json(candidates)))) == candidates


def test_where_all_are_trained_only_limits_refuse_and_nothing_is_stopped() -> None:
    waiting, running = candidate(32, 32**2), candidate(48, 48**2, "running", 0.7)
    everything = [*flat(), waiting, running]
    chosen = decide(everything, "higher", Limits(), free=1)
    assert chosen.refuse.keys() | chosen.stop.keys() >= {"width-32-seed-0"}
    all_the_same = exhaust(everything, "higher", Limits(), free=1)
    assert all_the_same == Decision(("width-32-seed-0",), {}, {})
    assert exhaust(everything, "higher", Limits(), free=0).start == ()
    limited = exhaust(everything, "higher", Limits(candidate_j=900.0), free=1)
    assert "922 J at least, and 900 J are allowed" in limited.refuse["width-32-seed-0"]
    assert not limited.stop
    spent_j = sum(one.spent_j for one in everything)
    left = exhaust(everything, "higher", Limits(search_j=spent_j + 1000.0), free=1)
    assert "of the search are left" in left.refuse["width-32-seed-0"]


def test_nothing_is_refused_in_favour_of_what_may_not_be_taken() -> None:
    good = [replace(one, copy_rate=0.0) for one in flat()]
    limits = Limits(copy_rate=0.01)
    dear = candidate(32, 32**2)
    assert decide([*good, dear], "higher", limits, free=1).refuse
    for changes in ({"copy_rate": None}, {"copy_rate": 0.5}, {"found": None}):
        suspect = [replace(one, **changes) for one in good]
        assert decide([*suspect, dear], "higher", limits, free=1).start == (dear.name,)


def test_a_recorded_candidate_is_replayed_by_its_forecasts_from_before() -> None:
    whole = replace(
        candidate(4, 16.0, "finished", 0.8),
        synthesis_j=Range(90.0, 100.0, 110.0),
        forecast_j=Range(10.0, 20.0, 30.0),
        forecast_synthesis_j=Range(40.0, 50.0, 60.0),
    )
    (read,) = from_json(json.loads(json.dumps(to_json([whole]))))
    assert read == whole
    seen: list[Range | None] = []

    def watching(candidates: Sequence[Candidate], direction: Direction, limits: Limits, *, free: int) -> Decision:
        seen.append(candidates[0].cost_j)
        return exhaust(candidates, direction, limits, free=free)

    assert read.forecast_j is not None
    replay([Recorded(read, read.forecast_j, 0.0)], watching, "higher")
    assert seen[0] == Range(50.0, 70.0, 90.0)
    assert seen[-1] == whole.cost_j
