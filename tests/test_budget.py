"""Budgets: refused before the start, warned of, and kept by what is accounted for at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate, cycle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lichen.budget import Budget, Use
from lichen.carbon import J_PER_KWH, intensity
from lichen.chain import Data, read_images, train_only
from lichen.chain.expecting import look_ahead
from lichen.chain.forecasting import Work, forecast
from lichen.chain.training import spec_of
from lichen.chain.watched import watched
from lichen.config import BudgetConfig, CarbonConfig, RunConfig
from lichen.energy import Energy, Forecast, Interval, PhaseForecast, Trace, read_traces, total
from lichen.energy.readings import NO_READING
from lichen.errors import BudgetError, ConfigError
from lichen.outlook import Outlook
from lichen.presets import load_preset
from lichen.runs import RunFolder, read_lines
from lichen.settings import load_settings
from lichen.training.draws import Draws
from lichen.training.loop import Recipe, train
from lichen.watch import Watch, watching
from ten_watts import Clock

FRANCE = intensity("FR")


def ahead(low_kwh: float, kwh: float, high_kwh: float, hours: float = 1.0, phase: str = "diffusion") -> Forecast:
    energy = Energy(*(J_PER_KWH * part for part in (low_kwh, kwh, high_kwh)))
    seconds = Interval(3600 * hours * 0.9, 3600 * hours, 3600 * hours * 1.1)
    return Forecast((PhaseForecast(phase, 100, "image", seconds, energy),), 1.0, None)


def check(limits: BudgetConfig, plan: Forecast, spent: Energy = NO_READING, pue: float | None = 1.0) -> str | None:
    return Budget(limits, FRANCE, pue).check_plan(spent, 0.0, plan)


@pytest.mark.parametrize(
    ("phase", "lever"),
    [
        ("autoencoder", "--autoencoder.images-seen"),
        ("diffusion", "--training.images-seen"),
        ("gan", "--training.images-seen"),
        ("denoise", "--sampling.count"),
        ("synthesise", "--sampling.count"),
    ],
)
def test_a_plan_whose_lower_edge_breaks_the_budget_is_refused_with_what_would_fit(phase: str, lever: str) -> None:
    with pytest.raises(BudgetError, match=r"2 to 4 kWh by its forecast, and --budget\.energy-kwh is 1") as caught:
        check(BudgetConfig(energy_kwh=1.0), ahead(2, 3, 4, phase=phase))
    assert caught.value.fix.endswith(f"plan about 25% of the work: fewer {lever}")


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


@contextmanager
def steadily_drawing(clock: Clock, folder: Path, limits: BudgetConfig) -> Iterator[Watch]:
    """A watch of work that takes time and energy by ``clock`` alone, however busy this machine is."""
    with pytest.MonkeyPatch.context() as patch, Trace(folder / "energy-here-0.jsonl", (clock,), clock=clock) as trace:
        patch.setattr("lichen.energy.trace.SOON_S", 60.0)  # a reading that is asked for is waited for
        yield Watch(trace, CarbonConfig(), Budget(limits, FRANCE, 1.0), quiet=True, clock=clock)


def spent_j(folder: Path) -> float:
    return total(phase.total for phase in read_traces(folder.glob("energy-*.jsonl"))).high_j or 0.0


def work(clock: Clock, watch: Watch, pieces: Iterable[float]) -> None:
    """Pieces of work, which take so many seconds each."""
    with watch.phase("work", 1000) as step:
        for seconds in pieces:
            clock.now_s += seconds
            step(1)


@settings(max_examples=25)
@given(pieces=st.lists(st.floats(0.5, 8.0), min_size=1, max_size=8), limit_j=st.floats(400, 1000))
def test_work_ends_within_its_budget_and_not_long_before(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[float], limit_j: float
) -> None:
    folder, clock = tmp_path_factory.mktemp("kept"), Clock()
    limits = BudgetConfig(energy_kwh=limit_j / J_PER_KWH)
    longest = list(accumulate(pieces, lambda before_s, seconds: max(before_s, min(seconds, 2 * before_s)), initial=3.0))
    allowed = [min(pair) for pair in zip(pieces, longest[1:], strict=True)]  # a sudden long one may break any budget
    with steadily_drawing(clock, folder, limits) as watch, pytest.raises(BudgetError, match="is spent"):
        work(clock, watch, cycle(allowed))
    assert limit_j - 10 * (2 * max(allowed) + 3) - 1e-6 <= spent_j(folder) <= limit_j


def test_a_process_that_has_only_begun_counts_on_the_power_of_those_before(tmp_path: Path) -> None:
    clock = Clock()
    with steadily_drawing(clock, tmp_path, BudgetConfig()) as watch, watch.phase("before", 1):
        clock.now_s += 60
    limits = BudgetConfig(energy_kwh=601 / J_PER_KWH)
    with steadily_drawing(clock, tmp_path, limits) as watch, pytest.raises(BudgetError, match="is spent"):
        watch.keep_budget()()
    assert spent_j(tmp_path) == pytest.approx(600)


def test_work_that_may_end_early_begins_though_its_whole_length_would_break_the_budget(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with steadily_drawing(Clock(), tmp_path, BudgetConfig(energy_kwh=1.0)) as watch:
        watch.quiet = False
        watch.expect(ahead(2, 3, 4), {}, may_end_early=True)
        assert "--budget.energy-kwh is 1: it ends there, unless it is done before" in capsys.readouterr().err
        with pytest.raises(BudgetError):
            watch.expect(ahead(2, 3, 4), {})


def test_work_is_judged_by_its_own_pace_only_from_the_share_that_was_asked_for() -> None:
    outlook, spent = Outlook(ahead(1, 1, 1), {}), Energy(J_PER_KWH, J_PER_KWH, J_PER_KWH)
    outlook.begin(["diffusion"], NO_READING, own_pace_from=0.5)
    by_forecast, by_pace = (outlook.expected(spent, share).energy_j for share in (0.4, 0.5))
    assert by_forecast == pytest.approx(1.6 * J_PER_KWH)
    assert by_pace == pytest.approx(2 * J_PER_KWH)


def test_training_stops_with_a_checkpoint_before_the_budget_is_broken_and_goes_on_to_the_same_bits(
    tmp_path: Path,
) -> None:
    clock, images = Clock(), torch.randn(8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    recipe = Recipe("diffusion", 200, 2, 1e-2, 8, 1.0, "fp32", seed=3, checkpoint_every_s=1e9)

    def slow(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
        clock.now_s += 1
        error: Tensor = network(batch) - draws.normal(batch.shape[1:])
        return error.square().mean()

    def trained(folder: RunFolder, limits: BudgetConfig) -> dict[str, Tensor]:
        torch.manual_seed(0)
        with steadily_drawing(clock, folder.path, limits) as watch:
            average = watched(
                recipe,
                (),
                folder,
                watch,
                lambda state, log, step, stop: train(
                    nn.Conv2d(1, 1, 1), images, slow, recipe, state_path=state, log=log, step=step, stop=stop
                ),
            )
            return average.state_dict()

    whole, part = (RunFolder(tmp_path / name) for name in ("whole", "part"))
    expected = trained(whole, BudgetConfig())
    assert spent_j(whole.path) == pytest.approx(1000)
    with pytest.raises(BudgetError, match="is spent") as caught:
        trained(part, BudgetConfig(energy_kwh=400 / J_PER_KWH))
    assert "goes on from here" in caught.value.fix
    assert 300 <= spent_j(part.path) <= 400
    found = trained(part, BudgetConfig())
    assert spent_j(part.path) == pytest.approx(1000)  # nothing was done twice
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def tiny() -> RunConfig:
    config = load_settings(Path(__file__).with_name("tiny.yaml"), load_preset("demo", 2))
    return replace(
        config,
        images=replace(config.images, size=(16, 16), phantom_patients=4),
        autoencoder=replace(config.autoencoder, images_seen=8),
        training=replace(config.training, images_seen=8),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    with watching(tmp_path_factory.mktemp("read"), CarbonConfig(), quiet=True) as watch:
        return read_images(tiny(), watch)


def test_a_plan_is_forecast_once_and_then_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    train_only(tiny(), folder, quiet=True)
    (line,) = read_lines(folder.forecasts)
    assert set(line["units"]) == {"autoencoder", "encode", "diffusion"}
    folder.generator.unlink()
    train_only(tiny(), folder, quiet=True)
    assert read_lines(folder.forecasts) == [line]


@pytest.mark.parametrize("limits", [BudgetConfig(hours=1e-9), BudgetConfig(energy_kwh=1e-12)])
def test_nothing_is_done_once_the_budget_is_spent(tmp_path: Path, data: Data, limits: BudgetConfig) -> None:
    config, folder = tiny(), RunFolder(tmp_path / "run")
    with pytest.raises(BudgetError, match="is spent"):
        train_only(replace(config, budget=limits), folder, quiet=True)
    with (
        watching(folder.path, config.carbon, quiet=True, budget=limits) as watch,
        pytest.raises(BudgetError, match="is spent"),
    ):
        look_ahead(config, data, folder, torch.device("cpu"), watch)
    assert not folder.forecasts.exists()
    assert not any(folder.checkpoints.glob("*"))


@pytest.mark.parametrize("last", [1, 2, 3, 5])
def test_a_probe_ends_after_the_piece_of_work_that_spends_the_budget(data: Data, last: int) -> None:
    config, pieces = tiny(), 0
    spec = spec_of(config, tuple(data.train.voxels.shape[1:]), data.train.affine, data.source)

    def spend() -> None:
        nonlocal pieces
        pieces += 1
        if pieces == last:
            raise BudgetError("the budget is spent", fix="raise it")

    with pytest.raises(BudgetError, match="the budget is spent"):
        forecast(Work(spec, config, 4, 8), torch.device("cpu"), (), after=spend)
    assert pieces == last
