"""StyleGAN2's networks: laws of their layers, and what sizes they can make."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from lichen.config import StyleGAN2Config
from lichen.errors import ConfigError
from lichen.models.stylegan2 import StyleGenerator, build_discriminator, build_generator, check_size, truncated
from lichen.models.stylegan2.discriminator import minibatch_deviation
from lichen.models.stylegan2.filters import blurred, doubled, halved
from lichen.models.stylegan2.layers import EqualisedLinear, ModulatedConv, activated
from lichen.models.stylegan2.sizes import level_channels, level_sizes

TINY = StyleGAN2Config(latent_dim=8, channels=64, most_channels=8)


def _noise(generator: StyleGenerator, batch: int) -> list[Tensor]:
    return [torch.randn(batch, 1, *shape) for shape in generator.noise_shapes]


@pytest.mark.parametrize(("size", "channels"), [((28, 28), 1), ((16, 24), 3), ((96, 64), 2), ((6, 14), 5)])
def test_images_and_logits_have_their_shapes_and_every_weight_and_style_counts(
    size: tuple[int, int], channels: int
) -> None:
    torch.manual_seed(0)
    generator = build_generator(TINY, size=size, channels=channels)
    discriminator = build_discriminator(TINY, size=size, channels=channels)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):  # 0 at the start: the noise would reach nothing
            torch.nn.init.ones_(parameter)
    w = torch.randn(4, generator.layers, 8, requires_grad=True)
    noise = [each.requires_grad_() for each in _noise(generator, 4)]
    images = generator.synthesise(w, noise)
    logits = discriminator(images)
    assert images.shape == (4, channels, *size)
    assert logits.shape == (4,)
    logits.square().sum().backward()
    used = [w, *noise, *discriminator.parameters()]
    used += [parameter for name, parameter in generator.named_parameters() if not name.startswith("mapping")]
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in used)
    assert w.grad is not None
    assert (w.grad.abs().sum((0, 2)) > 0).all()


@pytest.mark.parametrize(
    ("size", "coarsest", "levels"),
    [((28, 28), (7, 7), 3), ((64, 96), (4, 6), 5), ((48, 48), (3, 3), 5), ((20, 12), (5, 3), 3)],
)
def test_levels_begin_at_three_to_seven_voxels_and_double(
    size: tuple[int, int], coarsest: tuple[int, int], levels: int
) -> None:
    sizes = level_sizes(size)
    assert sizes[0] == coarsest
    assert sizes[-1] == size
    assert len(sizes) == levels
    assert all(fine == (2 * coarse[0], 2 * coarse[1]) for coarse, fine in pairwise(sizes))


@pytest.mark.parametrize("size", [(30, 30), (64, 20), (5, 5), (9, 9), (1, 1), (65, 100), (3000, 17)])
def test_a_size_that_does_not_fit_is_refused_with_one_that_does(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError) as refused:
        check_size(size)
    *_, height, width = refused.value.fix.split()
    check_size((int(height), int(width)))


def test_the_size_named_is_near() -> None:
    with pytest.raises(ConfigError, match=r"30 x 60 voxels[^\n]*\n  fix: set --images.size 32 56$"):
        check_size((30, 60))
    with pytest.raises(ConfigError, match="2D images"):
        check_size((16, 16, 16))


def test_widths_fall_with_the_number_of_voxels_in_steps_that_hardware_likes() -> None:
    config = StyleGAN2Config(channels=1024, most_channels=100)
    assert [level_channels(config, size) for size in [(4, 4), (16, 16), (28, 28), (16, 64), (512, 512)]] == [
        96, 64, 32, 32, 2,
    ]  # fmt: skip


def test_a_modulated_convolution_keeps_unit_variance_whatever_the_style() -> None:
    torch.manual_seed(0)
    layer = ModulatedConv(16, 12, 3, 8)
    w = torch.randn(6, 8) * torch.logspace(-1, 2, 6)[:, None]
    y = layer(torch.randn(6, 16, 48, 48), w)[:, :, 1:-1, 1:-1]
    assert y.std((2, 3)).sub(1).abs().max() < 0.15
    assert y.std((1, 2, 3)).sub(1).abs().max() < 0.05


@pytest.mark.parametrize("resample", [None, "double"])
def test_scaling_activations_is_the_convolution_with_weights_of_each_image(resample: str | None) -> None:
    """1912.04958, equations 1 and 3, taken literally."""
    torch.manual_seed(0)
    layer = ModulatedConv(5, 4, 3, 8, resample="double" if resample else None).double()
    x, w = torch.randn(3, 5, 6, 8).double(), torch.randn(3, 8).double()
    for image, style, result in zip(x, layer.style(w), layer(x, w), strict=True):
        weight = layer.weight / 45**0.5 * style[:, None, None]
        weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if resample:
            wanted = torch.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
            wanted = blurred(wanted, padding=1, gain=4.0)[0]
        else:
            wanted = torch.conv2d(image[None], weight, padding=1)[0]
        torch.testing.assert_close(result, wanted)


def test_signals_keep_their_size_through_the_networks() -> None:
    torch.manual_seed(0)
    generator = build_generator(
        StyleGAN2Config(latent_dim=64, channels=1024, most_channels=64), size=(32, 32), channels=1
    )
    w = generator.map(100 * torch.randn(64, 64))
    assert 0.5 < w.square().mean().sqrt() < 2
    x = torch.randn(100_000)
    assert activated(x).square().mean().item() == pytest.approx(2 * 1.04 / 2, rel=0.02)
    images = generator(torch.randn(8, 64), _noise(generator, 8))
    assert 0.5 < images.detach().std() < 3


def test_layers_of_any_width_and_rate_begin_alike_and_learn_at_their_rate() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 1000)
    moved = {}
    for rate in (1.0, 0.01):
        layer = EqualisedLinear(1000, 50, rate=rate)
        before = layer(x)
        assert before.std().item() == pytest.approx(1, rel=0.05)
        optimiser = torch.optim.Adam(layer.parameters(), 1e-3)
        before.sum().backward()
        optimiser.step()  # Adam's first step moves every weight by the learning rate
        moved[rate] = (layer(x) - before).detach().norm()
    assert moved[0.01] / moved[1.0] == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize("resampled", [halved, doubled, lambda x: blurred(x, padding=0)])
def test_a_constant_image_keeps_its_value_away_from_the_border(resampled: Callable[[Tensor], Tensor]) -> None:
    y = resampled(torch.full((1, 3, 16, 16), 0.7))[..., 2:-2, 2:-2]
    torch.testing.assert_close(y, torch.full_like(y, 0.7))


def test_doubling_is_four_times_the_transpose_of_halving_and_keeps_a_ramp() -> None:
    torch.manual_seed(0)
    small, large = torch.randn(2, 3, 8, 6).double(), torch.randn(2, 3, 16, 12).double()
    torch.testing.assert_close((doubled(small) * large).sum(), 4 * (small * halved(large)).sum())
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    torch.testing.assert_close(halved(doubled(ramp))[..., 2:-2, 2:-2], ramp[..., 2:-2, 2:-2])


def test_equal_images_have_no_deviation_and_different_ones_have_theirs() -> None:
    torch.manual_seed(0)
    image = torch.randn(1, 6, 4, 4)
    assert minibatch_deviation(image.expand(8, -1, -1, -1)).max() < 2e-4
    signs = torch.tensor([1.0, 1, 1, 1, -1, -1, -1, -1]).view(8, 1, 1, 1)  # each group of 4 has two of either
    torch.testing.assert_close(minibatch_deviation(3 * signs.expand(8, 6, 4, 4)), torch.full((8, 1, 4, 4), 3.0))
    assert minibatch_deviation(torch.randn(3, 6, 4, 4)).shape == (3, 1, 4, 4)


def test_truncation_goes_from_the_style_to_the_mean_that_follows_the_styles() -> None:
    torch.manual_seed(0)
    generator = build_generator(TINY, size=(16, 16), channels=1)
    w = torch.randn(4, 8) + 3
    for _ in range(3000):
        generator.follow_mean(w)
    torch.testing.assert_close(generator.mean_w, w.mean(0), rtol=0.01, atol=0.01)
    torch.testing.assert_close(truncated(w, generator.mean_w, 1.0), w)
    torch.testing.assert_close(truncated(w, generator.mean_w, 0.0), generator.mean_w.expand(4, -1))
    assert "mean_w" in generator.state_dict()


def test_only_the_direction_of_a_latent_counts() -> None:
    torch.manual_seed(0)
    generator = build_generator(TINY, size=(16, 16), channels=1)
    z = torch.randn(2, 8)
    torch.testing.assert_close(generator.map(z), generator.map(50 * z))
    assert not torch.allclose(generator.map(z), generator.map(-z))


def test_the_networks_are_built_without_memory_and_filled_from_saved_weights() -> None:
    torch.manual_seed(0)
    trained = build_generator(TINY, size=(16, 24), channels=2)
    with torch.device("meta"):
        empty = build_generator(TINY, size=(16, 24), channels=2)
    empty.load_state_dict(trained.state_dict(), assign=True)
    z, noise = torch.randn(2, 8), _noise(trained, 2)
    assert torch.equal(empty(z, noise), trained(z, noise))


def test_gradients_of_gradients_are_those_of_the_networks() -> None:
    """R1 and the path length are made of them."""
    torch.manual_seed(0)
    generator = build_generator(TINY, size=(6, 6), channels=1).double()
    discriminator = build_discriminator(TINY, size=(6, 6), channels=1).double()
    noise = [each.double() for each in _noise(generator, 2)]
    w = torch.randn(2, generator.layers, 8, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda w: discriminator(generator.synthesise(w, noise)).square().sum(), w, fast_mode=True
    )
