"""The training loop: positions, resume, averages, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.errors import CheckpointError, TrainingError
from lichen.training.batches import batch_indices
from lichen.training.checkpoint import load_tensors, save_tensors
from lichen.training.draws import Draws
from lichen.training.ema import ema_decay, update_ema
from lichen.training.generator import load_diffusion
from lichen.training.loop import Recipe, learning_rate, train
from lichen.training.specs import DiffusionSpec

RECIPE = Recipe(
    phase="test",
    images=64,
    batch_size=4,
    learning_rate=0.05,
    ema_images=8,
    gradient_clip=1.0,
    precision="fp32",
    seed=3,
    checkpoint_every_s=1e-9,
)


class Line(nn.Module):
    """One convolution with 1 x 1 kernels: y = w x + b."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return y


def _line() -> nn.Module:
    torch.manual_seed(0)
    return Line()


def _loss(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
    noise = draws.normal(batch.shape[1:])
    error: Tensor = network(batch + 0.01 * noise) - 2 * batch - 1
    return error.square().mean()


EXAMPLES = torch.linspace(-1, 1, 10).view(10, 1, 1, 1).expand(10, 1, 2, 2).contiguous()
VOLUMES = EXAMPLES.unsqueeze(-1).expand(10, 1, 2, 2, 3).contiguous()


def _weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


@given(st.integers(1, 40), st.integers(1, 17), st.integers(0, 5))
def test_every_image_comes_once_per_epoch_whatever_the_batch_size(count: int, batch_size: int, seed: int) -> None:
    epochs = 3
    seen = torch.cat([batch_indices(seed, p, batch_size, count) for p in range(0, epochs * count, batch_size)])
    for epoch in range(epochs):
        part = seen[epoch * count : (epoch + 1) * count]
        assert sorted(part.tolist()) == list(range(count))


def test_batches_depend_on_the_position_and_not_on_the_batches_before() -> None:
    whole = batch_indices(1, 0, 12, 7)
    assert torch.equal(whole[5:9], batch_indices(1, 5, 4, 7))
    assert not torch.equal(batch_indices(1, 0, 7, 7), batch_indices(2, 0, 7, 7))


def test_training_learns_the_line(tmp_path: Path) -> None:
    recipe = replace(RECIPE, images=4000, ema_images=100, checkpoint_every_s=100.0)
    average = train(_line(), EXAMPLES, _loss, recipe, state_path=tmp_path / "s.safetensors", log=lambda _: None)
    slope, offset = (p.item() for p in average.parameters())
    assert slope == pytest.approx(2, abs=0.05)
    assert offset == pytest.approx(1, abs=0.05)


class Blur(nn.Module):
    """Two convolutions whose weights have an order of axes in memory that matters."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv3d(8, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


def _blur() -> nn.Module:
    torch.manual_seed(0)
    return Blur()


class KilledError(Exception):
    """Stands for the end of the process."""


def test_an_interrupted_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    log: list[Mapping[str, float | int | str]] = []
    whole = train(_blur(), VOLUMES, _loss, RECIPE, state_path=tmp_path / "whole.safetensors", log=log.append)
    assert [record["images_seen"] for record in log] == list(range(4, 65, 4))

    for fatal in (5, 6, 11):
        path, calls = tmp_path / f"{fatal}.safetensors", 0

        def fragile(network: nn.Module, batch: Tensor, draws: Draws, last: int = fatal) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == last:
                raise KilledError
            return _loss(network, batch, draws)

        with pytest.raises(KilledError):
            train(_blur(), VOLUMES, fragile, RECIPE, state_path=path, log=lambda _: None)
        counted: list[int] = []
        torch.manual_seed(99)  # what a new process has drawn before must not matter
        again = train(Blur(), VOLUMES, _loss, RECIPE, state_path=path, log=lambda _: None, step=counted.append)
        assert sum(counted) == RECIPE.images - 4 * (fatal - 1)
        for one, other in zip(_weights(whole), _weights(again), strict=True):
            assert torch.equal(one, other)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    first = train(_line(), EXAMPLES, _loss, RECIPE, state_path=path, log=lambda _: None)

    def forbidden(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
        raise AssertionError

    again = train(_line(), EXAMPLES, forbidden, RECIPE, state_path=path, log=lambda _: None)
    assert all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(again), strict=True))


def test_a_loss_that_is_no_number_stops_training_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    calls = 0

    def explode(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
        nonlocal calls
        calls += 1
        return _loss(network, batch, draws) * (float("nan") if calls == 4 else 1.0)

    with pytest.raises(TrainingError, match="became nan after 16 images"):
        train(_line(), EXAMPLES, explode, RECIPE, state_path=path, log=lambda _: None)
    _, about = load_tensors(path, "training")
    assert about["images_seen"] == 12


def test_a_gradient_that_is_no_number_stops_training_before_the_broken_weights_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"

    def explode(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
        return _loss(network, batch, draws) * 1e20  # finite itself; the square of its gradient is not

    with pytest.raises(TrainingError, match="gradient of the test became inf after 4 images"):
        train(_line(), EXAMPLES, explode, RECIPE, state_path=path, log=lambda _: None)
    assert not path.exists()


def test_a_checkpoint_of_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    train(_line(), EXAMPLES, _loss, RECIPE, state_path=path, log=lambda _: None)
    with pytest.raises(CheckpointError, match="another architecture"):
        train(nn.Conv2d(1, 1, 3), EXAMPLES, _loss, RECIPE, state_path=path, log=lambda _: None)
    with pytest.raises(CheckpointError, match="holds the training of the test"):
        train(_line(), EXAMPLES, _loss, replace(RECIPE, phase="other"), state_path=path, log=lambda _: None)


@pytest.mark.parametrize("keep", [0, 7, 100])
def test_a_checkpoint_cut_short_is_refused_and_left_as_it_is(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "s.safetensors"
    save_tensors(path, {"a": torch.ones(100)}, {"kind": "training"})
    cut = path.read_bytes()[:keep]
    path.write_bytes(cut)
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_tensors(path, "training")
    assert path.read_bytes() == cut


SPEC = DiffusionSpec(
    image_shape=(1, 8, 8),
    affine=tuple(tuple(float(row == column) for column in range(4)) for row in range(4)),
    autoencoder=AutoencoderConfig(channels=(8,)),
    denoiser=DenoiserConfig(channels=(8,), blocks=1, head_channels=8),
    objective="v",
    is_phantom=True,
)


def _generator(path: Path, kind: torch.dtype = torch.float32, **changes: Any) -> Path:
    """A generator file whose description differs from its weights by ``changes``."""
    networks = {name: network.to(kind) for name, network in zip(("autoencoder", "denoiser"), SPEC.build(), strict=True)}
    tensors = {
        **{f"{name}.{key}": value for name, network in networks.items() for key, value in network.state_dict().items()},
        "latent.shift": torch.zeros(4),
        "latent.scale": torch.ones(4),
    }
    save_tensors(path, tensors, {"kind": "generator", "spec": {**asdict(SPEC), **changes}})
    return path


def test_a_generator_file_gives_back_its_description(tmp_path: Path) -> None:
    assert load_diffusion(_generator(tmp_path / "g.safetensors"), torch.device("cpu")).spec == SPEC


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image_shape": []}, "image_shape"),
        ({"image_shape": [1, 0, 0]}, "image_shape"),
        ({"image_shape": [1, -8, -8]}, "image_shape"),
        ({"image_shape": [1, 10**9, 10**9]}, "larger than any image"),
        ({"image_shape": [1, 8, 8, 8, 8]}, "image_shape"),
        ({"affine": [[1.0]]}, "affine is not"),
        ({"affine": [[float("nan")] * 4] * 4}, "affine is not"),
        ({"denoiser": {**asdict(SPEC.denoiser), "channels": [8 * 10**9]}}, "a larger model than its weights"),
        ({"denoiser": {**asdict(SPEC.denoiser), "blocks": 10**9}}, "a larger model than its weights"),
        ({"denoiser": {**asdict(SPEC.denoiser), "head_channels": 5}}, "does not divide"),
        ({"denoiser": {**asdict(SPEC.denoiser), "head_channels": 0}}, "must be at least 1"),
        ({"kind": torch.float16}, r"as torch\.float16"),
    ],
)
def test_a_generator_that_claims_the_impossible_is_refused_by_its_path(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = _generator(tmp_path / "g.safetensors", **changes)
    with pytest.raises(CheckpointError, match=reason) as raised:
        load_diffusion(path, torch.device("cpu"))
    assert str(path) in raised.value.problem


def test_a_description_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    save_file({"a": torch.ones(1)}, path, metadata={"lichen": "[" * 10**5 + "]" * 10**5})
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_tensors(path, "generator")


def test_a_state_that_is_no_number_is_not_saved_between_two_points_of_the_log(tmp_path: Path) -> None:
    path, calls = tmp_path / "s.safetensors", 0
    recipe = replace(RECIPE, images=4000)  # a point of the log every 20 images, and a checkpoint after each 4

    def fragile(network: nn.Module, batch: Tensor, draws: Draws) -> Tensor:
        nonlocal calls
        calls += 1
        return _loss(network, batch, draws) * (float("nan") if calls == 3 else 1.0)

    with pytest.raises(TrainingError, match="gradient of the test became nan after 12 images"):
        train(_line(), EXAMPLES, fragile, recipe, state_path=path, log=lambda _: None)
    tensors, about = load_tensors(path, "training")
    assert about["images_seen"] == 8
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images_seen": {"odd": 1}}, "does not say how many images"),
        ({"images_seen": -4}, "does not say how many images"),
        ({"phase": ["test"]}, "holds the training of"),
    ],
)
def test_a_training_state_that_describes_itself_oddly_is_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = tmp_path / "s.safetensors"
    train(_line(), EXAMPLES, _loss, replace(RECIPE, images=8), state_path=path, log=lambda _: None)
    tensors, about = load_tensors(path, "training")
    save_tensors(path, tensors, {**about, **change})
    with pytest.raises(CheckpointError, match=words):
        train(_line(), EXAMPLES, _loss, RECIPE, state_path=path, log=lambda _: None)
    odd = tensors | {"optimizer.layer.weight/exp_avg": torch.zeros(7)}
    save_tensors(path, odd, about)
    with pytest.raises(CheckpointError, match="no moment of its weight"):
        train(_line(), EXAMPLES, _loss, RECIPE, state_path=path, log=lambda _: None)


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    path = _generator(tmp_path / "g.safetensors")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="other numbers than were written"):
        load_diffusion(path, torch.device("cpu"))


def test_a_training_state_without_moments_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    train(_line(), EXAMPLES, _loss, replace(RECIPE, images=8), state_path=path, log=lambda _: None)
    tensors, about = load_tensors(path, "training")
    for gone in ("optimizer.layer.weight/exp_avg", "optimizer.layer.bias/step"):
        save_tensors(path, {name: tensor for name, tensor in tensors.items() if name != gone}, about)
        with pytest.raises(CheckpointError, match="lacks moments"):
            train(_line(), EXAMPLES, _loss, RECIPE, state_path=path, log=lambda _: None)


def test_tensors_and_description_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "s.safetensors"
    tensors = {"a": torch.randn(2, 3), "b": torch.tensor(4.0), "c": torch.randn(2, 3, 4, 5).permute(0, 3, 1, 2)}
    save_tensors(path, tensors, {"kind": "training", "x": [1, 2.5, "ä"]})
    back, about = load_tensors(path, "training")
    assert about == {"kind": "training", "format": 1, "x": [1, 2.5, "ä"]}
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    with pytest.raises(CheckpointError, match="of kind 'training'"):
        load_tensors(path, "generator")


def test_the_average_moves_towards_the_network_by_its_half_life() -> None:
    average, network = _line(), Line()
    before, goal = _weights(average), _weights(network)
    for _ in range(10):
        update_ema(average, network, 0.5 ** (1 / 10))
    for start, end, now in zip(before, goal, _weights(average), strict=True):
        assert torch.allclose(now, (start + end) / 2, atol=1e-6)


def test_the_half_life_grows_with_the_run_up_to_its_limit() -> None:
    decays = [ema_decay(seen, 8, 1000) for seen in (8, 100, 1000, 20_000, 10**9)]
    assert decays == sorted(decays)
    assert decays[-1] == pytest.approx(0.5 ** (8 / 1000))


def test_the_learning_rate_rises_over_two_percent_and_ends_at_zero() -> None:
    recipe = replace(RECIPE, images=10_000, batch_size=10)
    rates = [learning_rate(seen, recipe) for seen in range(0, 10_001, 10)]
    top = rates.index(max(rates))
    assert 15 <= top <= 25
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == 0
