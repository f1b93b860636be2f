"""The memory of training: closed forms, estimates against measurements, and what estimating leaves alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.errors import ConfigError
from lichen.memory import (
    Option,
    TrainingMemory,
    choose,
    estimate_training_memory,
    measure_peak_memory,
    measure_training_memory,
    smallest_budget,
)
from lichen.memory.lifetimes import Lifetimes
from lichen.models.autoencoder import build_autoencoder, decode, encode
from lichen.models.checkpointing import checkpoint_blocks
from lichen.models.denoiser import build_denoiser
from lichen.training.ema import update_ema

CPU = torch.device("cpu")


def denoiser(**changes: object) -> Callable[[], nn.Module]:
    config = replace(DenoiserConfig(channels=(16, 32), blocks=1, head_channels=16), **changes)  # type: ignore[arg-type]
    return lambda: build_denoiser(config, spatial_dims=2, latent_channels=4)


def autoencoder(**changes: object) -> Callable[[], nn.Module]:
    config = replace(AutoencoderConfig(channels=(8, 16), latent_channels=4), **changes)  # type: ignore[arg-type]
    return lambda: build_autoencoder(config, spatial_dims=2, image_channels=4)


def noise() -> Tensor:
    return torch.randn(2, 4, 32, 32)


def denoising(network: nn.Module, batch: Tensor) -> Tensor:
    timesteps = torch.zeros(len(batch), dtype=torch.int64)
    return functional.mse_loss(network(batch, timesteps).float(), batch)


def restoring(network: nn.Module, batch: Tensor) -> Tensor:
    mean, std = encode(network, batch)
    return functional.l1_loss(decode(network, mean + std), batch)


def test_the_peak_of_a_chain_of_sums_is_its_two_largest_neighbours() -> None:
    def work() -> None:
        one = torch.zeros(100)  # 400 bytes
        two = one.repeat(3)  # 1200
        del one
        two.view(3, 100).sum()  # a view has no memory of its own; the sum has 4

    assert measure_peak_memory(work, CPU) == 400 + 1200


def test_what_was_there_before_counts_from_the_beginning_once_it_is_used() -> None:
    there = torch.zeros(1000)

    def work() -> None:
        torch.zeros(10).sum()
        there.sum()

    assert measure_peak_memory(work, CPU) == 4000 + 40 + 4


def test_a_linear_layer_takes_the_bytes_that_its_shapes_say() -> None:
    found = estimate_training_memory(
        lambda: nn.Linear(64, 32, bias=False), lambda: torch.randn(8, 64), lambda network, x: network(x).sum()
    )
    assert found.weights_bytes == found.gradients_bytes == 64 * 32 * 4
    assert found.optimizer_bytes == 2 * 64 * 32 * 4 + 4  # two moments, and the number of steps
    # the products of forward and backward; the latter is that of an outer product for each weight
    assert found.flops == 2 * 2 * 8 * 64 * 32
    assert 8 * 64 * 4 + 8 * 32 * 4 <= found.activations_bytes <= 8 * 64 * 4 + 2 * 8 * 32 * 4 + 64 * 32 * 4
    assert found.peak_bytes <= found.weights_bytes * 2 + found.optimizer_bytes + found.activations_bytes


def test_an_average_costs_the_weights_once_more() -> None:
    plain, averaged = (
        estimate_training_memory(
            lambda: nn.Linear(8, 8), lambda: torch.randn(2, 8), lambda network, x: network(x).sum(), averaged=averaged
        )
        for averaged in (False, True)
    )
    assert averaged.peak_bytes - plain.peak_bytes == averaged.weights_bytes - plain.weights_bytes == (64 + 8) * 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("build", "loss"),
    [
        (denoiser(), denoising),
        (denoiser(checkpointing=True), denoising),
        (denoiser(kind="reversible"), denoising),
        (autoencoder(), restoring),
        (autoencoder(checkpointing=True), restoring),
    ],
    ids=["standard", "checkpointed", "reversible", "autoencoder", "checkpointed autoencoder"],
)
def test_an_estimate_is_what_is_measured(
    build: Callable[[], nn.Module], loss: Callable[[nn.Module, Tensor], Tensor], precision: str
) -> None:
    drawn = torch.get_rng_state()
    estimate = estimate_training_memory(build, noise, loss, precision=precision)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), drawn)
    measured = measure_training_memory(build(), noise, loss, precision=precision)  # type: ignore[arg-type]
    assert estimate.weights_bytes == measured.weights_bytes
    assert estimate.gradients_bytes == measured.gradients_bytes
    assert estimate.optimizer_bytes == measured.optimizer_bytes
    assert estimate.activations_bytes == pytest.approx(measured.activations_bytes, rel=0.05)
    assert estimate.peak_bytes == pytest.approx(measured.peak_bytes, rel=0.05)
    assert estimate.flops == measured.flops


def test_a_step_that_no_machine_could_take_is_estimated_without_memory() -> None:
    def huge() -> Tensor:
        return torch.randn(1, 4, 2**18, 2**18)  # 1 TiB

    found = estimate_training_memory(lambda: nn.Conv2d(4, 4, 3, padding=1), huge, lambda network, x: network(x).mean())
    assert found.activations_bytes > 2 * 2**40


@pytest.mark.parametrize(("build", "loss"), [(denoiser, denoising), (autoencoder, restoring)])
def test_checkpointed_blocks_have_the_same_names_and_gradients_to_the_bit_and_so_have_their_copies(
    build: Callable[..., Callable[[], nn.Module]], loss: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    plain = build()().train()
    with torch.no_grad():
        for weight in plain.parameters():  # an output layer of zeros would hide everything below it
            weight.add_(0.1 * torch.randn_like(weight))
    checkpointed = build(checkpointing=True)().train()
    checkpointed.load_state_dict(plain.state_dict())
    average = copy.deepcopy(checkpointed)
    update_ema(checkpointed, plain, 0.5)  # equal weights stay as they are
    with torch.no_grad():
        for weight in checkpointed.parameters():
            weight.add_(1.0)  # the copy has weights of its own
    batch = noise()
    loss(plain, batch).backward()
    loss(average, batch).backward()
    assert list(plain.state_dict()) == list(average.state_dict())
    for one, other in zip(plain.parameters(), average.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def test_checkpointing_keeps_less_and_computes_more_and_does_nothing_in_evaluation() -> None:
    plain, checkpointed = (estimate_training_memory(denoiser(checkpointing=on), noise, denoising) for on in (0, 1))
    assert checkpointed.activations_bytes < 0.6 * plain.activations_bytes
    assert plain.flops < checkpointed.flops < 4 / 3 * plain.flops
    network = denoiser(checkpointing=True)().eval()
    batch = noise().requires_grad_()
    with Lifetimes() as lifetimes:
        denoising(network, batch).backward()
    assert lifetimes.flops == pytest.approx(plain.flops, rel=0.05)


def test_blocks_of_a_network_of_ones_own_can_be_named() -> None:
    network = nn.Sequential(nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 4)), nn.Linear(4, 1))
    batch, expected = torch.randn(3, 4), copy.deepcopy(network)
    checkpoint_blocks(network, [network[0]])
    for one in (network, expected):
        one(batch).sum().backward()
    assert all(torch.equal(one.grad, other.grad) for one, other in zip(network.parameters(), expected.parameters()))  # type: ignore[arg-type]  # noqa: B905
    with pytest.raises(ValueError, match="no blocks of MONAI's"):
        checkpoint_blocks(nn.Linear(2, 2))


def test_a_reversible_denoiser_refuses_checkpointing() -> None:
    with pytest.raises(ConfigError, match="recomputes its blocks already"):
        DenoiserConfig(kind="reversible", checkpointing=True)


def option(name: str, precision: str, peak: int) -> Option:
    return Option(name, precision, TrainingMemory(0, 0, 0, peak, peak, 1))  # type: ignore[arg-type]


def test_the_first_option_that_fits_is_chosen_and_all_networks_have_one_precision() -> None:
    options = {
        "one": [option("as it is", "fp32", 100), option("bf16", "bf16", 60), option("recomputed", "bf16", 20)],
        "other": [option("as it is", "fp32", 50), option("bf16", "bf16", 55), option("recomputed", "bf16", 5)],
    }

    def names(budget: float) -> list[str] | None:
        found = choose(options, budget)
        return None if found is None else [option.name for option in found.values()]

    assert names(100) == ["as it is", "as it is"]
    assert names(99) == ["bf16", "bf16"]
    assert names(54) == ["recomputed", "recomputed"]
    assert names(57) == ["recomputed", "bf16"]
    assert names(19) is None
    assert smallest_budget(options) == 20
    assert names(smallest_budget(options)) is not None


def test_frozen_weights_have_no_moments() -> None:
    def build() -> nn.Module:
        network = nn.Sequential(nn.Linear(8, 64, bias=False), nn.Linear(64, 8, bias=False))
        network[0].requires_grad_(requires_grad=False)
        return network

    found = estimate_training_memory(build, lambda: torch.randn(2, 8), lambda network, x: network(x).sum())
    assert found.weights_bytes == 2 * 64 * 8 * 4
    assert found.gradients_bytes == 64 * 8 * 4
    assert found.optimizer_bytes == 2 * 64 * 8 * 4 + 4


def test_a_tensor_that_a_network_merely_keeps_is_estimated_as_well() -> None:
    class Scaled(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 8)
            self.scale = torch.ones(8)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.scale

    found = estimate_training_memory(Scaled, lambda: torch.randn(2, 8), lambda network, x: network(x).sum())
    measured = measure_training_memory(Scaled(), lambda: torch.randn(2, 8), lambda network, x: network(x).sum())
    assert found.peak_bytes == measured.peak_bytes
