from __future__ import annotations

import math

import pytest

from lichen.audit.wording import transform_json, transform_words


def test_an_alignment_is_told_in_degrees_shares_and_times() -> None:
    told = transform_json([0.05, -0.03, math.radians(6), math.log(1.1)], mirror=True)
    assert told["mirror"] is True
    assert told["rotation_deg"] == pytest.approx([6])
    assert told["shift"] == [0.05, -0.03]
    assert told["zoom"] == pytest.approx(1.1)
    volume = transform_json([0.0, 0.0, 0.1, math.radians(3), 0.0, math.radians(-4), 0.0], mirror=False)
    assert volume["rotation_deg"] == pytest.approx([3, 0, -4])
    assert volume["shift"] == [0.0, 0.0, 0.1]
    assert volume["zoom"] == 1.0


def test_words_tell_what_was_done_and_nothing_else() -> None:
    whole = transform_words([0.05, -0.03, math.radians(-6), math.log(1.1)], mirror=True)
    assert whole == "mirrored, turned by -6.0 degrees, shifted by 5 and -3 % of the field, zoomed 1.10 times"
    assert transform_words([0.0, 0.0, 0.0, 0.0], mirror=False) == "not moved"
    assert transform_words([0.001, 0.0, 0.0, 0.001], mirror=True) == "mirrored"
    turned = transform_words([0.0, 0.0, 0.1, math.radians(3), 0.0, math.radians(-4), 0.0], mirror=False)
    assert turned == "turned by 5.0 degrees, shifted by 0, 0 and 10 % of the field"
