"""Encoding and decoding in tiles: equal to the whole, within the budget, and refused where nothing fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from lichen import cli
from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.errors import BUDGET_CODE, BudgetError
from lichen.memory import gigabytes_up, measure_peak_memory
from lichen.models.autoencoder import build_autoencoder, decode, encode
from lichen.models.layout import fast_layout
from lichen.models.tile_plan import Chain, cheapest, least_bytes
from lichen.models.tile_steps import steps_of
from lichen.models.tiling import decode_tiled, encode_tiled, within
from lichen.sampling import decode_images
from lichen.training.generator import load_diffusion, save_diffusion
from lichen.training.specs import DiffusionSpec

CPU = torch.device("cpu")
CASES = [
    ((8,), 1, (20, 24)),
    ((8, 16), 2, (44, 36)),
    ((16, 8, 8), 1, (32, 60)),
    ((8, 16, 16), 1, (16, 28, 20)),
    ((16, 8), 2, (10, 18, 12)),
]


def trained(channels: tuple[int, ...], blocks: int, spatial_dims: int) -> nn.Module:
    """An autoencoder whose normalisations have weights of their own, as after training."""
    torch.manual_seed(0)
    config = AutoencoderConfig(channels=channels, blocks=blocks)
    return shaken(build_autoencoder(config, spatial_dims=spatial_dims, image_channels=2))


def shaken(network: nn.Module) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, nn.GroupNorm):
            nn.init.normal_(layer.weight, 1.0, 0.3)
            nn.init.normal_(layer.bias, 0.0, 0.3)
    return network.eval().requires_grad_(False)


def half_air(size: tuple[int, ...], images: int = 1) -> Tensor:
    """Images (images, 2, *size) with nothing in one half: a tile there has other statistics than the whole."""
    x = torch.randn(images, 2, *size)
    x[:, :, : size[0] // 2] = -1
    return x


def least(autoencoder: Any, blocks: Any, x: Tensor) -> int:
    """The smallest budget for ``blocks`` of ``autoencoder`` on ``x``; beside a decoder's input there are latents."""
    chain = chain_of(blocks, x)
    weights: int = sum(4 * weight.numel() for weight in autoencoder.parameters())
    inputs = 2 if blocks is autoencoder.decoder else 1
    return weights + len(x) * (inputs * chain.bytes_at(0) + chain.bytes_at(chain.last)) + least_bytes(chain)


def chain_of(network: Any, x: Tensor) -> Chain:
    return Chain.of(steps_of(network.blocks), x.shape[1], x.shape[2:])


@pytest.mark.parametrize("room", [1.0, 1.6])
@pytest.mark.parametrize(("channels", "blocks", "size"), CASES)
def test_tiles_make_what_the_whole_makes_at_faces_and_inside(
    channels: tuple[int, ...], blocks: int, size: tuple[int, ...], room: float
) -> None:
    network: Any = trained(channels, blocks, len(size))
    images = half_air(size)
    mean, std = encode(network, images)
    restored = decode(network, mean)

    encoder_bytes, decoder_bytes = least(network, network.encoder, images), least(network, network.decoder, mean)
    tiled_mean, tiled_std = encode_tiled(network, images, int(room * encoder_bytes))
    tiled = decode_tiled(network, mean, int(room * decoder_bytes))
    for found, wanted in ((tiled_mean, mean), (tiled_std, std), (tiled, restored)):
        assert found.shape == wanted.shape
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("room", [1.0, 1.3, 2.0, 4.0, 8.0])
def test_the_tensors_alive_stay_within_the_budget_whatever_it_is(room: float) -> None:
    network: Any = trained((16, 8, 8), 1, 3)
    images = half_air((16, 20, 24), images=2)
    with torch.no_grad():
        mean, _ = encode(network, images)
        for blocks, x, work in ((network.encoder, images, encode_tiled), (network.decoder, mean, decode_tiled)):
            budget = int(room * least(network, blocks, x))
            run = cast("Any", work)
            assert measure_peak_memory(lambda: run(network, x, budget), CPU) <= budget  # noqa: B023 (called at once)


def test_a_smaller_budget_takes_more_work_and_a_larger_one_fewer_tiles() -> None:
    network: Any = trained((16, 8), 1, 3)
    chain = chain_of(network.decoder, torch.zeros(1, 4, 32, 32, 32))
    smallest = least_bytes(chain)
    narrow, wide = cheapest(chain, 0, smallest), cheapest(chain, 0, 20 * smallest)
    assert min(wide[-1].tile) > min(narrow[-1].tile)
    assert narrow[-1].stop == wide[-1].stop == chain.last


def test_images_that_fit_are_coded_together_by_the_network_itself() -> None:
    network: Any = trained((8, 16), 1, 2)
    images = half_air((32, 32), images=3)
    mean, std = encode(network, images)
    bounded = within(network, 10**9)
    assert all(torch.equal(a, b) for a, b in zip(encode(bounded, images), (mean, std), strict=True))
    assert torch.equal(decode(bounded, mean), decode(network, mean))
    assert within(network, None) is network


def test_several_images_are_tiled_one_by_one() -> None:
    network: Any = trained((8, 16), 1, 3)
    images = half_air((16, 24, 16), images=3)
    budget = least(network, network.encoder, images)
    together, _ = encode_tiled(network, images, budget)
    torch.testing.assert_close(together, encode(network, images)[0], atol=2e-5, rtol=1e-5)


def test_the_network_is_left_as_it_was() -> None:
    network: Any = trained((8, 16), 1, 2)
    images = half_air((48, 48))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = encode(network, images)[0]
    encode_tiled(network, images, least(network, network.encoder, images))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(encode(network, images)[0], first)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_an_autoencoder_with_transposed_convolutions_is_tiled_as_well(spatial_dims: int) -> None:
    from monai.networks.nets import AutoencoderKL

    torch.manual_seed(0)
    network: Any = shaken(
        AutoencoderKL(
            spatial_dims=spatial_dims,
            channels=(8, 16),
            num_res_blocks=1,
            attention_levels=(False, False),
            norm_num_groups=4,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
            use_convtranspose=True,
        )
    )
    latents = torch.randn(1, 3, *(9, 7, 11)[:spatial_dims])
    tiled = decode_tiled(network, latents, least(network, network.decoder, latents))
    torch.testing.assert_close(tiled, decode(network, latents), atol=2e-5, rtol=1e-5)


def test_a_large_volume_is_normalised_exactly_in_the_layout_that_is_chosen_for_it() -> None:
    size = (80, 80, 80)
    x = (0.5 + 0.3 * torch.randn(1, 8, *size)).to(memory_format=fast_layout(size, CPU))
    exact = nn.functional.group_norm(x.double(), 4)
    torch.testing.assert_close(nn.functional.group_norm(x, 4).double(), exact, atol=1e-5, rtol=1e-5)


def test_attention_over_the_whole_is_refused() -> None:
    from monai.networks.nets import AutoencoderKL

    network = AutoencoderKL(2, channels=(8,), num_res_blocks=1, attention_levels=(False,), norm_num_groups=4)
    with pytest.raises(TypeError, match="SpatialAttentionBlock cannot be run in tiles"):
        encode_tiled(network, torch.zeros(1, 1, 16, 16), 10**6)


def test_a_budget_that_nothing_meets_is_told_the_smallest_that_works() -> None:
    network: Any = trained((8, 16), 1, 3)
    images = half_air((16, 16, 16))
    with pytest.raises(BudgetError) as raised:
        encode_tiled(network, images, 1000)
    named = gigabytes_up(least(network, network.encoder, images))
    assert f"--memory.budget-gb {named} or more" in raised.value.fix
    encode_tiled(network, images, int(float(named) * 1e9))


SPEC = DiffusionSpec(
    image_shape=(1, 32, 32, 32),
    affine=tuple(tuple(float(row == column) for column in range(4)) for row in range(4)),
    autoencoder=AutoencoderConfig(channels=(8, 16)),
    denoiser=DenoiserConfig(channels=(8,), blocks=1, attention_levels=0, head_channels=8),
    objective="v",
    is_phantom=True,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "generator.safetensors"
    save_diffusion(path, SPEC, *SPEC.build(), torch.zeros(4), torch.ones(4))
    return path


def test_a_generator_that_is_loaded_with_a_budget_decodes_the_same_images(checkpoint: Path) -> None:
    whole, bounded = load_diffusion(checkpoint, CPU), load_diffusion(checkpoint, CPU, budget_bytes=3 * 10**6)
    latents = torch.randn(1, *SPEC.latent_shape)
    assert not torch.equal(decode_images(bounded, latents), decode_images(whole, latents))  # tiles were used
    torch.testing.assert_close(decode_images(bounded, latents), decode_images(whole, latents), atol=2e-5, rtol=1e-5)


def test_samples_are_refused_where_the_budget_is_too_small_to_decode(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--sampling.count", "1", "--sampling.steps", "2", "--sampling.batch-size", "1", "--device", "cpu")
    command = ["sample", str(checkpoint), "--out", str(tmp_path / "out"), "--quiet", *options]
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--memory.budget-gb", "0.0001"])
    assert ended.value.code == BUDGET_CODE
    assert "0.0001 GB of memory are too little for the autoencoder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--memory.budget-gb", "0.005"])
    assert ended.value.code == 0
