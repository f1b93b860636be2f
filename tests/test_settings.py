"""Settings: YAML in, dataclass out, and errors that name file, line and setting."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lichen.config import CarbonConfig, RunConfig, SamplingConfig
from lichen.errors import ConfigError
from lichen.presets import load_preset
from lichen.settings import dump_settings, field_docs, flatten, from_plain, load_settings


def _load(tmp_path: Path, text: str) -> RunConfig:
    path = tmp_path / "lichen.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, RunConfig())


def test_the_country_code_no_stays_a_country(tmp_path: Path) -> None:
    assert _load(tmp_path, "carbon:\n  grid: NO\n").carbon.grid == "NO"


def test_scientific_notation_becomes_a_number(tmp_path: Path) -> None:
    assert _load(tmp_path, "training:\n  learning_rate: 1e-4\n").training.learning_rate == 1e-4


def test_lists_and_nothing_are_converted_by_the_type_of_the_setting(tmp_path: Path) -> None:
    config = _load(tmp_path, "images:\n  size: [64, 48]\n  path: null\nautoencoder:\n  channels: 16 32\n")
    assert config.images.size == (64, 48)
    assert config.images.path is None
    assert config.autoencoder.channels == (16, 32)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert _load(tmp_path, "# nothing\n") == RunConfig()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainign:\n  seed: 1\n", ["line 1", "trainign", "did you mean training?"]),
        ("training:\n  sede: 1\n", ["line 2", "training.sede", "did you mean training.seed?"]),
        ("training:\n  seed: one\n", ["line 2", "training.seed is 'one'", "a whole number"]),
        ("training:\n  objective: x0\n", ["training.objective is 'x0'", "v, epsilon"]),
        ("training:\n  seed: 1\n  seed: 2\n", ["line 3", "set twice"]),
        ("training:\n  seed: [1, 2]\n", ["training.seed is a list"]),
        ("training: 3\n", ["training must be lines of the form 'name: value'"]),
        ("images:\n  held_out_fraction: 2\n", ["images.held_out_fraction is 2.0", "between"]),
        ("training: {seed: !!python/object:os.system x}\n", ["training.seed is 'x'"]),
        ("a: [\n", ["not a readable YAML file"]),
        ("images:\n  size: [[1], [2]]\n", ["line 2", "images.size is a list of lists"]),
        ("? [images]\n: {}\n", ["line 1", "in place of a name"]),
    ],
)
def test_a_bad_file_is_named_with_line_setting_and_fix(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, text)
    message = str(caught.value)
    assert "lichen.yaml" in message
    assert "fix:" in message
    for word in words:
        assert word in message


def test_anchors_that_a_few_lines_make_endless_are_refused_at_once(tmp_path: Path) -> None:
    lists = ["&a0 [x, x, x, x, x, x, x, x, x]"]
    lists += [f"&a{depth} [{', '.join([f'*a{depth - 1}'] * 9)}]" for depth in range(1, 20)]
    with pytest.raises(ConfigError, match="a list of lists"):
        _load(tmp_path, f"images:\n  size: [{', '.join(lists)}]\n")
    with pytest.raises(ConfigError, match="in place of a name"):
        _load(tmp_path, f"? [{', '.join(lists)}]\n: 1\n")


def test_a_missing_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        load_settings(tmp_path / "none.yaml", RunConfig())


@settings(max_examples=50)
@given(
    grid=st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1)).filter(
        lambda g: g is None or g.lower() not in {"null", "none", "~"}
    ),
    steps=st.integers(2, 10**9),
    pue=st.one_of(st.none(), st.floats(1, 10)),
    comments=st.booleans(),
)
def test_dumped_settings_load_to_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, grid: str | None, steps: int, pue: float | None, comments: bool
) -> None:
    config = RunConfig(carbon=CarbonConfig(grid=grid, pue=pue), sampling=SamplingConfig(steps=steps))
    path = tmp_path_factory.mktemp("settings") / "x.yaml"
    path.write_text(dump_settings(config, comments=comments), encoding="utf-8", newline="")
    assert load_settings(path, RunConfig()) == config


def test_every_setting_has_a_line_of_reason() -> None:
    for section in dataclasses.fields(RunConfig):
        cls = type(getattr(RunConfig(), section.name))
        assert set(field_docs(cls)) == {field.name for field in dataclasses.fields(cls)}


@pytest.mark.parametrize("name", ["demo", "standard"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_every_preset_loads_and_differs_from_the_defaults(name: str, spatial_dims: int) -> None:
    preset = load_preset(name, spatial_dims)  # type: ignore[arg-type]
    assert dict(flatten(preset)) != dict(flatten(RunConfig()))
    assert preset.images.phantoms == f"{spatial_dims}d"


def test_a_dataclass_survives_json_and_refuses_what_does_not_fit() -> None:
    config = SamplingConfig(steps=7)
    assert from_plain(SamplingConfig, dataclasses.asdict(config)) == config
    for bad in ({"steps": "7"}, {"sampler": "magic"}, {"unknown": 1}):
        with pytest.raises((TypeError, ValueError)):
            from_plain(SamplingConfig, bad)
    with pytest.raises(TypeError):
        from_plain(SamplingConfig, [])
