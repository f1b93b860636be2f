from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lichen.audit.competition import can_flag, compete, compete_by_patient, representatives
from lichen.errors import AuditError

Floats = NDArray[np.float64]


def _threshold_by_definition(wins: list[float], q: float) -> float | None:
    """Equation 1.9, tried for every |W|."""
    for t in sorted({abs(w) for w in wins if w != 0}):
        above, below = sum(w >= t for w in wins), sum(w <= -t for w in wins)
        if (1 + below) / max(1, above) <= q + 1e-12:
            return t
    return None


@given(
    st.lists(st.sampled_from([-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4, 0.5]), max_size=40),
    st.sampled_from([0.05, 0.1, 0.2, 0.25, 0.5, 0.9]),
)
def test_the_threshold_is_that_of_equation_1_9(values: list[float], q: float) -> None:
    wins = np.array(values, dtype=np.float64)
    found = compete(wins, np.zeros(len(wins)), q)
    expected = _threshold_by_definition(values, q)
    assert found.threshold == expected
    assert found.flagged.tolist() == [expected is not None and w >= expected for w in values]


def test_a_small_competition_by_hand() -> None:
    # At t = 0.2 two of five lie on the withheld side, (1 + 1) / 4 = 0.5; at t = 0.1 it is (1 + 2) / 5 = 0.6.
    s_train = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.1])
    s_withheld = np.array([0.4, 0.4, 0.3, 0.4, 0.4, 0.5, 0.4])
    found = compete(s_train, s_withheld, 0.5)
    np.testing.assert_allclose(found.wins, [0.5, 0.4, 0.4, 0.2, 0.1, -0.1, -0.3])
    assert found.threshold == pytest.approx(0.2)
    assert found.flagged.tolist() == [True] * 4 + [False] * 3


@pytest.mark.parametrize(("q", "least"), [(0.05, 20), (0.1, 10), (0.3, 4), (0.5, 2)])
def test_fewer_than_the_least_discoveries_are_never_flagged_and_as_many_are(q: float, least: int) -> None:
    enough, short = np.full(least, 0.5), np.full(least - 1, 0.5)
    assert compete(enough, np.zeros(least), q).flagged.all()
    assert not compete(short, np.zeros(least - 1), q).flagged.any()
    assert compete(short, np.zeros(least - 1), q).least_discoveries == least


def test_what_could_not_be_compared_with_both_sets_is_not_flagged() -> None:
    s_train = np.array([*[0.9] * 10, 0.9, -np.inf, -np.inf])
    s_withheld = np.array([*[0.1] * 10, -np.inf, 0.1, -np.inf])
    found = compete(s_train, s_withheld, 0.1)
    assert found.wins[10:].tolist() == [0.0, 0.0, 0.0]
    assert found.flagged.tolist() == [True] * 10 + [False] * 3


def test_swapped_sets_turn_every_win_around() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(50), rng.random(50)
    np.testing.assert_array_equal(compete(a, b, 0.2).wins, -compete(b, a, 0.2).wins)


def test_without_images_there_is_nothing_to_flag() -> None:
    found = compete(np.array([]), np.array([]), 0.1)
    assert (found.threshold, len(found.flagged)) == (None, 0)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_that_cannot_be_kept_is_refused(rate: float) -> None:
    with pytest.raises(AuditError, match="false-discovery rate"):
        compete(np.array([1.0]), np.array([0.0]), rate)


def _similarities(rng: np.random.Generator, images: int, copies: int, on_train: bool = True) -> tuple[Floats, Floats]:
    """Similarities to either set of ``images``, of which the first ``copies`` copy the set learned from."""
    learned, other = rng.normal(0.25, 0.1, (2, images))  # about as aligned scores of chest X-rays are
    learned[:copies] = rng.normal(0.95, 0.03, copies)
    return (learned, other) if on_train else (other, learned)


def test_a_tenth_of_copies_among_400_images_is_found_and_few_others() -> None:
    rng = np.random.default_rng(1)
    power, falsely = [], []
    for _ in range(200):
        flagged = compete(*_similarities(rng, 400, 40), 0.05).flagged
        power.append(flagged[:40].mean())
        falsely.append(flagged[40:].sum() / max(1, flagged.sum()))
    assert np.mean(power) > 0.95
    assert np.mean(falsely) <= 0.05 + 2 * np.std(falsely) / np.sqrt(200)


@pytest.mark.parametrize("q", [0.1, 0.2])
def test_the_copies_of_one_half_are_no_copies_of_the_other(q: float) -> None:
    # Generators trained on A and on B, both judged as copies of A: only the first is caught.
    rng = np.random.default_rng(2)
    trained_on_a, trained_on_b = 0, 0
    for _ in range(100):
        trained_on_a += bool(compete(*_similarities(rng, 200, 30), q).flagged.any())
        trained_on_b += bool(compete(*_similarities(rng, 200, 30, on_train=False), q).flagged.any())
    assert trained_on_a > 90
    assert trained_on_b <= q * 100


def _modes(rng: np.random.Generator, memorised: int) -> tuple[Floats, Floats, list[str], list[str], NDArray[np.bool_]]:
    """Fifty modes of twenty near-identical images, ``memorised`` of them copies, the others near either set."""
    similarity, whose = np.empty((2, 50)), []
    similarity[:] = rng.normal(0.5, 0.1, (2, 50))
    similarity[0, :memorised] = rng.normal(0.95, 0.03, memorised)
    whose = [f"p{mode}" for mode in range(50) for _ in range(20)]
    both = np.repeat(similarity, 20, axis=1) + rng.normal(0, 0.003, (2, 1000))
    return both[0], both[1], whose, whose, np.repeat(np.arange(50) < memorised, 20)


def test_images_in_clusters_break_the_competition_and_representatives_mend_it() -> None:
    rng = np.random.default_rng(3)
    by_image, by_patient, power = [], [], []
    for _ in range(300):
        s_train, s_withheld, near_train, near_withheld, is_copy = _modes(rng, 0)
        by_image.append(compete(s_train, s_withheld, 0.1).flagged.any())
        kept = representatives(s_train, s_withheld, near_train, near_withheld)
        by_patient.append(compete(s_train[kept], s_withheld[kept], 0.1).flagged.any())
        s_train, s_withheld, near_train, near_withheld, is_copy = _modes(rng, 20)
        kept = representatives(s_train, s_withheld, near_train, near_withheld)
        power.append(compete(s_train[kept], s_withheld[kept], 0.1).flagged[is_copy[kept]].mean())
    assert np.mean(by_image) > 0.2
    assert np.mean(by_patient) <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / 300)
    assert np.mean(power) > 0.9


def test_the_representative_of_a_patient_is_the_nearest_image_of_either_side() -> None:
    s_train = np.array([0.8, 0.9, 0.2, 0.3, 0.9, 0.5, -np.inf, 0.9])
    s_withheld = np.array([0.1, 0.2, 0.6, 0.7, 0.3, 0.5, 0.9, 0.1])
    near_train, near_withheld = ["a", "a", "a", "a", "b", "c", "d", "a"], ["x", "x", "x", "x", "y", "z", "u", "v"]
    kept = representatives(s_train, s_withheld, near_train, near_withheld)
    assert kept.tolist() == [1, 3, 4]
    swapped = representatives(s_withheld, s_train, near_withheld, near_train)
    assert swapped.tolist() == kept.tolist()


def test_patients_compete_and_all_images_near_a_copied_one_are_flagged() -> None:
    copied = [f"patient-{i}" for i in range(20)]
    nearest = [*copied, *copied, *(f"other-{i}" for i in range(60))]
    rng = np.random.default_rng(0)
    s_train = np.concatenate([np.full(40, 0.9), rng.uniform(0.1, 0.3, 60)])
    s_withheld = np.concatenate([np.full(40, 0.2), rng.uniform(0.1, 0.3, 60)])
    found = compete_by_patient(s_train, s_withheld, nearest, [f"withheld-{i}" for i in range(100)], 0.1)
    assert found.flagged[:40].all()
    assert found.flagged[40:].sum() <= 4
    assert found.wins == pytest.approx(s_train - s_withheld)
    many_of_one = compete_by_patient(s_train[:40], s_withheld[:40], ["one"] * 40, ["none"] * 40, 0.1)
    assert not many_of_one.flagged.any()  # one patient is one discovery, and ten are needed


@pytest.mark.parametrize(("images", "enough"), [(99, False), (100, True)])
def test_a_tenth_of_the_images_must_be_as_many_as_a_competition_needs(images: int, enough: bool) -> None:
    assert can_flag(images, 0.1, 0.1) is enough
