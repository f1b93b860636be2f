from __future__ import annotations

import numpy as np
import pytest

from lichen.audit.alarm import _law, set_p_value
from lichen.audit.conformal import conformal_p_values
from lichen.audit.fdr import benjamini_hochberg


def test_one_image_has_its_own_p_value() -> None:
    for p in (1 / 20, 5 / 20, 1.0):
        assert set_p_value(np.array([p]), 19, draws=20_000) == pytest.approx(p, abs=0.012)


def test_two_images_beyond_two_patients_are_as_rare_as_counting_says() -> None:
    # Of the 6 equally likely orders of two images and two patients one has both images first.
    assert set_p_value(np.array([1 / 3, 1 / 3]), 2, draws=20_000) == pytest.approx(1 / 6, abs=0.012)


def test_innocent_sets_seldom_have_a_small_p_value_where_benjamini_hochberg_often_flags_one() -> None:
    # Ten images beside 99 patients: a single image beyond all patients is flagged at 10 %.
    rng = np.random.default_rng(0)
    flagged, alarms = 0, 0
    for seed in range(500):
        p_values = conformal_p_values(rng.random(10), rng.random(99))
        hit = bool(benjamini_hochberg(p_values, 0.1).any())
        flagged += hit
        alarms += hit and set_p_value(p_values, 99, draws=200, seed=seed) <= 0.05
    assert flagged > 30
    assert alarms <= 0.07 * 500
    assert alarms < flagged


def test_many_images_beyond_all_patients_cannot_be_chance() -> None:
    p_values = np.concatenate([np.full(12, 0.01), np.full(88, 0.5)])
    assert benjamini_hochberg(p_values, 0.1).sum() == 12
    assert set_p_value(p_values, 99) < 0.005


def test_several_scores_and_no_patients_fall_back_on_the_statistic_of_simes() -> None:
    p_values = np.array([0.02, 0.04, 0.9])
    assert set_p_value(p_values, 99, scores=2) == pytest.approx(0.06)
    assert set_p_value(np.ones(3), 0) == 1.0
    assert set_p_value(np.array([]), 9) == 1.0


def test_the_draws_do_not_depend_on_how_they_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    p_values = np.array([0.1, 0.3, 0.3, 0.8])
    whole = set_p_value(p_values, 9, draws=500, seed=1)
    monkeypatch.setattr("lichen.audit.alarm._BLOCK", 13 * 7)
    _law.cache_clear()  # what was drawn in one piece
    assert set_p_value(p_values, 9, draws=500, seed=1) == whole
