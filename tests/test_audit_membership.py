"""Membership inference: the statistics alone, then the losses of generators whose memory is known exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lichen.audit.membership import (
    Membership,
    area_under_curve,
    auc_interval,
    membership,
    true_positive_rate,
    wilson_interval,
)
from lichen.chain import Data
from lichen.chain.membership import denoising_losses, members_of, membership_of, patient_means
from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.diffusion import GaussianMixture, process_of, target
from lichen.errors import AuditError
from lichen.images import ImageSet, Source
from lichen.samplers import Objective
from lichen.training.generator import Diffusion
from lichen.training.specs import DiffusionSpec

SIDE = 8
LOSSES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), min_size=2, max_size=9)


def bounded(found: Membership) -> bool:
    """Whether both figures lie in their intervals, and these between 0 and 1."""
    return (
        0 <= found.auc_low <= found.auc <= found.auc_high <= 1
        and 0 <= found.tpr_low <= found.true_positive_rate <= found.tpr_high <= 1
    )


@given(LOSSES, LOSSES)
def test_the_area_counts_the_pairs_in_which_the_training_patient_is_better_known(
    inside: list[float], outside: list[float]
) -> None:
    pairs = [1.0 if a < b else 0.5 if a == b else 0.0 for a in inside for b in outside]
    assert area_under_curve(np.array(inside), np.array(outside)) == pytest.approx(np.mean(pairs))


@given(LOSSES, LOSSES)
def test_exchanging_the_sides_mirrors_the_area_and_its_interval(inside: list[float], outside: list[float]) -> None:
    one, other = (membership(*sides, resamples=20) for sides in ((inside, outside), (outside, inside)))
    assert one.auc == pytest.approx(1 - other.auc)
    assert bounded(one)
    low, high = auc_interval(one.auc, len(inside), len(outside), 0.95)
    mirrored = auc_interval(other.auc, len(outside), len(inside), 0.95)
    np.testing.assert_allclose(mirrored, (1 - high, 1 - low), atol=1e-9)


def test_only_the_order_of_losses_counts() -> None:
    random = np.random.default_rng(1)
    inside, outside = random.exponential(1, 30), random.exponential(1.5, 40)
    assert membership(inside, outside) == membership(np.log(inside), np.log(outside))


def test_true_positives_are_counted_below_the_losses_of_all_but_the_allowed_held_out_patients() -> None:
    inside = np.array([0.5, 1.5, 2.0, 2.5, 9.0])
    outside = np.array([4.0, 2.0, 1.0, 3.0])
    assert true_positive_rate(inside, outside, 0.0) == 1 / 5  # below 1
    assert true_positive_rate(inside, outside, 1 / 4) == 2 / 5  # below 2, and the equal loss does not count
    assert true_positive_rate(inside, outside, 3 / 4) == 4 / 5
    assert true_positive_rate(inside, outside, 1.0) == 4 / 5


@pytest.mark.parametrize(("held_out", "rate"), [(2, 1 / 2), (49, 1 / 49), (100, 0.01), (1000, 0.01)])
def test_the_false_positive_rate_is_one_that_the_held_out_patients_can_resolve(held_out: int, rate: float) -> None:
    found = membership(np.zeros(5), np.arange(held_out) + 1.0, resamples=10)
    assert (found.at_false_positive_rate, found.members, found.held_out) == (rate, 5, held_out)
    outside = np.random.default_rng(0).permutation(held_out) / held_out
    allowed = int(rate * held_out + 1e-9)
    threshold = np.sort(outside)[allowed]
    assert true_positive_rate(outside, outside, rate) == (outside < threshold).mean() == allowed / held_out


def test_losses_that_do_not_overlap_are_told_apart_but_few_patients_are_no_certainty() -> None:
    few, many = (membership(np.zeros(n), np.ones(n)) for n in (5, 500))
    assert (few.auc, few.true_positive_rate) == (many.auc, many.true_positive_rate) == (1.0, 1.0)
    assert few.auc_high == many.auc_high == few.tpr_high == 1.0
    assert few.auc_low < 0.8
    assert few.tpr_low < 0.6
    assert many.auc_low > 0.99
    assert many.tpr_low > 0.99


def test_equal_losses_tell_nothing() -> None:
    found = membership(np.ones(20), np.ones(20))
    assert found.auc == 0.5
    assert found.true_positive_rate == 0.0
    assert bounded(found)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_intervals_cover_what_is_true_of_two_normal_distributions(shift: float) -> None:
    random = np.random.default_rng(2)
    held_out = 200
    area = 0.5 if shift == 0 else 0.760250  # Phi(1 / sqrt 2)
    positives = 0.01 if shift == 0 else 0.092365  # Phi(1 - 2.326348), below the 1 % quantile of the held-out patients
    found = [membership(random.normal(-shift, 1, 60), random.normal(0, 1, held_out), resamples=100) for _ in range(80)]
    assert np.mean([each.auc_low <= area <= each.auc_high for each in found]) >= 0.9
    assert np.mean([each.tpr_low <= positives <= each.tpr_high for each in found]) >= 0.85
    assert np.mean([each.auc_high - each.auc_low for each in found]) < 0.2
    assert np.mean([each.tpr_high - each.tpr_low for each in found]) < 0.35


def test_wilson_intervals_agree_with_the_published_example() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3.
    published = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611)}
    for (found, n), interval in published.items():
        np.testing.assert_allclose(wilson_interval(found / n, n, 0.95), interval, atol=6e-5)


@pytest.mark.parametrize(("auc", "m", "n"), [(0.5, 20, 30), (0.8, 5, 5), (0.97, 200, 40), (1.0, 12, 9)])
def test_the_interval_of_the_area_ends_where_its_equation_holds(auc: float, m: int, n: int) -> None:
    low, high = auc_interval(auc, m, n, 0.95)
    assert low < auc <= high
    mean = (m + n) / 2 - 1
    for t in (low, high):
        variance = t * (1 - t) * (1 + mean * (1 - t) / (2 - t) + mean * t / (1 + t)) / (m * n)
        assert abs(auc - t) == pytest.approx(1.959964 * variance**0.5, abs=1e-6)


@pytest.mark.parametrize(("inside", "outside", "side"), [([1.0, 2.0], [1.0], "held-out"), ([], [1, 2], "training")])
def test_less_than_two_patients_on_a_side_cannot_say_anything(
    inside: list[float], outside: list[float], side: str
) -> None:
    with pytest.raises(AuditError, match=f"{side} patient") as caught:
        membership(inside, outside)
    assert "at least 2" in caught.value.fix


def test_a_loss_that_is_no_number_is_refused() -> None:
    with pytest.raises(AuditError, match="1 of 3 held-out"):
        membership([1.0, 2.0], [1.0, float("nan"), 2.0])


class Identity(nn.Module):
    """An autoencoder whose latents are the images."""

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, torch.ones_like(images)


class Exact(nn.Module):
    """The denoiser that an endless training on ``mixture`` would lead to."""

    def __init__(self, mixture: GaussianMixture, objective: Objective) -> None:
        super().__init__()
        self.mixture, self.objective = mixture, objective
        self.anchor = nn.Parameter(torch.zeros(()))

    def forward(self, x_t: Tensor, timesteps: Tensor) -> Tensor:
        level = process_of(self.objective).levels[int(timesteps[0])]
        x0 = self.mixture.denoise(x_t / level.alpha, level.beta / level.alpha)
        return target(self.objective, x0, (x_t - level.alpha * x0) / level.beta, level)


def generator_of(mixture: GaussianMixture, objective: Objective = "v") -> Diffusion:
    autoencoder = AutoencoderConfig(channels=(8,), latent_channels=1)
    affine = tuple(tuple(float(x) for x in row) for row in np.eye(4))
    spec = DiffusionSpec(
        (1, SIDE, SIDE), affine, autoencoder, DenoiserConfig(channels=(8,)), objective, is_phantom=True
    )
    return Diffusion(spec, Identity(), Exact(mixture, objective), torch.zeros(1), torch.ones(1), "")


def population(spread: float = 1.0) -> GaussianMixture:
    return GaussianMixture(torch.zeros(1, 1, SIDE, SIDE), torch.tensor([spread]), torch.ones(1))


def learned_by_heart(images: Tensor) -> GaussianMixture:
    count = len(images)
    return GaussianMixture(images, torch.full((count,), 0.1), torch.full((count,), 1 / count))


def partly_learned(images: Tensor) -> GaussianMixture:
    """A tenth vague memories of ``images``, otherwise the population."""
    count = len(images)
    return GaussianMixture(
        torch.cat([images, torch.zeros_like(images[:1])]),
        torch.tensor([1.2] * count + [1.0]),
        torch.tensor([0.1 / count] * count + [0.9]),
    )


def set_of(patients: int, images_each: int, seed: int, prefix: str) -> ImageSet:
    names = [
        (f"{prefix}{patient}", f"{prefix}{patient}-{n}") for patient in range(patients) for n in range(images_each)
    ]
    voxels = torch.randn((len(names), 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    return ImageSet(voxels, tuple(n for _, n in names), tuple(p for p, _ in names), np.eye(4))


DATA = Data(Source("made up", (), 2, is_phantom=True), set_of(30, 2, 1, "t"), set_of(20, 3, 2, "h"))


def test_the_loss_of_a_standard_normal_population_is_that_of_its_zero_prediction() -> None:
    # For N(0, I) the best v is 0, so the loss is |alpha eps - sigma x0|^2 / n; second differences are free of noise.
    images = DATA.train.voxels
    of, of_negative, of_zero = (denoising_losses(generator_of(population()), x) for x in (images, -images, 0 * images))
    sigma_squared = process_of("v").levels.beta.square().numpy()[[62, 187, 312, 437, 562, 687, 812, 937]]
    energy = images.square().flatten(1).mean(1).double().numpy()
    np.testing.assert_allclose((of + of_negative - 2 * of_zero) / 2, energy[:, None] * sigma_squared, rtol=1e-4)


def test_an_image_meets_the_same_noise_whatever_the_batch_and_another_with_another_seed() -> None:
    images = DATA.train.voxels
    generator = generator_of(population())
    losses = denoising_losses(generator, images)
    np.testing.assert_allclose(denoising_losses(generator, images[17:40]), losses[17:40], rtol=1e-5)
    assert abs(denoising_losses(generator, images, seed=1) - losses).min(0).min() > 0


def test_a_generator_of_the_population_gives_no_training_patient_away() -> None:
    found = membership_of(generator_of(population(0.9)), DATA)
    assert found.auc_low < 0.5 < found.auc_high
    assert (found.members, found.held_out) == (20, 20)
    assert bounded(found)


def test_a_generator_that_learned_some_patients_by_heart_gives_more_away_than_one_of_the_population() -> None:
    images = DATA.train.voxels
    little, much, all_ = (
        membership_of(generator_of(mixture), DATA)
        for mixture in (population(), partly_learned(images), learned_by_heart(images))
    )
    assert little.auc < much.auc <= all_.auc == 1.0
    assert all_.true_positive_rate == 1.0
    assert all_.auc_low > little.auc_high


def test_it_does_not_matter_whether_the_network_predicts_v_or_noise() -> None:
    # Their errors differ by a factor at each noise level, up to four hundred: a plain mean over levels would differ.
    mixture = partly_learned(DATA.train.voxels)
    v, epsilon = (generator_of(mixture, objective) for objective in ("v", "epsilon"))
    factors = denoising_losses(v, DATA.train.voxels) / denoising_losses(epsilon, DATA.train.voxels)
    assert factors.max() > 100 * factors.min()
    of_v, of_epsilon = membership_of(v, DATA), membership_of(epsilon, DATA)
    assert 0.5 < of_v.auc < 0.99
    assert of_epsilon == of_v


def test_a_network_of_rectified_flow_is_asked_on_its_own_path() -> None:
    # its time steps stand for other noise levels, so the same knowledge shows about as clearly, not to the same bit
    mixture = partly_learned(DATA.train.voxels)
    of_v, of_flow = (membership_of(generator_of(mixture, objective), DATA) for objective in ("v", "flow"))
    assert of_flow.auc == pytest.approx(of_v.auc, abs=0.1)


def test_as_many_training_patients_as_are_held_out_are_compared_with_all_their_images() -> None:
    chosen = members_of(DATA, 0)
    patients = [DATA.train.patients[at] for at in chosen]
    assert len(set(patients)) == 20
    assert len(chosen) == 40
    assert chosen != members_of(DATA, 1)
    few = replace(DATA, train=set_of(5, 2, 0, "f"))
    assert members_of(few, 0) == list(range(10))


def test_a_patient_has_the_mean_loss_of_their_images() -> None:
    means = patient_means(np.array([1.0, 5.0, 3.0, 2.0]), ["b", "a", "b", "c"])
    assert means.tolist() == [2.0, 5.0, 2.0]
