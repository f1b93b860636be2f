"""What StyleGAN2 is trained by: losses, adaptive augmentation, and a toy that learns."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lichen.config import StyleGAN2Config
from lichen.models.stylegan2 import build_discriminator, build_generator
from lichen.training.adaptive import MOST_P, _turned, adapted, augment
from lichen.training.adversarial_losses import (
    PATH_MEAN_RATE,
    R1_EVERY,
    discriminator_loss,
    generator_loss,
    lazy_adam,
    path_length_penalty,
    r1_penalty,
)
from lichen.training.draws import Draws


def _draws(position: int, batch: int, part: slice | None = None) -> Draws:
    return Draws.of_step(0, "test", position, batch, part or slice(0, batch), torch.device("cpu"))


def test_the_losses_are_cross_entropies_and_the_generators_gradient_does_not_vanish() -> None:
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.5, -40.0], requires_grad=True)
    sure = torch.sigmoid(real).log().neg().mean() + (1 - torch.sigmoid(fake)).log().neg().mean()
    torch.testing.assert_close(discriminator_loss(real, fake), sure)
    (gradient,) = torch.autograd.grad(generator_loss(fake), fake)
    torch.testing.assert_close(gradient, -torch.sigmoid(-fake.detach()) / 2)
    assert discriminator_loss(torch.zeros(3), torch.zeros(3)).item() == pytest.approx(2 * math.log(2))


def test_r1_of_a_linear_discriminator_is_half_its_squared_weight() -> None:
    torch.manual_seed(0)
    weight = torch.randn(2, 4, 5, requires_grad=True)
    images = torch.randn(3, 2, 4, 5, requires_grad=True)
    penalty = r1_penalty((images * weight).sum((1, 2, 3)), images)
    torch.testing.assert_close(penalty, weight.square().sum() / 2)
    penalty.backward()
    torch.testing.assert_close(weight.grad, weight.detach())


def test_path_lengths_of_a_linear_generator_are_those_of_its_matrix() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(6 * 20, requires_grad=True)
    w = torch.randn(3, 2, 6, requires_grad=True)
    direction = torch.randn(3, 1, 4, 5)

    def images(matrix: Tensor) -> Tensor:
        return (w.sum(1) @ matrix.view(6, 20)).view(3, 1, 4, 5)

    lengths = (direction.view(3, 20) @ matrix.view(6, 20).T).norm(dim=1) / math.sqrt(20)
    penalty, mean = path_length_penalty(images(matrix), w, direction, torch.tensor(2.0))
    torch.testing.assert_close(mean, 2 + PATH_MEAN_RATE * (lengths.detach().mean() - 2))
    torch.testing.assert_close(penalty, (lengths - mean).square().mean())
    (found,) = torch.autograd.grad(penalty, matrix)
    (wanted,) = torch.autograd.grad((lengths - mean).square().mean(), matrix)
    torch.testing.assert_close(found, wanted)


def test_lazy_regularisation_leaves_adams_pace_and_memory() -> None:
    rate, (_, memory) = lazy_adam(2e-3, R1_EVERY)
    assert rate * (R1_EVERY + 1) == pytest.approx(2e-3 * R1_EVERY)
    assert memory ** (R1_EVERY + 1) == pytest.approx(0.99**R1_EVERY)


def test_p_grows_while_real_images_are_known_too_well_falls_else_and_keeps_its_bounds() -> None:
    assert adapted(0.3, 0.9, images=1000, target=0.6, speed_images=10_000) == pytest.approx(0.4)
    assert adapted(0.3, 0.2, images=1000, target=0.6, speed_images=10_000) == pytest.approx(0.2)
    assert adapted(0.0, 0.2, images=1000, target=0.6) == 0
    assert adapted(MOST_P, 1.0, images=1000, target=0.6) == MOST_P


def test_augmentation_of_probability_0_keeps_every_bit() -> None:
    torch.manual_seed(0)
    images = torch.randn(5, 3, 12, 16)
    assert torch.equal(augment(images, 0.0, _draws(0, 5)), images)
    assert torch.equal(augment(images, torch.tensor(0.0), _draws(0, 5)), images)


def test_an_image_is_left_alone_as_often_as_p_says() -> None:
    """Of 10 choices of p = 0.1, two turns count for one, flips for a half, quarter turns for three quarters."""
    images = torch.randn(1, 1, 8, 8).expand(2000, -1, -1, -1)
    same = (augment(images, 0.1, _draws(0, 2000)) == images).flatten(1).all(1)
    assert same.double().mean().item() == pytest.approx(0.9**6 * 0.95 * 0.925, abs=0.04)


def test_augmentation_is_the_same_bits_however_the_batch_is_shared() -> None:
    torch.manual_seed(0)
    images = torch.randn(6, 2, 12, 12)
    whole = augment(images, 0.5, _draws(7, 6))
    parts = [augment(images[part], 0.5, _draws(7, 6, part)) for part in (slice(0, 2), slice(2, 6))]
    assert torch.equal(whole, augment(images, 0.5, _draws(7, 6)))
    assert torch.equal(whole, torch.cat(parts))
    assert not torch.equal(whole, augment(images, 0.5, _draws(8, 6)))


def test_channels_move_together_and_have_contrast_and_brightness_of_their_own() -> None:
    torch.manual_seed(0)
    images = torch.randn(40, 1, 16, 16).expand(-1, 2, -1, -1)
    first, second = augment(images, 0.7, _draws(0, 40)).flatten(2).double().unbind(1)
    both = torch.stack([first, second], 1)
    centred = both - both.mean(2, keepdim=True)
    correlation = (centred[:, 0] * centred[:, 1]).sum(1) / centred.norm(dim=2).prod(1)
    assert correlation.min() > 0.999
    assert (first.std(1) / second.std(1)).std() > 0.1
    assert (first.mean(1) - second.mean(1)).std() > 0.1


def test_what_lies_beyond_the_border_is_the_image_mirrored() -> None:
    """A constant image has no border that a motion could bring in."""
    augmented = augment(torch.full((50, 1, 16, 24), 0.5), 0.8, _draws(0, 50))
    assert augmented.flatten(1).std(1).max() < 1e-5
    assert augmented.flatten(1).mean(1).std() > 0.1


def test_a_turn_keeps_shapes_whatever_the_images_sides() -> None:
    """In voxels it is orthogonal, and turns by its angle."""
    width, height, angle = 96.0, 64.0, torch.tensor([0.3, 2.0])
    sides = torch.tensor([width, height])
    turn = (_turned(angle, width / height)[:, :2, :2] * sides[:, None] / sides).double()
    torch.testing.assert_close(turn @ turn.mT, torch.eye(2).double().expand(2, 2, 2), rtol=0, atol=1e-6)
    torch.testing.assert_close(turn[:, 0, 0], angle.cos().double())
    torch.testing.assert_close(turn[:, 1, 0], angle.sin().double())


def test_augmentation_is_differentiable_twice() -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 2, 6, 6, dtype=torch.double, requires_grad=True)
    augmented = augment(images, 0.8, _draws(1, 3))
    assert not torch.allclose(augmented, images)
    assert torch.autograd.gradgradcheck(lambda x: augment(x, 0.8, _draws(1, 3)).square(), images, fast_mode=True)


def _blobs(centres: Tensor) -> Tensor:
    """Round blobs (n, 1, 16, 16) at centres (n, 2) in voxels, white on black."""
    grid = torch.arange(16.0)
    y, x = (torch.exp(-(grid - centres[:, axis, None]).square() / 8) for axis in (0, 1))
    return (2 * y[:, :, None] * x[:, None, :] - 1)[:, None]


def test_a_toy_generator_comes_near_its_data() -> None:
    torch.manual_seed(0)
    config = StyleGAN2Config(latent_dim=8, channels=128, most_channels=16)
    generator = build_generator(config, size=(16, 16), channels=1)
    discriminator = build_discriminator(config, size=(16, 16), channels=1)
    data = _blobs(5 + 6 * torch.rand(256, 2))
    z = torch.randn(128, 8)
    noise = [torch.randn(128, 1, *shape) for shape in generator.noise_shapes]

    def distance() -> float:
        """How far samples are from being blobs anywhere: root mean square to the nearest one."""
        with torch.no_grad():
            return torch.cdist(generator(z, noise).flatten(1), data.flatten(1)).amin(1).mean().item() / 16

    def samples(draws: Draws) -> Tensor:
        made: Tensor = generator(draws.normal((8,)), [draws.normal((1, *shape)) for shape in generator.noise_shapes])
        return made

    start, p = distance(), 0.0
    rate, betas = lazy_adam(5e-3, R1_EVERY)
    learn_d = torch.optim.Adam(discriminator.parameters(), rate, betas)
    learn_g = torch.optim.Adam(generator.parameters(), 5e-3, (0.0, 0.99))
    for step in range(80):
        draws = _draws(step, 8)
        discriminator.requires_grad_(False)
        generator_loss(discriminator(augment(samples(draws), p, draws))).backward()
        learn_g.step()
        discriminator.requires_grad_(True)
        real = augment(data[draws.starts((255,))[:, 0]], p, draws).requires_grad_()
        with torch.no_grad():
            fake = augment(samples(draws), p, draws)
        logits = discriminator(real)
        loss = discriminator_loss(logits, discriminator(fake))
        if step % R1_EVERY == 0:
            loss = loss + R1_EVERY * 0.1 * r1_penalty(logits, real)
        loss.backward()
        learn_d.step()
        for optimiser in (learn_d, learn_g):
            optimiser.zero_grad()
        p = adapted(p, logits.sign().mean().item(), images=8, target=0.6, speed_images=10_000)
    assert distance() < 0.4 * start
