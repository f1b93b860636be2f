"""Training within a memory budget: what is chosen, told, kept and refused, and what out of memory becomes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lichen.chain import read_images, train_only
from lichen.chain.fitting import MemoryTable, table_of_run
from lichen.chain.measures import AS_IT_IS, Trained, measures, with_measures
from lichen.chain.out_of_memory import explaining, training_does_not_fit
from lichen.chain.predicting import predict
from lichen.config import MemoryConfig, RunConfig
from lichen.errors import BudgetError, ConfigError, RunError, TrainingError
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.watch import watching

TINY = Path(__file__).with_name("tiny.yaml")
CPU = torch.device("cpu")


def tiny(budget_gb: float | None = None) -> RunConfig:
    config = load_settings(TINY, load_preset("demo", 2))
    config = replace(config, images=replace(config.images, phantom_patients=8))
    config = replace(config, autoencoder=replace(config.autoencoder, images_seen=16))
    config = replace(config, denoiser=replace(config.denoiser, channels=(16,)))  # fewer layers to estimate
    config = replace(config, training=replace(config.training, images_seen=16))
    return replace(config, memory=MemoryConfig(budget_gb))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> MemoryTable:
    """That of a run with these images, so that each of its estimates is made once for all tests."""
    config, folder = tiny(), RunFolder(tmp_path_factory.mktemp("table"))
    with watching(folder.path, config.carbon, quiet=True) as watch:
        return table_of_run(config, read_images(config, watch), folder, CPU, watch)


def within(table: MemoryTable, budget_gb: float) -> MemoryTable:
    return replace(table, config=replace(table.config, memory=MemoryConfig(budget_gb)))


def peak(table: MemoryTable, network: Any, name: str) -> float:
    return next(option.memory.peak_bytes for option in table.options[network] if option.name == name) / 1e9


def ways(config: RunConfig, network: Trained, *, begun: bool = False, fast_bf16: bool = True) -> dict[str, RunConfig]:
    return measures(config, network, begun=begun, fast_bf16=fast_bf16)


def test_measures_come_in_order_and_are_those_that_the_settings_leave_open() -> None:
    config = tiny()
    in_bf16 = ["bf16", "bf16 + block checkpointing", "bf16 + reversible"]
    assert list(ways(config, "denoiser")) == [AS_IT_IS, *in_bf16]
    assert list(ways(config, "autoencoder")) == [AS_IT_IS, "bf16", "bf16 + block checkpointing"]
    assert list(ways(config, "denoiser", begun=True)) == [AS_IT_IS, "block checkpointing"]
    reversible = ways(config, "denoiser")["bf16 + reversible"]
    assert list(ways(reversible, "denoiser")) == [AS_IT_IS]
    assert with_measures(config, reversible) == reversible


def test_where_bf16_is_slow_recomputing_comes_before_it(table: MemoryTable) -> None:
    in_order = [AS_IT_IS, "block checkpointing", "reversible", "bf16", "bf16 + block checkpointing"]
    assert list(ways(tiny(), "denoiser", fast_bf16=False)) == [*in_order, "bf16 + reversible"]
    tight = within(table, peak(table, "autoencoder", "block checkpointing"))
    assert tight.settings(tight.chosen()).training.precision == "fp32"
    assert tight.chosen()["autoencoder"].name == "block checkpointing"
    assert "bf16" not in tight.in_words(tight.chosen())


def test_what_has_no_reversible_twin_is_estimated_without_it(tmp_path: Path) -> None:
    config = tiny()
    config = replace(
        config, denoiser=replace(config.denoiser, channels=(16, 96))
    )  # a reversible level is 4 times above
    folder = RunFolder(tmp_path)
    with watching(folder.path, config.carbon, quiet=True) as watch:
        table = table_of_run(config, read_images(config, watch), folder, CPU, watch)
        own = replace(config, denoiser=replace(config.denoiser, kind="reversible"))
        with pytest.raises(ConfigError, match="a reversible level of 96 channels"):
            table_of_run(own, read_images(own, watch), folder, CPU, watch)
    assert {option.name for option in table.options["denoiser"]} == {
        AS_IT_IS,
        "block checkpointing",
        "bf16",
        "bf16 + block checkpointing",
    }


def test_the_budget_decides_and_each_measure_shows_in_the_settings(table: MemoryTable) -> None:
    ample, tight = within(table, 1.0), within(table, peak(table, "denoiser", "bf16 + block checkpointing"))
    assert ample.settings(ample.chosen()) == ample.config
    settled = tight.settings(tight.chosen())
    assert settled.training.precision == "bf16"
    assert settled.denoiser.checkpointing
    assert settled.denoiser.kind == "standard"
    words = tight.in_words(tight.chosen())
    assert "the denoiser with bf16 + block checkpointing" in words
    assert "times the compute" in words
    assert "bf16 may take many times longer than fp32 on this cpu" in words


def test_a_budget_that_nothing_meets_is_refused_with_the_smallest_that_works(table: MemoryTable) -> None:
    with pytest.raises(BudgetError) as caught:
        within(table, 1e-6).chosen()
    least = caught.value.fix.split()[2].rstrip(",")
    assert least in caught.value.problem
    assert "--training.batch-size 4" in caught.value.fix
    assert within(table, float(least)).chosen()
    with pytest.raises(BudgetError):
        within(table, 0.99 * float(least)).chosen()


def test_training_within_a_budget_tells_keeps_and_resumes_what_was_chosen(
    table: MemoryTable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, budget_gb = RunFolder(tmp_path / "run"), peak(table, "denoiser", "bf16 + block checkpointing")
    train_only(tiny(budget_gb), folder)
    assert "note: memory for training, by estimate: the autoencoder with bf16" in capsys.readouterr().err
    kept = load_settings(folder.config, RunConfig())
    assert kept.training.precision == "bf16"
    assert kept.denoiser.checkpointing
    folder.generator.unlink()
    train_only(tiny(budget_gb), folder, quiet=True)  # the command as it was
    train_only(tiny(1.0), folder, quiet=True)  # a larger budget changes no weights
    assert load_settings(folder.config, RunConfig()) == replace(kept, memory=MemoryConfig(1.0))
    with pytest.raises(RunError, match=r"training\.precision bf16, now it is fp32"):
        train_only(tiny(), folder, quiet=True)


def test_a_prediction_shows_each_way_by_estimate_beside_what_was_measured(table: MemoryTable) -> None:
    found = predict(tiny(1.001 * peak(table, "denoiser", "block checkpointing")))
    assert found.config.denoiser.checkpointing
    words, training_memory = str(found), json.loads(json.dumps(found.as_json()))["training_memory"]
    assert "measured in the probe" in words
    assert "by estimate" in words
    assert "bf16 + block checkpointing" in words
    assert "the denoiser with block checkpointing" in words
    assert training_memory["chosen"]["denoiser"] == "block checkpointing"
    ways = {way["option"]: way for way in training_memory["denoiser"]}
    assert [way["fits"] for way in ways.values()][:3] == [False, True, True]
    assert ways[AS_IT_IS]["compute"] == 1
    chosen, came = ways["block checkpointing"], training_memory["measured"]["denoiser"]
    assert chosen["peak_bytes"] == table.options["denoiser"][1].memory.peak_bytes
    assert chosen["peak_bytes"] == pytest.approx(came["peak_bytes"], rel=0.1)


def allocate_too_much() -> None:
    torch.empty(2**50)


def allocate_as_a_gpu_would() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


@pytest.mark.parametrize("work", [allocate_too_much, allocate_as_a_gpu_would])
def test_out_of_memory_becomes_the_plan_that_would_fit(table: MemoryTable, work: Callable[[], None]) -> None:
    not_fitting = pytest.raises(TrainingError, match="does not fit into the memory")
    with not_fitting as caught, explaining(lambda: training_does_not_fit(table)):
        work()
    assert "the denoiser 10." in caught.value.problem
    budget = float(caught.value.fix.split()[2].rstrip(","))
    assert table.config.memory.budget_gb is None
    chosen = within(table, budget).chosen()
    assert chosen["denoiser"].name == "block checkpointing"
    assert "the autoencoder as it is" in caught.value.fix


def test_where_no_measure_is_left_a_smaller_batch_is_named(table: MemoryTable) -> None:
    last = {network: [min(ways, key=lambda way: way.memory.peak_bytes)] for network, ways in table.options.items()}
    said = training_does_not_fit(replace(table, options=last))
    assert said.fix.startswith("use --training.batch-size 4")


def test_another_error_stays_as_it_is(table: MemoryTable) -> None:
    with pytest.raises(RuntimeError, match="shapes"), explaining(lambda: training_does_not_fit(table)):
        raise RuntimeError("shapes do not fit")


def test_a_run_that_runs_out_of_memory_ends_with_a_plan(tmp_path: Path) -> None:
    config = tiny()  # without an autoencoder and in bf16, which leaves the fewest ways to estimate
    config = replace(config, autoencoder=replace(config.autoencoder, kind="none"))
    config = replace(config, training=replace(config.training, batch_size=2**45, precision="bf16"))
    with pytest.raises(TrainingError, match="does not fit into the memory of the cpu"):
        train_only(config, RunFolder(tmp_path / "run"), quiet=True)


@pytest.mark.parametrize("budget_gb", [0.0, -1.0, math.nan, math.inf, 1e300])
def test_a_budget_that_is_no_amount_of_memory_is_refused(budget_gb: float) -> None:
    with pytest.raises(ConfigError, match=r"memory\.budget-gb"):
        MemoryConfig(budget_gb)
