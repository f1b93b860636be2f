from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lichen.audit.conformal import bonferroni, conformal_p_values
from lichen.audit.rates import Rate, at_most, copy_rate, memorised_patients

Floats = NDArray[np.float64]
LEVEL = 0.05
NOTHING = Rate(None, 0.0, 1.0)
FOUND, MISSED = 2.0, -2.0
"""Similarities above and below every innocent image's, which are between 0 and 1."""


def names(count: int, repeats: int = 1) -> list[str]:
    return [f"p{i}" for i in range(count) for _ in range(repeats)]


def copies(rng: np.random.Generator, count: int, power: float) -> Floats:
    """Found with a probability of nearly ``power``; the others look like innocent images."""
    return np.where(rng.random(count) < power, FOUND, rng.random(count))


def planted(found: int, missed: int) -> Floats:
    return np.array([[FOUND] * found + [MISSED] * missed])


def rate(synthetic: Floats, null: Floats, planted_copies: Floats, **more: object) -> Rate:
    level = float(str(more.pop("level", LEVEL)))
    whose = names(planted_copies.shape[1])
    return copy_rate(synthetic[None], null[None], planted_copies, whose, level=level, **more)  # type: ignore[arg-type]


def test_the_estimate_is_rogan_and_gladens() -> None:
    null = np.arange(1, 100) / 100  # 99 patients: at the level 0.05 the threshold is the fifth largest, 0.95
    synthetic = np.array([0.96] * 30 + [0.95] * 70)  # ties with the threshold are not flagged
    found = rate(synthetic, null, planted(45, 5))
    assert found.estimate == pytest.approx((0.30 - 0.05) / (0.90 - 0.05))
    assert found.low < found.estimate < found.high


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.9]), min_size=40, max_size=90), st.integers(0, 2**32))
def test_an_image_is_flagged_where_its_conformal_p_value_is_at_most_the_level(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    null = np.stack([rng.permutation(values), rng.permutation(values)])
    synthetic = rng.choice([0.1, 0.2, 0.3, 0.5, 0.9, 1.0, -np.inf], (2, 60))
    p_values = bonferroni(np.stack([conformal_p_values(*row) for row in zip(synthetic, null, strict=True)]))
    flagged = float((p_values <= LEVEL + 1e-12).mean())
    every = np.full((2, 50), FOUND)
    found = copy_rate(synthetic, null, every, names(50), level=LEVEL)
    falsely = _joint_false_positive_rate(null)
    assert found.estimate == pytest.approx(max(0.0, (flagged - falsely) / (1 - falsely)))


def _joint_false_positive_rate(null: Floats) -> float:
    """Patients whom one of the scores has at or above its k-th largest, of n + 1."""
    k = max(1, int(LEVEL / len(null) * (null.shape[1] + 1) + 1e-9))
    thresholds = np.sort(null, axis=1)[:, -k][:, None]
    return float((null >= thresholds).any(axis=0).sum() / (null.shape[1] + 1))


@pytest.mark.parametrize("of", ["set", "generator"])
def test_the_interval_covers_the_truth_as_often_as_it_says(of: str) -> None:
    # 120 images, each a copy with probability 0.3; power 0.9, 99 held-out patients; 400 repetitions.
    rng = np.random.default_rng(3)
    covered, widths, oracle = 0, [], []
    for repetition in range(400):
        true_copies = int(rng.binomial(120, 0.3))
        null = rng.random(99)
        synthetic = np.concatenate([copies(rng, true_copies, 0.9), rng.random(120 - true_copies)])
        whose = names(50, repeats=4)
        found = copy_rate(
            synthetic[None], null[None], copies(rng, 200, 0.9)[None], whose, level=LEVEL, seed=repetition, of=of
        )
        truth = true_copies / 120 if of == "set" else 0.3
        covered += found.low - 1e-9 <= truth <= found.high + 1e-9
        widths.append(found.high - found.low)
        share = (synthetic > np.sort(null)[-5]).mean()
        oracle.append(2 * 1.96 * np.sqrt(share * (1 - share) / 120) / (0.9 * 0.95))
    assert 0.92 <= covered / 400 <= 0.985
    assert np.mean(widths) < 1.5 * np.mean(oracle)


def test_a_plain_binomial_interval_would_cover_the_truth_far_less_often() -> None:
    # The same setting with power 0.85 and 635 images: what the correction is for.
    rng = np.random.default_rng(4)
    plain, corrected = 0, 0
    for repetition in range(200):
        null = rng.random(99)
        synthetic = np.concatenate([copies(rng, 190, 0.85), rng.random(445) * np.sort(null)[-5]])
        share = (synthetic > np.sort(null)[-5]).mean()
        plain += abs(share - 190 / 635) <= 1.96 * np.sqrt(share * (1 - share) / 635)
        found = copy_rate(
            synthetic[None], null[None, :], copies(rng, 200, 0.85)[None], names(50, 4), level=0.01, seed=repetition
        )
        corrected += found.low <= 190 / 635 <= found.high
    assert plain < 80
    assert corrected > 180


def test_copies_of_few_patients_say_less_about_the_power_than_copies_of_many() -> None:
    rng = np.random.default_rng(5)
    null, synthetic = rng.random(199)[None], np.concatenate([np.full(300, FOUND), rng.random(700)])[None]
    by_patient = np.repeat([FOUND, MISSED] * 5, 20)[None]  # ten patients, each found always or never

    def width(whose: list[str]) -> float:
        found = copy_rate(synthetic, null, by_patient, whose, level=LEVEL)
        return found.high - found.low

    assert width(names(10, repeats=20)) > 2 * width(names(200))


@pytest.mark.parametrize("of", ["set", "generator"])
@given(data=st.data())
@settings(max_examples=40)
def test_an_interval_lies_between_zero_and_one_and_holds_the_estimate(of: str, data: st.DataObject) -> None:
    sizes = st.integers(0, 30)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    m, n, t = (data.draw(sizes) for _ in range(3))
    scores = data.draw(st.integers(1, 3))
    pick = [0.0, 0.3, 0.5, 0.9, 1.0, -np.inf]
    arrays = [rng.choice(pick, (scores, size)) for size in (m, n, t)]
    level = data.draw(st.floats(0.001, 0.9))
    found = copy_rate(*arrays, names(t), level=level, resamples=100, of=of)  # type: ignore[arg-type]
    assert 0 <= found.low <= found.high <= 1
    if found.estimate is None:
        assert found == NOTHING
    else:
        assert found.low <= found.estimate <= found.high


def test_none_flagged_means_at_most_three_over_the_images_that_would_have_been_found() -> None:
    null = np.linspace(0, 1, 99)
    found = rate(np.zeros(200), null, planted(40, 10))
    assert found == Rate(0.0, 0.0, pytest.approx(3 / (200 * 0.8)))
    assert at_most(200, 0.8) == found.high
    assert (at_most(2, 0.5), at_most(10, 0.0), at_most(0, 1.0)) == (1.0, 1.0, 1.0)


def test_one_flagged_image_never_promises_more_than_none_does() -> None:
    null = np.linspace(0, 1, 99)
    one = np.zeros(200)
    one[0] = FOUND
    assert rate(one, null, planted(50, 0)).high >= rate(np.zeros(200), null, planted(50, 0)).high


def test_all_flagged_gives_an_estimate_of_one() -> None:
    found = rate(np.full(300, FOUND), np.linspace(0, 1, 99), planted(50, 0))
    assert (found.estimate, found.high) == (1.0, 1.0)
    assert found.low > 0.9


@pytest.mark.parametrize("is_flagged", [True, False])
def test_of_a_single_image_nothing_is_certain(is_flagged: bool) -> None:
    found = rate(np.array([FOUND if is_flagged else 0.0]), np.linspace(0, 1, 19), planted(50, 0))
    assert (found.low, found.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("synthetic", "null", "planted_copies"),
    [
        (np.array([]), np.linspace(0, 1, 99), planted(50, 0)),
        (np.full(9, FOUND), np.array([]), planted(50, 0)),
        (np.full(9, FOUND), np.full(3, -np.inf), planted(50, 0)),
        (np.full(9, FOUND), np.linspace(0, 1, 99), planted(0, 0)),
        (np.full(9, FOUND), np.linspace(0, 1, 99), planted(2, 48)),  # found less often than innocent images
    ],
    ids=["no image", "no held-out patient", "no comparable patient", "nothing planted", "no power"],
)
def test_nothing_is_said_where_nothing_is_known(synthetic: Floats, null: Floats, planted_copies: Floats) -> None:
    assert rate(synthetic, null, planted_copies) == NOTHING


def test_power_that_hardly_differs_from_the_false_positive_rate_leaves_every_rate_open() -> None:
    found = rate(np.linspace(0, 1, 100), np.linspace(0, 1, 99), planted(6, 44))
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_level_finer_than_the_patients_resolve_is_the_finest_that_they_do() -> None:
    rng = np.random.default_rng(6)
    null, synthetic = rng.random(20), np.concatenate([np.full(30, FOUND), rng.random(70)])
    assert rate(synthetic, null, planted(50, 0), level=1e-4) == rate(synthetic, null, planted(50, 0), level=1 / 21)


def test_images_that_cannot_be_compared_count_as_no_copies() -> None:
    null, some = np.linspace(0, 1, 99), np.array([FOUND] * 30 + [0.0] * 70)
    blank = np.where(some == 0, -np.inf, some)
    assert rate(blank, null, planted(50, 0)) == rate(some, null, planted(50, 0))


def test_a_thousand_resamples_of_a_thousand_images_take_less_than_a_second() -> None:
    rng = np.random.default_rng(7)
    start = time.process_time()
    rate(np.concatenate([np.full(300, FOUND), rng.random(700)]), rng.random(100), planted(90, 10))
    assert time.process_time() - start < 1


Simulation = Callable[[np.random.Generator], tuple[Floats, list[str], int]]


def _generated(rng: np.random.Generator, memorised: int, images: int, patients: int) -> tuple[Floats, list[str], int]:
    """Synthetic images of which 40 % copy one of the ``memorised`` patients, some more often than others."""
    is_copy = rng.random(images) < 0.4
    weights = 1.0 / np.arange(1, memorised + 1)
    of = np.where(is_copy, rng.choice(memorised, images, p=weights / weights.sum()), -1)
    similarity = np.where(is_copy, copies(rng, images, 0.85), rng.random(images))
    nearest = np.where((similarity == FOUND) & is_copy, of, rng.integers(patients, size=images))
    return similarity, [f"p{i}" for i in nearest], len(np.unique(of[is_copy]))


def test_the_share_of_memorised_patients_is_right_on_average_and_as_certain_as_it_says() -> None:
    rng = np.random.default_rng(8)
    errors, covered = [], 0
    for repetition in range(300):
        similarity, nearest, memorised = _generated(rng, 60, 200, 150)
        null, known = rng.random(99)[None], copies(rng, 200, 0.85)[None]
        found = memorised_patients(
            similarity[None], null, known, names(50, 4), nearest, 150, level=LEVEL, seed=repetition
        )
        assert found.estimate is not None
        errors.append(found.estimate - memorised / 150)
        covered += found.low <= memorised / 150 <= found.high
    assert abs(np.mean(errors)) < 0.006
    assert 0.92 <= covered / 300 <= 0.99


def test_counting_the_patients_of_flagged_images_would_be_wrong_by_more() -> None:
    rng = np.random.default_rng(9)
    errors = []
    for _ in range(100):
        similarity, nearest, memorised = _generated(rng, 60, 200, 150)
        flagged = similarity > 0.95
        errors.append(len({who for who, hit in zip(nearest, flagged.tolist(), strict=True) if hit}) - memorised)
    assert abs(np.mean(errors)) / 150 > 0.006


def test_the_share_of_memorised_patients_grows_with_the_number_of_images() -> None:
    rng = np.random.default_rng(10)
    null, known = rng.random(99)[None], np.full((1, 50), FOUND)
    shares = []
    for images in (50, 200, 800):
        similarity, nearest, _ = _generated(rng, 100, images, 150)
        share = memorised_patients(similarity[None], null, known, names(50), nearest, 150, level=LEVEL).estimate
        assert share is not None
        shares.append(share)
    assert shares == sorted(shares)
    assert shares[2] > 2 * shares[0]


def test_with_every_copy_found_and_a_fine_level_the_patients_are_simply_counted() -> None:
    null, known = np.linspace(0, 1, 9999)[None], np.full((1, 500), FOUND)
    similarity = np.array([[FOUND] * 30 + [0.0] * 70])
    nearest = [f"p{i // 3}" for i in range(100)]  # the 30 copies are of 10 patients
    found = memorised_patients(similarity, null, known, names(500), nearest, 40, level=1e-4)
    assert found.estimate == pytest.approx(10 / 40, abs=1e-3)
    assert found.high - found.low < 0.02


def test_without_a_flagged_image_few_patients_can_be_memorised() -> None:
    null, nearest = np.linspace(0, 1, 99)[None], ["p0"] * 200
    found = memorised_patients(np.zeros((1, 200)), null, planted(40, 10), names(50), nearest, 75, level=LEVEL)
    assert found == Rate(0.0, 0.0, pytest.approx(3 / (75 * 0.8)))


def test_memorised_patients_are_not_guessed_from_a_score_that_misses_most_copies() -> None:
    null, nearest = np.linspace(0, 1, 99)[None], ["p0"] * 200
    synthetic = np.full((1, 200), FOUND)
    assert memorised_patients(synthetic, null, planted(20, 30), names(50), nearest, 75, level=LEVEL) == NOTHING
