"""The autoencoder is trained on random crops: where they lie, and that nothing but seed and position decides it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lichen.chain.data import grid_of
from lichen.chain.forecasting import Work, forecast
from lichen.chain.training import spec_of
from lichen.config import AutoencoderConfig, DenoiserConfig, ImagesConfig, RunConfig, TrainingConfig
from lichen.errors import ConfigError
from lichen.images import open_source
from lichen.models.autoencoder import build_autoencoder
from lichen.team import Team
from lichen.training.autoencoder import autoencoder_loss, random_crops
from lichen.training.draws import Draws
from lichen.training.loop import Recipe, train

CPU = torch.device("cpu")
SMALL = AutoencoderConfig(channels=(8, 8), images_seen=8, batch_size=2, crop=(8, 8))


def draws_at(images_seen: int, batch_size: int = 4, part: slice | None = None) -> Draws:
    return Draws.of_step(5, "autoencoder", images_seen, batch_size, part or slice(0, batch_size), CPU)


def numbered(images: int, *size: int) -> Tensor:
    """Images (images, 1, *size) in which each voxel holds its own number."""
    return torch.arange(images * torch.Size(size).numel(), dtype=torch.float32).view(images, 1, *size)


def test_a_crop_is_a_box_of_its_image_and_every_place_comes_up() -> None:
    images, corners = numbered(4, 10, 12), set()
    for step in range(60):
        for image, crop in zip(images, random_crops(images, (8, 8), draws_at(4 * step)), strict=True):
            row, column = divmod(int(crop[0, 0, 0] - image[0, 0, 0]), 12)
            assert torch.equal(crop, image[:, row : row + 8, column : column + 8])
            corners.add((row, column))
    assert corners == {(row, column) for row in range(3) for column in range(5)}


def test_a_crop_of_the_whole_image_is_the_image() -> None:
    images = numbered(4, 4, 6, 8)
    assert torch.equal(random_crops(images, (4, 6, 8), draws_at(0)), images)


@pytest.mark.parametrize("processes", [2, 3])
def test_an_image_is_cropped_at_the_same_place_however_many_processes_share_the_batch(processes: int) -> None:
    images = numbered(5, 16, 16)
    alone = random_crops(images, (8, 8), draws_at(20, 5))
    parts = [Team(rank, processes).part(5) for rank in range(processes)]
    shared = [random_crops(images[part], (8, 8), draws_at(20, 5, part)) for part in parts]
    assert torch.equal(torch.cat(shared), alone)
    assert not torch.equal(random_crops(images, (8, 8), draws_at(25, 5)), alone)


class KilledError(Exception):
    """Stands for the end of the process."""


def test_an_interrupted_training_on_crops_ends_with_the_same_bits(tmp_path: Path) -> None:
    images = torch.randn(6, 1, 16, 12, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(
        phase="autoencoder",
        images=8,
        batch_size=2,
        learning_rate=1e-3,
        ema_images=4,
        gradient_clip=1.0,
        precision="fp32",
        seed=1,
        checkpoint_every_s=1e-9,
    )
    seen: list[torch.Size] = []

    def trained(path: Path, fatal: int) -> list[Tensor]:
        torch.manual_seed(0)
        network = build_autoencoder(SMALL, spatial_dims=2, image_channels=1)
        inner, steps = autoencoder_loss(1e-6, SMALL.crop), 0

        def loss(net: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
            nonlocal steps
            steps += 1
            if steps == fatal:
                raise KilledError
            return inner(net, batch, draws)

        encoder: Any = network.encoder
        encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].shape[2:]))
        average = train(network, images, loss, recipe, state_path=path, log=lambda _: None)
        return list(average.parameters())

    whole = trained(tmp_path / "whole.safetensors", fatal=0)
    with pytest.raises(KilledError):
        trained(tmp_path / "killed.safetensors", fatal=3)
    again = trained(tmp_path / "killed.safetensors", fatal=0)
    assert all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))
    assert set(seen) == {torch.Size((8, 8))}


@pytest.mark.parametrize(
    ("channels", "crop", "fix"),
    [
        ((8, 8, 8), (30, 32), "--autoencoder.crop 32 32"),
        ((8, 8, 8), (4, 16, 16), "--autoencoder.crop 8 16 16"),
        ((8, 8), (9, 8), "--autoencoder.crop 8 8"),
        ((8, 8), (16,), "--autoencoder.crop"),
        ((8, 8), (), "--autoencoder.crop"),
        ((8, 8, 8, 8, 8), (8, 8), "--autoencoder.crop 16 16"),
    ],
)
def test_a_crop_that_the_levels_cannot_divide_is_told_which_fits(
    channels: tuple[int, ...], crop: tuple[int, ...], fix: str
) -> None:
    with pytest.raises(ConfigError, match=r"autoencoder\.crop is") as raised:
        AutoencoderConfig(channels=channels, crop=crop)
    assert fix in raised.value.fix


def test_without_an_autoencoder_there_is_nothing_to_train_on_crops() -> None:
    for idle in (AutoencoderConfig(crop=(8, 8)), AutoencoderConfig(checkpointing=True)):
        with pytest.raises(ConfigError, match="kind is none"):
            replace(idle, kind="none")


@pytest.mark.parametrize("crop", [(40, 16), (16, 40), (16, 16, 16)])
def test_a_crop_larger_than_the_images_is_refused_before_they_are_read(crop: tuple[int, ...]) -> None:
    config = RunConfig(
        images=ImagesConfig(phantom_patients=4, size=(32, 32)), autoencoder=replace(SMALL, crop=crop), denoiser=DENOISER
    )
    with pytest.raises(ConfigError, match="the images are of 32 32 voxels"):
        grid_of(config, open_source(config.images))


DENOISER = DenoiserConfig(channels=(8, 8), blocks=1, attention_levels=0, head_channels=8)


def test_a_forecast_times_the_step_on_crops() -> None:
    config = RunConfig(
        images=ImagesConfig(phantom_patients=4, size=(32, 32)),
        autoencoder=SMALL,
        denoiser=DENOISER,
        training=TrainingConfig(images_seen=8, batch_size=2),
    )
    source = open_source(config.images)
    spec = spec_of(config, (1, *grid_of(config, source)), torch.eye(4).double().numpy(), source)
    trained_on: set[torch.Size] = set()

    def note(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if type(module).__name__ == "Encoder" and module.training:
            trained_on.add(arguments[0].shape[2:])

    hook = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        forecast(Work(spec, config, 4, 0), CPU, ())
    finally:
        hook.remove()
    assert trained_on == {torch.Size((8, 8))}
