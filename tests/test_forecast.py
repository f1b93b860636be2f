"""Forecasts in closed form: a stopwatch over a scripted clock, and what follows from its pace."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from lichen.energy import Forecast, Interval, PhaseForecast, Reading, ReplayMeter, Stopwatch, expect, pace
from lichen.energy.forecast import DRIFT, Z_90
from lichen.energy.probe import LEAST_BLOCK_S, LEAST_S, MOST_S, SHARE, WARM_UP
from lichen.energy.readings import NO_READING, Energy
from lichen.settings import from_plain

EXACT = Energy(90.0, 100.0, 110.0)


class Clock:
    """A clock that work moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def steady(watch: Stopwatch, clock: Clock, units: float, seconds: float, pieces: int = 10_000) -> int:
    """Do pieces of work until it is enough; how many that were."""
    for piece in range(1, pieces + 1):
        clock.now_s += seconds
        watch(units)
        if watch.enough():
            return piece
    return pieces


def test_work_at_a_steady_pace_is_forecast_exactly_with_the_drift_alone_as_interval() -> None:
    found = pace([(2.0, 1.0)] * 5, EXACT)
    ahead = expect("train", 1000, "image", found)
    assert ahead.duration_s.estimate == pytest.approx(500)
    assert ahead.duration_s.high / 500 == pytest.approx(math.exp(Z_90 * DRIFT))
    assert ahead.duration_s.low * ahead.duration_s.high == pytest.approx(500**2)
    assert ahead.energy.energy_j == pytest.approx(500 * 100)
    assert ahead.energy.low_j == pytest.approx(90 * ahead.duration_s.low)
    assert ahead.energy.high_j == pytest.approx(110 * ahead.duration_s.high)


def test_scatter_widens_the_interval_and_more_blocks_narrow_it() -> None:
    few = pace([(1.0, 0.8), (1.0, 1.2)] * 2, NO_READING)
    many = pace([(1.0, 0.8), (1.0, 1.2)] * 50, NO_READING)
    assert few.s_per_unit == pytest.approx(1.0)
    assert many.s_per_unit == pytest.approx(1.0)
    assert few.error == pytest.approx(0.2 / math.sqrt(3))
    assert many.error == pytest.approx(0.2 / math.sqrt(99))


def test_an_interruption_of_one_block_changes_the_interval_and_not_the_figure() -> None:
    calm, stirred = pace([(1.0, 1.0)] * 8, NO_READING), pace([(1.0, 1.0)] * 7 + [(1.0, 9.0)], NO_READING)
    assert calm.s_per_unit == pytest.approx(1.0)
    assert stirred.s_per_unit == pytest.approx(1.0)
    assert stirred.error > calm.error


def test_one_block_alone_is_not_trusted_as_much_as_several() -> None:
    assert pace([(1.0, 1.0)], NO_READING).error > pace([(1.0, 1.0)] * 4, NO_READING).error
    with pytest.raises(ValueError, match="at least one timed block"):
        pace([], NO_READING)


def test_what_could_not_be_measured_has_no_forecast_of_energy() -> None:
    ahead = expect("train", 10, "image", pace([(1.0, 1.0)], NO_READING))
    assert ahead.energy == NO_READING
    assert Forecast((ahead,), 1.0, None).energy.energy_j is None


def two_phases() -> Forecast:
    found = pace([(1.0, 1.0)] * 4, EXACT)
    return Forecast((expect("train", 100, "image", found), expect("draw", 50, "image", found)), 1.0, None)


def test_what_is_done_is_not_ahead_any_more() -> None:
    both = two_phases()
    assert both.duration_s.estimate == pytest.approx(150)
    left = both.remaining({"train": 25, "draw": 80})
    assert left.duration_s.estimate == pytest.approx(75)
    assert left.energy.energy_j == pytest.approx(7500)
    assert both.part(["draw"]).duration_s.estimate == pytest.approx(50)
    assert [phase.phase for phase in both.without(["draw"]).phases] == ["train"]


def test_the_warm_up_is_not_timed_and_power_is_that_of_the_timed_work() -> None:
    clock = Clock()

    def power() -> Iterator[tuple[Reading, ...]]:
        while True:  # 50 W, as of the clock
            yield (Reading("cpu", "counter", 50 * clock.now_s, 45 * clock.now_s, 55 * clock.now_s),)

    class Meter(ReplayMeter):
        def read(self) -> tuple[Reading, ...]:
            return next(readings)

    readings = power()
    watch = Stopwatch((Meter([()]),), planned=1e6, clock=clock)
    clock.now_s += 1.5
    watch(4)
    clock.now_s += 0.5
    watch(4)
    steady(watch, clock, 4, 0.2)
    found = watch.pace()
    assert found.s_per_unit == pytest.approx(0.05)
    assert found.joules_per_s.energy_j == pytest.approx(50)
    assert found.joules_per_s.low_j == pytest.approx(45)


def test_steady_work_is_looked_at_for_a_second_and_no_longer() -> None:
    clock = Clock()
    pieces = steady(Stopwatch((), planned=1e9, clock=clock), clock, 1, 0.05)
    assert (pieces - WARM_UP) * 0.05 == pytest.approx(LEAST_S, abs=2 * LEAST_BLOCK_S)


def test_restless_work_is_looked_at_for_two_per_cent_of_it_or_twelve_seconds() -> None:
    for planned_s, looked_s in ((200.0, SHARE * 200), (1e6, MOST_S)):
        clock = Clock()
        watch = Stopwatch((), planned=planned_s, clock=clock)
        times = [0.1, 1.9]  # s for a unit: one on the average
        for piece in range(1000):
            clock.now_s += times[piece % 2]
            watch(1)
            if watch.enough():
                break
        assert looked_s <= clock.now_s <= looked_s + 6


def test_little_work_is_looked_at_for_a_fifth_of_it() -> None:
    clock = Clock()
    pieces = steady(Stopwatch((), planned=100, clock=clock), clock, 1, 0.02)
    assert (pieces - WARM_UP) * 0.02 == pytest.approx(0.4, abs=2 * LEAST_BLOCK_S)


def test_work_that_ends_within_the_warm_up_is_judged_by_that() -> None:
    clock = Clock()
    watch = Stopwatch((), planned=8, clock=clock)
    assert steady(watch, clock, 4, 0.1, pieces=2) == 2
    assert watch.pace().s_per_unit == pytest.approx(0.025)
    with pytest.raises(ValueError, match="at least one timed block"):
        Stopwatch((), planned=8, clock=clock).pace()


def test_a_single_very_long_piece_must_do() -> None:
    clock = Clock()
    watch = Stopwatch((), planned=1000, clock=clock)
    assert steady(watch, clock, 2, 40.0) == 1
    assert watch.pace().s_per_unit == pytest.approx(20)
    assert watch.pace().error == pytest.approx(0.2)


def test_what_comes_after_enough_is_told_apart() -> None:
    clock = Clock()
    watch = Stopwatch((), planned=1e9, clock=clock)
    assert watch.since_end_s() == 0
    steady(watch, clock, 1, 0.05)
    clock.now_s += 3
    assert watch.since_end_s() == pytest.approx(3)
    assert watch.pace().s_per_unit == pytest.approx(0.05)


def test_intervals_of_phases_add_up_as_errors_that_go_the_same_way() -> None:
    one = PhaseForecast("a", 1, "image", Interval(1, 2, 3), NO_READING)
    assert Forecast((one, one), 0, None).duration_s == Interval(2, 4, 6)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("phases", 0, "units"), math.nan),
        (("phases", 0, "units"), -1.0),
        (("phases", 0, "duration_s", "low"), -1.0),
        (("phases", 0, "duration_s", "high"), math.inf),
        (("phases", 0, "duration_s", "estimate"), math.nan),
        (("phases", 0, "energy", "low_j"), -1.0),
        (("phases", 0, "energy", "high_j"), math.inf),
        (("save_s",), math.nan),
        (("probe_s",), -1.0),
    ],
)
def test_a_kept_forecast_that_somebody_changed_is_none(path: tuple[str | int, ...], value: float) -> None:
    found = Forecast((expect("train", 100, "image", pace([(2.0, 1.0)] * 5, EXACT)),), 1.0, None)
    plain: Any = asdict(found)
    assert from_plain(Forecast, plain) == found
    part = plain
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    with pytest.raises(ValueError, match=r"interval|forecast|time|energy"):
        from_plain(Forecast, plain)


def test_a_phase_of_nothing_is_over() -> None:
    found = Forecast((expect("train", 0, "image", pace([(2.0, 1.0)] * 5, EXACT)),), 1.0, None)
    assert found.remaining({"train": 3.0}).duration_s.estimate == 0
