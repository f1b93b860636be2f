from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lichen.audit import benjamini_hochberg, bonferroni, conformal_p_values, patient_maxima, resolution


def test_a_p_value_counts_held_out_patients_at_least_as_near() -> None:
    null = np.array([0.5, 0.9, 0.7])
    p_values = conformal_p_values(np.array([0.95, 0.9, 0.6, 0.1, -np.inf]), null)
    assert p_values.tolist() == [1 / 4, 2 / 4, 3 / 4, 1.0, 1.0]


def test_without_held_out_patients_every_p_value_is_one() -> None:
    assert conformal_p_values(np.array([0.99, 0.1]), np.array([])).tolist() == [1.0, 1.0]


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=12), st.data())
def test_p_values_of_the_held_out_patients_themselves_are_uniform_or_larger(
    values: list[float], data: st.DataObject
) -> None:
    # Leave each one out in turn: exchangeability in its purest form, ties included.
    p_values = np.array(
        [conformal_p_values(np.array([v]), np.array(values[:i] + values[i + 1 :]))[0] for i, v in enumerate(values)]
    )
    level = data.draw(st.floats(0.01, 1.0))
    assert (p_values <= level).mean() <= level + 1e-12


def test_a_patient_counts_once_by_the_nearest_of_their_images() -> None:
    similarity = np.array([0.1, 0.8, 0.4, -np.inf, 0.3, -np.inf])
    maxima = patient_maxima(similarity, ["a", "a", "b", "b", "a", "blank"])
    assert sorted(maxima.tolist()) == [0.4, 0.8]


def test_several_scores_pay_for_their_number() -> None:
    p_values = bonferroni(np.array([[0.01, 0.5, 0.9], [0.04, 0.3, 0.8]]))
    np.testing.assert_allclose(p_values, [0.02, 0.6, 1.0])


def test_benjamini_hochberg_agrees_with_the_worked_example_of_the_paper() -> None:
    # Benjamini and Hochberg (1995), section 3.2: fifteen p-values, q = 0.05, the four smallest are rejected.
    small = (0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298)
    p_values = np.array([*small, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0])
    shuffled = np.random.default_rng(0).permutation(15)
    rejected = benjamini_hochberg(p_values[shuffled], 0.05)
    assert sorted(shuffled[rejected].tolist()) == [0, 1, 2, 3]


def test_benjamini_hochberg_steps_up_over_a_p_value_that_fails_alone() -> None:
    assert benjamini_hochberg(np.array([0.03, 0.04, 0.9]), 0.08).tolist() == [True, True, False]


@pytest.mark.parametrize("images", [1, 3, 7, 10, 30, 70, 99, 100, 1000])
def test_benjamini_hochberg_rejects_at_exact_equality_in_spite_of_rounding(images: int) -> None:
    # n = 99, q = 0.1: ten percent of the images at p = 1/100 meet the bound exactly.
    copies = -(-images // 10)
    p_values = np.ones(images)
    p_values[:copies] = 1 / 100
    assert benjamini_hochberg(p_values, 0.1).sum() == copies
    if images > 10:
        p_values[copies - 1] = 1.0
        assert benjamini_hochberg(p_values, 0.1).sum() == 0


def _reject_one_by_one(p_values: NDArray[np.float64], q: float) -> set[int]:
    """The definition, tried for every k."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    best = 0
    for k in range(1, len(order) + 1):
        if p_values[order[k - 1]] <= q * k / len(order) + 1e-14:
            best = k
    return set(order[:best])


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=20), st.floats(0.01, 0.5))
def test_benjamini_hochberg_agrees_with_its_definition(values: list[float], q: float) -> None:
    p_values = np.array(values)
    assert set(np.flatnonzero(benjamini_hochberg(p_values, q)).tolist()) == _reject_one_by_one(p_values, q)


@pytest.mark.parametrize(("patients", "share"), [(32, 0.61), (43, 0.45), (140, 0.14), (188, 0.11)])
def test_the_detectable_share_is_what_held_out_patients_allow_at_five_percent(patients: int, share: float) -> None:
    assert round(resolution(patients, 1, 0.05, 0.1).detectable_share, 2) == share


def test_ninety_nine_patients_are_just_enough_for_ten_percent_at_ten_percent() -> None:
    enough, short = resolution(99, 1, 0.1, 0.1), resolution(98, 1, 0.1, 0.1)
    assert enough.is_enough
    assert enough.smallest_p == 0.01
    assert enough.detectable_share == 0.1
    assert not short.is_enough
    assert short.patients_needed == 1


def test_forty_three_patients_at_one_percent_can_never_find_a_copy() -> None:
    assert resolution(43, 1, 0.01, 0.1).detectable_share == pytest.approx(2.27, abs=0.005)


@given(
    st.integers(0, 300),
    st.integers(1, 3),
    st.sampled_from([0.01, 0.05, 0.07, 0.1, 0.2, 0.3]),
    st.sampled_from([0.01, 0.03, 0.1, 0.3, 1.0]),
)
def test_the_patients_needed_are_enough_and_one_fewer_is_not(
    patients: int, scores: int, q: float, wanted: float
) -> None:
    needed = resolution(patients, scores, q, wanted).patients_needed
    finer = resolution(patients + needed, scores, q, wanted)
    assert finer.is_enough
    assert finer.detectable_share <= wanted
    if needed:
        assert resolution(patients + needed - 1, scores, q, wanted).detectable_share > wanted
