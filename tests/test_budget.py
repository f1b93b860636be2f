"""Budgets: refused before the start, warned of, and kept by what is accounted for at most."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lichen.budget import Budget, Use
from lichen.carbon import J_PER_KWH, intensity
from lichen.chain import train_only
from lichen.config import BudgetConfig, RunConfig
from lichen.energy import Energy, Forecast, Interval, PhaseForecast, read_traces, total
from lichen.energy.readings import NO_READING
from lichen.errors import BudgetError, ConfigError
from lichen.files import sha256_of
from lichen.presets import load_preset
from lichen.runs import RunFolder, read_lines
from lichen.settings import load_settings

FRANCE = intensity("FR")


def ahead(low_kwh: float, kwh: float, high_kwh: float, hours: float = 1.0) -> Forecast:
    energy = Energy(*(J_PER_KWH * part for part in (low_kwh, kwh, high_kwh)))
    seconds = Interval(3600 * hours * 0.9, 3600 * hours, 3600 * hours * 1.1)
    return Forecast((PhaseForecast("diffusion", 100, "image", seconds, energy),), 1.0, None)


def check(limits: BudgetConfig, plan: Forecast, spent: Energy = NO_READING, pue: float | None = 1.0) -> str | None:
    return Budget(limits, FRANCE, pue).check_plan(spent, 0.0, plan)


def test_a_plan_whose_lower_edge_breaks_the_budget_is_refused_with_what_would_fit() -> None:
    with pytest.raises(BudgetError, match=r"2 to 4 kWh by its forecast, and --budget\.energy-kwh is 1") as caught:
        check(BudgetConfig(energy_kwh=1.0), ahead(2, 3, 4))
    assert caught.value.fix.endswith("plan about 25% of the work: fewer --training.images-seen")


def test_a_plan_that_straddles_the_budget_is_warned_of_and_one_within_is_not() -> None:
    assert "may stop before the end" in (check(BudgetConfig(energy_kwh=3.0), ahead(2, 3, 4)) or "")
    assert check(BudgetConfig(energy_kwh=4.0), ahead(2, 3, 4)) is None


def test_what_is_spent_already_counts() -> None:
    spent = Energy(2 * J_PER_KWH, 2 * J_PER_KWH, 2 * J_PER_KWH)
    assert check(BudgetConfig(energy_kwh=4.0), ahead(1, 1, 1), spent) is None
    with pytest.raises(BudgetError):
        check(BudgetConfig(energy_kwh=2.5), ahead(1, 1, 1), spent)


def test_grams_follow_from_place_and_pue_and_hours_from_the_clock() -> None:
    grams_per_kwh = FRANCE.g_per_kwh.high
    assert check(BudgetConfig(carbon_g=grams_per_kwh * 1.01), ahead(1, 1, 1)) is None
    assert check(BudgetConfig(carbon_g=grams_per_kwh * 1.01), ahead(1, 1, 1), pue=None) is not None  # up to 1.58
    with pytest.raises(BudgetError, match=r"--budget\.hours is 0\.5"):
        check(BudgetConfig(hours=0.5), ahead(1, 1, 1))


def test_what_is_known_is_told_as_one_figure_and_what_is_not_as_a_range() -> None:
    known, unknown = (Use("--budget.hours", "hours", 1.0, low, 2.0, 2.0) for low in (2.0, 1.5))
    assert (known.words, unknown.words) == ("2 hours", "1.5 to 2 hours")


def test_a_budget_of_grams_without_a_place_is_an_error() -> None:
    with pytest.raises(ConfigError, match="without a place nobody knows the grams"):
        Budget(BudgetConfig(carbon_g=5.0), intensity(None), None)


def test_where_nothing_is_measured_only_hours_can_be_kept() -> None:
    nothing = replace(ahead(1, 1, 1), phases=(replace(ahead(1, 1, 1).phases[0], energy=NO_READING),))
    with pytest.raises(BudgetError, match="nothing here can be measured"):
        check(BudgetConfig(energy_kwh=1.0), nothing)
    assert check(BudgetConfig(hours=2.0), nothing) is None


@pytest.mark.parametrize("name", ["carbon_g", "energy_kwh", "hours"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_positive(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name.replace("_", "-")):
        BudgetConfig(**{name: value})


def tiny(images_seen: int) -> RunConfig:
    config = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", 2))
    return replace(config, training=replace(config.training, images_seen=images_seen))


def test_training_stops_with_a_checkpoint_before_the_budget_is_broken_and_goes_on_to_the_same_bits(
    tmp_path: Path,
) -> None:
    config = tiny(4000)
    whole, part = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "part")
    train_only(config, whole, quiet=True)
    (line,) = read_lines(whole.forecasts)
    assert set(line["units"]) == {"autoencoder", "encode", "diffusion"}

    high_j = total(phase.total for phase in read_traces(whole.traces)).high_j or 0.0
    budget = BudgetConfig(energy_kwh=0.75 * high_j / J_PER_KWH)
    with pytest.raises(BudgetError, match="is spent") as caught:
        train_only(replace(config, budget=budget), part, quiet=True)
    assert "goes on from here" in caught.value.fix
    assert (total(phase.total for phase in read_traces(part.traces)).high_j or 0.0) <= 0.75 * high_j
    assert part.training_state("diffusion").exists()
    assert not part.generator.exists()

    train_only(config, part, quiet=True)
    assert sha256_of(part.generator) == sha256_of(whole.generator)
    assert len(read_lines(part.forecasts)) == 1  # the plan is the same, so nothing is probed again


def energy_kwh(folder: RunFolder) -> float:
    return (total(phase.total for phase in read_traces(folder.traces)).high_j or 0.0) / J_PER_KWH


def test_a_probe_ends_before_it_spends_the_budget(tmp_path: Path) -> None:
    whole, part = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "part")
    train_only(tiny(4000), whole, quiet=True)
    phases = {phase.phase: (phase.total.high_j or 0.0) / J_PER_KWH for phase in read_traces(whole.traces)}
    limit = phases["read"] + 0.4 * phases["probe"]
    with pytest.raises(BudgetError, match="is spent"):
        train_only(replace(tiny(4000), budget=BudgetConfig(energy_kwh=limit)), part, quiet=True)
    assert not part.forecasts.exists()
    assert energy_kwh(part) <= limit


def test_a_process_that_has_only_begun_counts_on_the_power_of_those_before(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    train_only(tiny(4000), folder, quiet=True)
    spent = energy_kwh(folder)
    folder.generator.unlink()
    with pytest.raises(BudgetError, match="is spent"):
        train_only(replace(tiny(4000), budget=BudgetConfig(energy_kwh=1.01 * spent)), folder, quiet=True)
    assert energy_kwh(folder) <= 1.01 * spent
