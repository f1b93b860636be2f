"""The segmenter's network, loss, Dice and training loop, without files of images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lichen.config import SegmenterConfig
from lichen.energy import NO_READING, Energy
from lichen.errors import CheckpointError, ConfigError, TrainingError
from lichen.files import sha256_of
from lichen.models.counting import flop
from lichen.models.segmenter import build_segmenter, check_size
from lichen.outlook import Seen, expected_of_training
from lichen.quality.dice import dice_scores
from lichen.statistics import mean
from lichen.stopping import Stopped
from lichen.training.loop import Log, Recipe
from lichen.training.segmenter import (
    Looking,
    Trained,
    ended_by,
    looks,
    segment_images,
    soft_dice_loss,
    train_segmenter,
)

RECIPE = Recipe("segmenter", 60, 4, 1e-2, 0, 1.0, "fp32", seed=5, checkpoint_every_s=1e9)


def network(width: int = 2, dims: int = 2, classes: int = 3) -> nn.Module:
    torch.manual_seed(1)
    return build_segmenter(SegmenterConfig(width, 3), spatial_dims=dims, image_channels=1, classes=classes)


def examples(count: int = 10) -> tuple[Tensor, Tensor]:
    images = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return images, ((images[:, 0] > 0).to(torch.uint8) + (images[:, 0] > 1).to(torch.uint8))


def trained(
    folder: Path,
    dice: Iterator[float],
    *,
    patience: int = 99,
    every: int = 10,
    images: int = RECIPE.images,
    stop: Callable[[], bool] = lambda: False,
    log: Log = lambda _: None,
) -> tuple[nn.Module, Trained]:
    """A network trained in ``folder`` that reaches the ``dice`` at its looks, one after the other."""
    looking, net = Looking(lambda _: next(dice), every, patience), network()
    recipe = replace(RECIPE, images=images)
    found = train_segmenter(
        net, *examples(), 0, recipe, looking, state_path=folder / "state.safetensors", log=log, stop=stop
    )
    return net, found


@pytest.mark.parametrize("dims", [2, 3])
def test_twice_the_width_is_about_four_times_the_weights_and_the_arithmetic(dims: int) -> None:
    image = torch.zeros(1, 1, *(16,) * dims)
    narrow, wide = (network(width, dims) for width in (8, 16))
    weights = [sum(w.numel() for w in net.parameters()) for net in (narrow, wide)]
    assert 3.6 < weights[1] / weights[0] < 4.1
    assert 3 < flop(wide, image) / flop(narrow, image) < 4.1
    assert wide(image).shape == (1, 3, *(16,) * dims)


def test_what_is_found_in_an_image_does_not_depend_on_its_batch() -> None:
    images, _ = examples(5)
    net = network().eval()
    alone, together = segment_images(net, images, 1, "fp32"), segment_images(net, images, 5, "fp32")
    assert (alone == together).float().mean() > 0.999
    assert len(alone.unique()) > 1


def test_an_image_that_is_one_voxel_at_the_lowest_level_is_refused() -> None:
    check_size(SegmenterConfig(levels=4), (8, 16))
    with pytest.raises(ConfigError, match="one voxel there") as caught:
        check_size(SegmenterConfig(levels=4), (8, 8))
    assert "--segmenter.levels to 3" in caught.value.fix


def test_the_loss_is_that_of_monai_and_nothing_where_all_is_found() -> None:
    from monai.losses import DiceLoss

    torch.manual_seed(0)
    logits, maps = torch.randn(3, 4, 6, 5), torch.randint(4, (3, 6, 5))
    monai = DiceLoss(include_background=False, to_onehot_y=True, softmax=True, squared_pred=True, batch=True)
    assert soft_dice_loss(logits, maps, 0).item() == pytest.approx(monai(logits, maps[:, None]).item(), rel=1e-5)
    sure = 50 * nn.functional.one_hot(maps, 4).movedim(-1, 1).float()
    assert soft_dice_loss(sure, maps, 0).item() == pytest.approx(0, abs=1e-5)
    assert soft_dice_loss(sure, (maps + 1) % 4, 0).item() == pytest.approx(1, abs=1e-3)


def test_a_class_that_is_the_background_has_no_part_in_the_loss() -> None:
    logits, maps = torch.randn(2, 3, 4, 4), torch.randint(3, (2, 4, 4))
    turned = torch.tensor([2, 0, 1])
    assert soft_dice_loss(logits, maps, 0) == pytest.approx(
        soft_dice_loss(logits[:, torch.argsort(turned)], turned[maps], 2)
    )


def test_dice_is_of_all_images_of_a_patient_together_and_leaves_out_who_lacks_a_class() -> None:
    truth, found = torch.zeros(4, 1, 10, dtype=torch.uint8), torch.zeros(4, 1, 10, dtype=torch.uint8)
    truth[0, 0, :8], found[0, 0, :6] = 1, 1  # a: 6 of 8 found
    truth[1, 0, :2] = 1  # a again: nothing found; together 2 * 6 / (10 + 6)
    truth[2, 0, :4], found[2, 0, 2:6] = 2, 2  # b has no class 1; of class 2 half
    found[3, 0, 0] = 1  # c: something found where nothing is
    scores = dice_scores(found, truth, ["a", "a", "b", "c"], (0, 3, 7))
    assert scores.patients == ("a", "b", "c")
    assert scores.classes == (3, 7)
    nan = float("nan")
    np.testing.assert_allclose(scores.by_class, [[0.75, nan], [nan, 0.5], [0.0, nan]])
    assert scores.by_patient == (0.75, 0.5, 0.0)
    assert scores.of_class(1).as_json() == {"estimate": 0.5, "low": None, "high": None, "n": 1}
    student = mean([0.75, 0.0])
    assert scores.of_class(0).as_json() == {**student.as_json(), "low": 0.0, "high": 1.0}  # which ends beyond them
    assert scores.dice.n == 3


class After:
    """Says stop after so many steps, and again after each further one."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left <= 0


def test_a_training_ends_when_patience_is_over_and_keeps_the_weights_of_the_best_look(tmp_path: Path) -> None:
    log: list[dict[str, float | int | str]] = []
    _, found = trained(tmp_path, iter([0.1, 0.5, 0.4, 0.5]), patience=2, log=lambda record: log.append({**record}))
    assert [record["validation_dice"] for record in log] == [0.1, 0.5, 0.4, 0.5]
    assert found.best is not None
    assert (found.best.dice, found.best.kept.images_seen, found.best.waited) == (0.5, 20, 2)
    assert found.images_seen == 40 < RECIPE.images
    early, _ = trained(tmp_path / "early", iter([0.1, 0.5]), every=10, patience=1, images=20)
    assert all(torch.equal(early.state_dict()[name], kept) for name, kept in found.best.kept.weights.items())


def test_a_training_that_gets_better_to_the_end_is_as_long_as_planned(tmp_path: Path) -> None:
    _, found = trained(tmp_path, iter(np.linspace(0.1, 0.9, 20).tolist()), patience=1)
    assert found.images_seen == 60
    assert ended_by(60, found.best, RECIPE, Looking(lambda _: 0.0, 10, 1)) == "length"


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_a_training_stopped_again_and_again_ends_with_the_same_bits(tmp_path: Path, steps: int) -> None:
    dice = [0.1, 0.4, 0.3, 0.2, 0.6, 0.5]
    _, whole = trained(tmp_path / "whole", iter(dice))
    looked: list[float] = []

    def next_dice() -> Iterator[float]:
        while True:
            looked.append(dice[len(looked)])
            yield looked[-1]

    stops = 0
    while True:
        try:
            _, found = trained(tmp_path / "part", next_dice(), stop=After(steps))
            break
        except Stopped:
            stops += 1
    assert stops >= 15 // steps - 1
    assert looked == dice
    assert found.best is not None
    assert whole.best is not None
    assert (found.images_seen, found.best.dice, found.best.waited) == (60, whole.best.dice, whole.best.waited)
    assert all(torch.equal(found.best.kept.weights[name], kept) for name, kept in whole.best.kept.weights.items())
    assert sha256_of(tmp_path / "part" / "state.safetensors") == sha256_of(tmp_path / "whole" / "state.safetensors")


@given(images=st.integers(1, 200), batch=st.integers(1, 40), every=st.integers(1, 250))
def test_looks_are_as_many_as_the_loop_has(images: int, batch: int, every: int) -> None:
    counted = before = 0
    while before < images:
        seen = before + batch
        counted += seen // every > before // every or seen >= images
        before = seen
    assert looks(images, batch, every) == counted


def test_a_loss_that_is_no_number_ends_the_training_and_leaves_the_last_good_state(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path, repeat(0.1), stop=After(2))
    good = sha256_of(tmp_path / "state.safetensors")
    images, maps = examples()
    looking = Looking(lambda _: 0.1, 1000, 9)
    with pytest.raises(TrainingError, match="loss of the segmenter became nan"):
        train_segmenter(
            network(),
            images * float("nan"),
            maps,
            0,
            RECIPE,
            looking,
            state_path=tmp_path / "state.safetensors",
            log=lambda _: None,
            stop=lambda: True,
        )
    assert sha256_of(tmp_path / "state.safetensors") == good


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        trained(tmp_path, repeat(0.1), stop=After(2))
    with pytest.raises(CheckpointError, match="another architecture"):
        train_segmenter(
            network(width=4),
            *examples(),
            0,
            RECIPE,
            Looking(lambda _: 0.1, 10, 9),
            state_path=tmp_path / "state.safetensors",
            log=lambda _: None,
        )


@given(
    first=st.integers(1, 500),
    looked=st.integers(0, 500),
    times=st.floats(1, 100),
    joules=st.floats(1, 1e6),
)
def test_the_first_part_of_a_training_tells_the_whole_at_a_constant_pace(
    first: int, looked: int, times: float, joules: float
) -> None:
    spent, done = Energy(0.5 * joules, joules, 2 * joules), Seen(first, looked)
    found = expected_of_training(spent, done, Seen(times * first, times * looked))
    assert found.energy_j == pytest.approx(times * joules)
    assert (found.low_j or 0) <= times * 0.5 * joules * (1 + 1e-9)
    assert (found.high_j or 0) >= times * 2 * joules * (1 - 1e-9)
    at_end = expected_of_training(spent, done, done)
    assert at_end.bounds_j() == pytest.approx(spent.bounds_j())


def test_a_look_counts_a_third_of_a_step_and_nothing_done_tells_nothing() -> None:
    found = expected_of_training(Energy(1, 1, 1), Seen(100, 0), Seen(100, 300))
    assert found.energy_j == pytest.approx(2)
    assert expected_of_training(NO_READING, Seen(1, 1), Seen(2, 2)) == NO_READING
    for done in (Seen(0, 0), Seen(3, 0)):
        with pytest.raises(ValueError, match="no part of"):
            expected_of_training(Energy(1, 1, 1), done, Seen(2, 0))
