"""Moved training images: by how much, drawn from what, and how a latent denoiser is trained on them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from lichen.audit import warp
from lichen.chain import read_images, train_only
from lichen.chain.augmenting import loss_of_autoencoder, loss_of_denoiser, shape_shown
from lichen.chain.forecasting import Work, forecast
from lichen.config import AutoencoderConfig, DenoiserConfig, RunConfig
from lichen.presets import load_preset
from lichen.runs import RunFolder
from lichen.settings import load_settings
from lichen.stopping import Stopped
from lichen.team import Team
from lichen.training.augmentation import ROTATION_DEG, SHIFT, ZOOM, affine, transformed
from lichen.training.autoencoder import encode_images, encode_set
from lichen.training.draws import Draws
from lichen.training.generator import load_diffusion
from lichen.training.loop import Recipe, train
from lichen.training.specs import DiffusionSpec
from lichen.watch import watching

CPU = torch.device("cpu")
TINY = Path(__file__).with_name("tiny.yaml")
EYE = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
CONFIG = RunConfig(
    autoencoder=AutoencoderConfig(channels=(8, 8), images_seen=6, batch_size=3),
    denoiser=DenoiserConfig(channels=(8, 16), blocks=1, head_channels=8),
)
SPEC = DiffusionSpec((1, 16, 16), EYE, CONFIG.autoencoder, CONFIG.denoiser, "v", is_phantom=True)
MOVING = replace(CONFIG, training=replace(CONFIG.training, augmentation="affine"))


def draws(count: int, part: slice | None = None, seen: int = 0) -> Draws:
    return Draws.of_step(5, "test", seen, count, part or slice(0, count), CPU)


def ramps(size: tuple[int, ...], spacing: tuple[float, ...]) -> Tensor:
    """One channel for each axis, whose values are the true distance from the centre along it, (1, d, *S)."""
    axes = [(torch.arange(n) - (n - 1) / 2) * mm for n, mm in zip(size, spacing, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


@pytest.mark.parametrize(
    ("size", "spacing"), [((33, 33), (1.0, 1.0)), ((25, 41), (2.0, 0.7)), ((21, 17, 13), (1.0, 1.5, 3.0))]
)
def test_images_are_shifted_turned_and_zoomed_in_true_lengths_and_within_bounds(
    size: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    count, dims = 40, len(size)
    scale = 2 * max(n * mm for n, mm in zip(size, spacing, strict=True))  # keeps the ramps in [-1, 1]
    images = (ramps(size, spacing) / scale).expand(count, *[-1] * (dims + 1))
    moved = affine(spacing)(images, draws(count)) * scale
    middle = (slice(None), slice(None), *(slice(n // 5, n - n // 5) for n in size))  # nothing from beyond the border
    found, where = moved[middle].flatten(2), ramps(size, spacing)[middle].flatten(2)[0]
    known = torch.cat([where, torch.ones(1, where.shape[1])])
    solved = torch.linalg.lstsq(known.T.expand(count, -1, -1), found.transpose(1, 2)).solution.transpose(1, 2)
    assert torch.allclose(solved @ known, found, atol=0.1 * max(spacing))  # a ramp stays one, but for the kernel
    linear, shift = solved[:, :, :-1], solved[:, :, -1]
    zoom = linear.det() ** (1 / dims)
    rotation = linear / zoom[:, None, None]
    assert torch.allclose(rotation @ rotation.transpose(1, 2), torch.eye(dims), atol=0.03)
    field = torch.tensor([n * mm for n, mm in zip(size, spacing, strict=True)])
    shares = shift.abs() / field
    # the angle of a rotation about d axes, from its trace
    turned = torch.rad2deg(((rotation.diagonal(dim1=1, dim2=2).sum(1) - (dims - 2)) / 2).clamp(-1, 1).acos())
    most_deg = ROTATION_DEG * math.sqrt(math.comb(dims, 2))
    for value, most in ((shares, SHIFT), (turned, most_deg), (zoom.log().abs(), math.log(ZOOM))):
        assert value.max() < 1.03 * most + 6e-3
        assert value.max() > 0.6 * most
    assert (linear[:, 0, 1] > 0.01).any()
    assert (linear[:, 0, 1] < -0.01).any()


def test_the_audit_aligns_whatever_is_moved() -> None:
    most = warp.limits(3, CPU)
    assert max(SHIFT / most[0], math.radians(ROTATION_DEG) / most[3], math.log(ZOOM) / most[-1]) < 1


def test_an_image_is_moved_otherwise_each_time_and_the_same_however_many_share_the_batch() -> None:
    images = torch.rand(6, 1, 12, 12).mul(2).sub(1)
    move, whole = affine((1.0, 1.0)), slice(0, 6)
    moved = move(images, draws(6))
    assert torch.equal(move(images, draws(6)), moved)
    assert not torch.equal(move(images, draws(6, seen=6)), moved)
    assert not torch.equal(*move(images[:1].expand(6, -1, -1, -1), draws(6))[:2])
    parts = [Team(rank, 2).part(6) for rank in range(2)]
    assert torch.equal(torch.cat([move(images[part], draws(6, part)) for part in parts]), moved)
    assert moved.abs().max() <= 1
    assert (moved[whole] - images).abs().mean() > 0.05


@pytest.mark.parametrize("dims", [2, 3])
def test_a_label_map_moves_with_its_image_and_keeps_its_classes(dims: int) -> None:
    size = (24,) * dims
    image = ramps(size, (1.0,) * dims)[:, :1] / 24
    labels = torch.where(image > 0.1, 1.0, torch.where(image > -0.2, 1 / 3, -1.0))
    both = torch.cat([image, labels], dim=1).expand(8, -1, *size)
    moved = affine((1.0,) * dims, label_map=True)(both, draws(8))
    assert set(moved[:, 1].unique().tolist()) == set(labels.unique().tolist())
    middle = (slice(None), *[slice(4, 20)] * dims)
    inside = moved[:, 1][middle] == 1.0
    assert ((moved[:, 0][middle] > 0.1) == inside).float().mean() > 0.95
    assert torch.equal(affine((1.0,) * dims)(both[:, :1], draws(8)), moved[:, :1])


def test_a_denoiser_is_shown_the_latents_of_moved_images() -> None:
    torch.manual_seed(0)
    autoencoder, denoiser = (network.eval() for network in SPEC.build())
    shift, scale = torch.linspace(-1, 1, 4), torch.linspace(1, 2, 4)
    images = torch.rand(5, 1, 16, 16).mul(2).sub(1)

    random = draws(5)
    latents = encode_images(autoencoder, affine((1.0, 1.0))(images, random), shift, scale)
    of_latents = loss_of_denoiser(SPEC, CONFIG, CPU, autoencoder, shift, scale)
    expected = of_latents(denoiser, latents, random)
    loss = loss_of_denoiser(SPEC, MOVING, CPU, autoencoder, shift, scale)(denoiser, images, draws(5))
    assert torch.allclose(loss, expected, rtol=1e-5)  # encoded three and two at a time
    loss.backward()
    assert all(weight.grad is None for weight in autoencoder.parameters())
    assert any(weight.grad is not None and weight.grad.any() for weight in denoiser.parameters())
    assert (shape_shown(SPEC, CONFIG.training), shape_shown(SPEC, MOVING.training)) == ((4, 8, 8), (1, 16, 16))


def test_an_autoencoder_restores_the_moved_image_that_it_is_shown() -> None:
    torch.manual_seed(0)
    autoencoder, _ = SPEC.build()
    images, random = torch.rand(4, 1, 16, 16).mul(2).sub(1), draws(4)
    expected = loss_of_autoencoder(SPEC, CONFIG)(autoencoder, affine((1.0, 1.0))(images, random), random)
    assert loss_of_autoencoder(SPEC, MOVING)(autoencoder, images, draws(4)) == expected


def test_an_interrupted_training_on_moved_images_ends_with_the_same_bits(tmp_path: Path) -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Conv2d(1, 1, 3, padding=1)

    def mean_square(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
        restored: Tensor = network(batch + draws.normal(batch.shape[1:]))
        return (restored - batch).square().mean()

    recipe = Recipe("test", 40, 4, 0.05, 8, 1.0, "fp32", 3, 1e9)
    loss, examples = transformed(mean_square, affine((1.0, 1.0))), torch.rand(10, 1, 8, 8)
    states = [tmp_path / name for name in ("whole", "parts")]
    whole = train(network(), examples, loss, recipe, state_path=states[0], log=lambda _: None)
    asked = iter([False] * 4 + [True])
    with pytest.raises(Stopped):
        train(network(), examples, loss, recipe, state_path=states[1], log=lambda _: None, stop=lambda: next(asked))
    resumed = train(network(), examples, loss, recipe, state_path=states[1], log=lambda _: None)
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), resumed.parameters(), strict=True))
    still = train(network(), examples, mean_square, recipe, state_path=tmp_path / "still", log=lambda _: None)
    assert not torch.equal(*(next(each.parameters()) for each in (still, whole)))


def test_a_run_with_augmentation_normalises_latents_by_the_images_themselves(tmp_path: Path) -> None:
    config = load_settings(TINY, load_preset("demo", 2))
    config = replace(
        config,
        images=replace(config.images, phantom_patients=4),
        autoencoder=replace(config.autoencoder, images_seen=16),
        training=replace(config.training, images_seen=32, augmentation="affine"),
    )
    train_only(config, RunFolder(tmp_path), quiet=True)
    made = load_diffusion(RunFolder(tmp_path).generator, CPU)
    with watching(tmp_path / "elsewhere", config.carbon, quiet=True) as watch:
        images = read_images(config, watch).train.voxels
    known = encode_set(made.autoencoder, images, config.autoencoder.batch_size)
    assert torch.allclose(made.latent_shift, known.shift, atol=1e-5)
    assert torch.allclose(made.latent_scale, known.scale, rtol=1e-4)


def test_a_forecast_encodes_in_each_step_of_the_denoiser_what_the_run_does() -> None:
    called: list[str] = []

    def note(module: nn.Module, _: object, __: object) -> None:
        if type(module).__name__ in {"Encoder", "DiffusionModelUNet"}:
            called.append(type(module).__name__)

    hook = register_module_forward_hook(note)
    try:
        for config in (CONFIG, MOVING):
            called.clear()
            training = replace(config.training, images_seen=12, batch_size=6)
            forecast(Work(SPEC, replace(config, training=training), 3, 0), CPU, ())
            steps = [before for before, after in pairwise(called) if after == "DiffusionModelUNet"]
            assert len(steps) >= 2
            assert steps[1:] == [steps[1]] * (len(steps) - 1)
            assert steps[1] == ("DiffusionModelUNet" if config is CONFIG else "Encoder")
    finally:
        hook.remove()
