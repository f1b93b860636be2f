"""Searches among generators: what is known of a candidate before it is trained, and why one has no quality."""

from __future__ import annotations

import pytest

from lichen.config import ImagesConfig, RunConfig
from lichen.errors import ConfigError
from lichen.searching.generation import Generation, _unmeasured


def test_candidates_that_could_not_be_judged_are_refused_before_they_are_probed() -> None:
    config = RunConfig(images=ImagesConfig(phantom_patients=6, held_out_fraction=0.5))
    with pytest.raises(ConfigError, match=r"by 3 held-out patients beside 3 of training, and .* takes 4 of each"):
        Generation().expect(config, 100)


def test_a_generation_without_a_quality_says_what_is_too_few() -> None:
    images = {"train_patients": 9, "held_out_patients": 2}
    assert _unmeasured(images, 100).endswith("there are 2 held-out patients")
    assert _unmeasured(images, 8).endswith("there are 2 held-out patients and 8 images drawn")
