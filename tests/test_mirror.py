"""Mirrors of the log: every point once, also after a resume."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from lichen.config import MirrorName
from lichen.errors import DependencyError
from lichen.mirror import check_mirrors, figures, mirroring
from lichen.runs import RunFolder

RECORDS = [
    {"phase": "diffusion", "images_seen": seen, "loss": 1.0 / seen, "learning_rate": 0.1} for seen in (8, 16, 24)
]


def training(folder: RunFolder, names: tuple[MirrorName, ...], records: list[dict[str, float | int | str]]) -> None:
    with mirroring(names, folder) as mirror:
        for record in records:
            folder.append_log(record)
            mirror(record)


def test_figures_are_named_by_phase() -> None:
    assert figures(RECORDS[0] | {"time": "now"}) == {"diffusion/loss": 0.125, "diffusion/learning_rate": 0.1}


def test_without_mirrors_nothing_is_written(tmp_path: Path) -> None:
    training(RunFolder(tmp_path), (), RECORDS)
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_a_missing_package_is_named_before_the_work_begins() -> None:
    missing: list[MirrorName] = [name for name in ("wandb", "mlflow") if find_spec(name) is None]
    for name in missing:
        with pytest.raises(DependencyError, match=f"training.mirror names {name}") as caught:
            check_mirrors([name])
        assert f"pip install 'lichen[{name}]'" in caught.value.fix


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_each_point_once_although_the_run_was_killed_and_resumed(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = RunFolder(tmp_path)
    training(folder, ("tensorboard",), RECORDS[:2])
    training(folder, ("tensorboard",), RECORDS[1:])  # as after a kill: back to the last checkpoint
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    points = [(event.step, event.value) for event in events.Scalars("diffusion/loss")]
    assert points == [(8, 0.125), (16, 0.0625), (24, pytest.approx(1 / 24))]
