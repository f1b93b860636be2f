"""Sampling presets: what a name stands for, what is kept of it, and which objective refuses it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from lichen.chain.predicting import predict
from lichen.cli import main
from lichen.commands.common import settings_of
from lichen.config import RunConfig, SamplingConfig
from lichen.errors import ConfigError
from lichen.options import RunOptions
from lichen.presets import PresetName, load_preset
from lichen.runs import RunFolder
from lichen.samplers import (
    SAMPLING_PRESETS,
    Objective,
    SamplerName,
    SamplingPreset,
    check_sampler,
    check_sampling,
    network_calls,
    supports,
)
from lichen.sampling import draw_latents
from lichen.settings import dump_settings, load_settings
from lichen.training.checkpoint import load_tensors, save_tensors
from lichen.training.generator import load_diffusion

TINY = Path(__file__).with_name("tiny.yaml")
PRESETS: tuple[SamplingPreset, ...] = get_args(SamplingPreset)
REFUSED: tuple[tuple[SamplingPreset, Objective], ...] = (
    ("rflow-30", "v"),
    ("rflow-30", "epsilon"),
    ("ddpm-1000", "flow"),
)


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--quiet"])
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def flow_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run folder with a generator trained on rectified flow by the command line, and no samples."""
    folder = RunFolder(tmp_path_factory.mktemp("flow") / "run")
    words = ("--preset", "demo", "--config", str(TINY), "--training.objective", "flow", "--training.images-seen", "64")
    few = ("--autoencoder.images-seen", "16")
    assert call("train", *words, *few, "--sampling.preset", "rflow-30", "--out", str(folder.path)) == 0
    return folder


def sampling_in(path: Path, base: RunConfig | None = None) -> SamplingConfig:
    return load_settings(path, base or RunConfig()).sampling


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_sampler_schedule_and_steps_and_no_more(name: SamplingPreset) -> None:
    said = SamplingConfig(preset=name, count=7, seed=3)
    assert said == SamplingConfig(count=7, seed=3, **asdict(SAMPLING_PRESETS[name]))
    assert said.preset is None
    # the number in the name is what each image costs
    assert network_calls(said.sampler, said.steps) == int(name.rpartition("-")[2])


def test_the_table_of_presets_in_the_documentation_is_the_one_in_use() -> None:
    text = (Path(__file__).parents[1] / "docs" / "how-to.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \| `(.+?)` \| (\d+) \|", text, re.MULTILINE)
    assert [(name, sampler, schedule, int(calls)) for name, sampler, schedule, calls in rows] == [
        (name, preset.sampler, preset.schedule, network_calls(preset.sampler, preset.steps))
        for name, preset in SAMPLING_PRESETS.items()
    ]


def test_what_is_changed_after_a_preset_stays_changed() -> None:
    assert replace(SamplingConfig(preset="ddim-50"), steps=10) == SamplingConfig(
        sampler="ddim", schedule="time", steps=10
    )


def test_a_preset_in_a_file_replaces_the_settings_before_it_and_is_kept_as_what_it_stands_for(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("sampling: {preset: ddim-50, count: 5}\n", encoding="utf-8")
    base = RunConfig(sampling=SamplingConfig(sampler="heun", schedule="karras", steps=9, batch_size=2))
    found = sampling_in(path, base)
    assert found == SamplingConfig(count=5, sampler="ddim", schedule="time", steps=50, batch_size=2)
    kept = dump_settings(RunConfig(sampling=found))
    assert "ddim-50" not in kept
    path.write_text(kept, encoding="utf-8")
    assert sampling_in(path) == found


def test_an_unknown_preset_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("sampling: {preset: unipc-5}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"sampling\.preset is 'unipc-5'") as raised:
        sampling_in(path)
    assert all(name in raised.value.fix for name in PRESETS)


@pytest.mark.parametrize(("name", "objective"), REFUSED)
def test_a_preset_that_the_objective_does_not_support_is_refused_with_those_it_does(
    name: SamplingPreset, objective: Objective
) -> None:
    with pytest.raises(ConfigError) as raised:
        check_sampler(SAMPLING_PRESETS[name].sampler, objective)
    assert name in raised.value.problem
    assert objective in raised.value.problem
    offered = raised.value.fix.partition("one of ")[2].split(", ")
    assert name not in offered
    for preset in offered:
        check_sampler(SAMPLING_PRESETS[preset].sampler, objective)  # type: ignore[index]  # names of presets


def test_the_settings_that_runs_begin_with_are_refused_for_no_kind_of_model() -> None:
    for start in (RunConfig(), *(load_preset(name, dims) for name in get_args(PresetName) for dims in (2, 3))):
        kept = replace(start.sampling, preset="unipc-20")  # the default in one word
        for objective in (None, *get_args(Objective)):
            check_sampling(start.sampling, objective)
            check_sampling(kept, objective)


def test_every_sampler_serves_some_objective_and_every_objective_most_samplers() -> None:
    names: tuple[SamplerName, ...] = get_args(SamplerName)
    table = {objective: {name for name in names if supports(objective, name)} for objective in get_args(Objective)}
    assert table["v"] == table["epsilon"] == set(names) - {"rflow"}
    assert table["flow"] == set(names) - {"ddpm"}


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_run_with_such_a_preset_leaves_no_settings_behind(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    words = ("--config", str(TINY), "--sampling.preset", "rflow-30", "--out", str(folder.path))
    assert call(command, *words) == 2
    assert not folder.config.exists()
    assert "(preset rflow-30) is for the objective flow" in capsys.readouterr().err


def test_a_plan_with_such_a_preset_is_not_forecast() -> None:
    with pytest.raises(ConfigError, match="rflow"):
        predict(replace(load_settings(TINY, RunConfig()), sampling=SamplingConfig(preset="rflow-30")))


def test_a_file_with_a_preset_waits_for_the_objective_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("sampling: {preset: rflow-30}\n", encoding="utf-8")
    _, config = settings_of(RunOptions, ["--config", str(path), "--training.objective", "flow"], "run")
    assert (config.sampling.sampler, config.sampling.steps, config.training.objective) == ("rflow", 30, "flow")


def test_a_run_keeps_the_objective_and_what_its_preset_stood_for(flow_run: RunFolder) -> None:
    kept = load_settings(flow_run.config, RunConfig())
    assert kept.training.objective == "flow"
    assert asdict(SAMPLING_PRESETS["rflow-30"]).items() <= asdict(kept.sampling).items()
    assert load_diffusion(flow_run.generator, torch.device("cpu")).spec.objective == "flow"


def test_a_preset_on_the_command_line_replaces_what_the_run_said(flow_run: RunFolder, tmp_path: Path) -> None:
    words = ("sample", str(flow_run.path), "--sampling.count", "2", "--sampling.batch-size", "2")
    for out, preset in (("as-said", ()), ("other", ("--sampling.preset", "unipc-20"))):
        assert call(*words, *preset, "--out", str(tmp_path / out)) == 0
    found = {
        name: json.loads((tmp_path / name / "sample-000001.json").read_text(encoding="utf-8"))
        for name in ("as-said", "other")
    }
    assert {name: (one["sampler"], one["schedule"], one["steps"]) for name, one in found.items()} == {
        "as-said": ("rflow", "time", 30),
        "other": ("unipc", "lu", 20),
    }


def test_a_preset_that_the_checkpoint_does_not_support_draws_nothing(
    flow_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "refused"
    assert call("sample", str(flow_run.path), "--sampling.preset", "ddpm-1000", "--out", str(out)) == 2
    assert not list(out.glob("sample-*"))
    error = capsys.readouterr().err
    assert "the sampler ddpm (preset ddpm-1000) is for the objective v or epsilon; the objective here is flow" in error
    assert "fix: set --sampling.preset to one of unipc-20, dpmpp-20, ddim-50, ddim-250, rflow-30" in error


def test_the_sampler_itself_refuses_it_too(flow_run: RunFolder) -> None:
    generator = load_diffusion(flow_run.generator, torch.device("cpu"))
    with pytest.raises(ConfigError, match="ddpm"):
        draw_latents(generator, 0, SamplingConfig(sampler="ddpm"))


def test_a_checkpoint_from_before_there_was_a_choice_of_networks_loads_and_means_the_same(
    flow_run: RunFolder, tmp_path: Path
) -> None:
    tensors, about = load_tensors(flow_run.generator, "generator")
    for section, later in (("autoencoder", ("kind", "crop")), ("denoiser", ("kind", "checkpointing"))):
        for name in later:
            del about["spec"][section][name]
    about["spec"]["objective"] = "v"
    path = tmp_path / "old.safetensors"
    save_tensors(path, tensors, about)
    old, new = (load_diffusion(file, torch.device("cpu")) for file in (path, flow_run.generator))
    assert old.spec == replace(new.spec, objective="v")
    sampling = SamplingConfig(steps=2, batch_size=2)
    assert not torch.equal(draw_latents(old, 0, sampling), draw_latents(new, 0, sampling))
