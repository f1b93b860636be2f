"""Dropout: what is dropped is a function of seeds, so training resumes, recomputes and shares out to the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lichen.chain.fitting import estimate
from lichen.config import AutoencoderConfig, DenoiserConfig, DenoiserKind, TrainingConfig
from lichen.models.denoiser import build_denoiser
from lichen.models.dropout import Dropout, seed_dropout
from lichen.models.reversible.gradients import check_gradients
from lichen.models.reversible.unet import ReversibleUNet
from lichen.stopping import Stopped
from lichen.team import Team
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.loop import Recipe, train
from lichen.training.specs import DiffusionSpec

CPU = torch.device("cpu")
PLAIN = DenoiserConfig(channels=(8, 16), blocks=1, head_channels=8)
DROPPING = replace(PLAIN, dropout=0.3)
KINDS: tuple[DenoiserKind, ...] = ("standard", "reversible")


def built(config: DenoiserConfig) -> nn.Module:
    """With noise on all weights: a new denoiser predicts zero whatever is dropped."""
    torch.manual_seed(0)
    network = build_denoiser(config, spatial_dims=2, latent_channels=2)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return network


def draws(part: slice = slice(0, 4)) -> Draws:
    return Draws.of_step(7, "test", 40, 4, part, CPU)


LATENTS = torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def loss_and_gradient(network: nn.Module, part: slice = slice(0, 4)) -> tuple[float, Tensor]:
    network.zero_grad()
    loss = denoiser_loss("v", CPU)(network.train(), LATENTS[part], draws(part))
    loss.backward()
    gradients = [weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]
    return loss.item(), torch.cat(gradients)


def test_the_share_is_dropped_and_the_others_scaled_to_the_same_mean() -> None:
    layer = Dropout(0.3).train()
    seed_dropout(layer, lambda: [1, 2])
    out = layer(torch.ones(2, 8, 50, 50))
    assert (out == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert out[out != 0] == pytest.approx(1 / 0.7)
    x = torch.randn(2, 3)
    assert layer.eval()(x) is x


def test_what_an_image_loses_depends_on_its_seed_and_neither_on_the_others_nor_on_the_order_of_axes() -> None:
    x, layer = torch.ones(3, 4, 8, 8), Dropout(0.5).train()
    seed_dropout(layer, lambda: [1, 2, 3])
    whole = layer(x)
    assert torch.equal(layer(x.to(memory_format=torch.channels_last)), whole)
    seed_dropout(layer, lambda: [3])
    assert torch.equal(layer(x[:1])[0], whole[2])
    assert not torch.equal(whole[0], whole[1])


def test_each_layer_drops_other_features() -> None:
    network = nn.Sequential(Dropout(0.5), Dropout(0.5)).train()
    seed_dropout(network, lambda: [1])
    first, second = (layer(torch.ones(1, 1, 20, 20)) for layer in network)
    assert not torch.equal(first, second)


def test_no_seeds_are_asked_for_where_nothing_drops() -> None:
    def seeds() -> list[int]:
        raise AssertionError("asked for")

    seed_dropout(nn.Sequential(nn.Linear(1, 1), Dropout(0.0)).train(), seeds)


def test_without_seeds_nothing_is_dropped_by_chance() -> None:
    with pytest.raises(ValueError, match="call seed_dropout"):
        built(DROPPING).train()(LATENTS, torch.zeros(4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_with_dropout_has_the_weights_of_one_without_and_samples_what_it_does(kind: DenoiserKind) -> None:
    plain, dropping = (built(replace(config, kind=kind)) for config in (PLAIN, DROPPING))
    assert list(plain.state_dict()) == list(dropping.state_dict())
    outputs = [network.eval()(LATENTS, torch.tensor([5.0] * 4)) for network in (plain, dropping)]
    assert torch.equal(*outputs)
    blocks = sum(name.endswith(("conv2.conv.weight", "narrow.weight")) for name in plain.state_dict())
    assert sum(isinstance(module, Dropout) and module.share > 0 for module in dropping.modules()) == blocks > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_a_function_of_the_seed_and_not_of_what_was_drawn_before(kind: DenoiserKind) -> None:
    network = built(replace(DROPPING, kind=kind))
    loss, gradient = loss_and_gradient(network)
    torch.manual_seed(99)
    again, same = loss_and_gradient(network)
    assert again == loss
    assert torch.equal(same, gradient)
    assert loss_and_gradient(built(replace(PLAIN, kind=kind)))[0] != loss


def test_recomputed_blocks_drop_what_they_dropped() -> None:
    kept, checkpointed = (built(replace(DROPPING, checkpointing=recomputes)) for recomputes in (False, True))
    (loss, gradient), (again, same) = loss_and_gradient(kept), loss_and_gradient(checkpointed)
    assert again == loss
    assert torch.equal(same, gradient)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_reversible_network_drops_again_in_backward_what_it_dropped(bf16: bool) -> None:
    torch.manual_seed(0)
    network = ReversibleUNet(
        2, 2, 2, (8, 16), num_res_blocks=1, attention_levels=(False, True), dropout=0.3, grid=2**-12
    )
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    seed_dropout(network, lambda: [1])
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = check_gradients(network.train(), LATENTS[:1], torch.tensor([3.0]))
    assert found.bitwise


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_drop_what_one_drops(kind: DenoiserKind) -> None:
    network = built(replace(DROPPING, kind=kind))
    loss, gradient = loss_and_gradient(network)
    (one, half), (other, rest) = (loss_and_gradient(network, Team(rank, 2).part(4)) for rank in range(2))
    assert (one + other) / 2 == pytest.approx(loss, rel=1e-5)
    assert torch.allclose((half + rest) / 2, gradient, atol=1e-5)


def test_an_interrupted_training_with_dropout_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = Recipe("diffusion", 24, 4, 1e-2, 8, 1.0, "fp32", 3, 1e9)
    loss, states = denoiser_loss("v", CPU), [tmp_path / name for name in ("whole", "parts")]
    whole = train(built(DROPPING), LATENTS, loss, recipe, state_path=states[0], log=lambda _: None)
    asked = iter([False, False, True])
    with pytest.raises(Stopped):
        train(
            built(DROPPING), LATENTS, loss, recipe, state_path=states[1], log=lambda _: None, stop=lambda: next(asked)
        )
    torch.manual_seed(99)
    resumed = train(built(DROPPING), LATENTS, loss, recipe, state_path=states[1], log=lambda _: None)
    assert all(torch.equal(*pair) for pair in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_the_memory_of_dropout_is_in_the_estimate() -> None:
    eye = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    specs = (
        DiffusionSpec((1, 16, 16), eye, AutoencoderConfig(kind="none"), config, "v", is_phantom=True)
        for config in (PLAIN, DROPPING)
    )
    plain, dropping = (estimate("denoiser", spec, TrainingConfig(batch_size=4), CPU) for spec in specs)
    assert plain.weights_bytes == dropping.weights_bytes
    assert plain.peak_bytes < dropping.peak_bytes < 1.5 * plain.peak_bytes
