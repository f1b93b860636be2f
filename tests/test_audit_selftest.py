from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from lichen.audit import find_score
from lichen.audit.conformal import maxima_by_patient
from lichen.audit.planted import DISTURBANCES
from lichen.audit.scores import Nearest, Pool, Search
from lichen.audit.selftest import SINGLE_TRANSFORMATIONS, SelfTest, self_test, self_test_steps
from lichen.images import ImageSet
from lichen.progress import Step, silent
from lichen.team import Team


@dataclasses.dataclass
class _Distance:
    """Similarity -|x - y| to the nearest training image; keeps what it was asked."""

    pool: Tensor
    asked: list[Tensor] = dataclasses.field(default_factory=list)

    def __call__(self, queries: Tensor, *, k: int, step: Step) -> Nearest:
        self.asked.append(queries)
        distance = torch.cdist(queries.flatten(1), self.pool.flatten(1))
        nearest = (-distance).sort(1, descending=True)
        step(len(queries))
        return Nearest(nearest.values[:, :k], nearest.indices[:, :k])


class _Apart(Team):
    """Processes that never hear of each other's part."""

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        pass


def _set(count: int, what: str, *, each: int = 1, size: tuple[int, ...] = (8, 8), seed: int = 0) -> ImageSet:
    """Invented images in [-1, 1], ``each`` of one patient; the larger the number, the farther from black."""
    images = torch.rand((count, 1, *size), generator=torch.Generator().manual_seed(seed)) - 0.5
    images += torch.linspace(-0.3, 0.3, count).reshape(-1, *[1] * (images.ndim - 1))
    names = tuple(f"{what}{at}" for at in range(count))
    return ImageSet(images, names, tuple(f"{what}-{at // each}" for at in range(count)), np.eye(4))


TRAIN, REFERENCE = _set(12, "t"), _set(20, "r", seed=1)


def _nulls(search: Search, reference: ImageSet) -> dict[str, dict[str, float]]:
    similarity = search(reference.voxels, k=6, step=silent).similarity[:, 0].double().numpy()
    return {"distance": maxima_by_patient(similarity, reference.patients)}


def _tested(
    train: ImageSet = TRAIN, reference: ImageSet = REFERENCE, *, level: float = 0.1, seed: int = 0, images: int = 30
) -> tuple[SelfTest, list[Tensor]]:
    search = _Distance(train.voxels)
    nulls = _nulls(search, reference)
    del search.asked[:]
    found = self_test({"distance": search}, nulls, train, reference, level=level, seed=seed, images=images)
    return found, search.asked


def test_exact_copies_are_all_found_and_untouched_new_patients_reach_the_level_as_often_as_ranks_do() -> None:
    for level in (0.1, 0.17, 0.25):
        exact = _tested(level=level)[0].tested[0]
        assert (exact.name, exact.copies, exact.new) == ("exact", 12, 20)
        assert exact.power == 1.0
        assert exact.false_positive_rate == int(level * 20) / 20


def test_a_disturbance_that_a_score_cannot_follow_hides_copies_from_it() -> None:
    found = {t.name: t for t in _tested()[0].tested}
    assert found["exact"].power == found["noise sd 0.05"].power == 1.0
    assert (found["inversion"].power or 0) < 0.3


def test_every_disturbance_is_told_and_a_round_trip_only_where_there_is_one() -> None:
    found, _ = _tested(images=3)
    assert [t.name for t in found.tested] == [d.name for d in DISTURBANCES.values() if not d.needs_round_trip]
    assert all(t.words == DISTURBANCES[t.name].words for t in found.tested)
    search = _Distance(TRAIN.voxels)
    nulls = _nulls(search, REFERENCE)
    given = self_test(
        {"distance": search}, nulls, TRAIN, REFERENCE, level=0.1, images=3, round_trip=lambda x: 0.999 * x
    )
    assert [t.name for t in given.tested] == list(DISTURBANCES)
    assert {t.name: t.power for t in given.tested}["autoencoder round trip"] == 1.0


def test_a_level_that_the_patients_cannot_reach_is_raised_to_one_that_they_can() -> None:
    few = ImageSet(REFERENCE.voxels[:4], REFERENCE.names[:4], REFERENCE.patients[:4], REFERENCE.affine)
    found, _ = _tested(reference=few, level=0.05)
    assert (found.level, found.new_level) == (1 / 5, 1 / 4)
    assert found.tested[0].power == 1.0
    assert found.tested[0].false_positive_rate == 1 / 4
    search = _Distance(TRAIN.voxels)
    two = {"distance": search, "again": search}
    null = _nulls(search, few)["distance"]
    both = self_test(two, dict.fromkeys(two, null), TRAIN, few, level=0.05, images=3)
    assert (both.level, both.new_level) == (2 / 5, 2 / 4)
    assert both.planted.shape == (2, 3 * len(SINGLE_TRANSFORMATIONS))
    assert (both.planted[0] == both.planted[1]).all()


def test_nothing_is_said_where_no_p_value_can_be_small() -> None:
    one = ImageSet(REFERENCE.voxels[:1], REFERENCE.names[:1], REFERENCE.patients[:1], REFERENCE.affine)
    found, _ = _tested(reference=one)
    assert found.tested[0].false_positive_rate is None
    assert found.tested[0].new == 0
    assert found.mean_false_positive_rate is None
    assert found.mean_power is not None


def test_copies_are_of_different_patients_while_there_are_enough() -> None:
    several = _set(12, "t", each=3)  # 4 patients
    for images, patients in ((3, [1, 1, 1]), (4, [1] * 4), (6, [1, 1, 2, 2]), (12, [3] * 4), (50, [3] * 4)):
        planted = _tested(several, images=images)[0].planted_patients
        once = planted[: len(planted) // len(SINGLE_TRANSFORMATIONS)]
        assert sorted(once.count(patient) for patient in set(once)) == patients
        assert planted == once * len(SINGLE_TRANSFORMATIONS)


def test_a_held_out_patient_is_judged_once_and_without_their_own_images() -> None:
    several = _set(20, "r", each=4, seed=1)  # 5 patients
    found, _ = _tested(reference=several, level=0.21)
    assert {t.new for t in found.tested} == {5}
    # The nearest patient has 4 images, and only the nearest of them surpasses all others.
    assert found.tested[0].false_positive_rate in {0.0, 1 / 5}


def test_images_without_contrast_are_passed_over() -> None:
    blank = TRAIN.voxels.clone()
    blank[:5] = 0.25
    train = ImageSet(blank, TRAIN.names, TRAIN.patients, TRAIN.affine)
    found, _ = _tested(train)
    assert found.tested[0].copies == 7
    assert set(found.planted_patients) == set(TRAIN.patients[5:])


def test_the_seed_decides_everything() -> None:
    first, second, other = (_tested(images=4, seed=seed)[0] for seed in (3, 3, 4))
    assert first.as_json() == second.as_json()
    assert (first.planted == second.planted).all()
    assert first.planted_patients == second.planted_patients
    assert first.planted_patients != other.planted_patients


def test_mixtures_need_a_second_image() -> None:
    lone = ImageSet(TRAIN.voxels[:1], TRAIN.names[:1], TRAIN.patients[:1], TRAIN.affine)
    found = {t.name: t for t in _tested(lone)[0].tested}
    for name in ("half an image in another", "mean of two"):
        assert (found[name].power, found[name].copies) == (None, 0)
        assert found[name].new == 20
    assert found["exact"].power == 1.0


def test_a_mixture_is_of_two_of_the_chosen_images() -> None:
    _, asked = _tested(images=3)
    names = [d.name for d in DISTURBANCES.values() if not d.needs_round_trip]
    exact, mean = (asked[names.index(name)] for name in ("exact", "mean of two"))
    torch.testing.assert_close(mean, (exact + exact[[1, 2, 0]]) / 2)


def test_grey_values_of_any_unit_are_disturbed_in_their_own() -> None:
    scaled = [ImageSet(s.voxels * 400 + 300, s.names, s.patients, s.affine) for s in (TRAIN, REFERENCE)]
    found, asked = _tested(*scaled)
    assert found.tested[0].power == 1.0
    assert asked[0].amax() > 300
    for exact in asked[0]:
        assert (scaled[0].voxels - exact).abs().flatten(1).amax(1).amin() < 1e-3


def test_a_hair_beyond_the_range_is_no_error() -> None:
    beyond = TRAIN.voxels.clone()
    beyond[:, 0, 0, 0] = 1 + 1e-6
    found, _ = _tested(ImageSet(beyond, TRAIN.names, TRAIN.patients, TRAIN.affine))
    assert found.tested[0].power == 1.0


def test_every_query_is_counted_and_the_number_is_known_beforehand() -> None:
    search = _Distance(TRAIN.voxels)
    nulls = _nulls(search, REFERENCE)
    for images, team in itertools.product((5, 30), (Team(), _Apart(1, 3))):
        counted: list[int] = []
        self_test(
            {"distance": search}, nulls, TRAIN, REFERENCE, level=0.1, images=images, step=counted.append, team=team
        )
        assert sum(counted) == self_test_steps(TRAIN, REFERENCE, scores=1, images=images)


def test_the_parts_of_a_team_are_the_whole() -> None:
    search = _Distance(TRAIN.voxels)
    nulls = _nulls(search, REFERENCE)
    alone, *parts = (
        self_test({"distance": search}, nulls, TRAIN, REFERENCE, level=0.1, images=7, team=team).planted
        for team in (Team(), *(_Apart(rank, 3) for rank in range(3)))
    )
    np.testing.assert_allclose(sum(parts), alone, rtol=1e-6)
    assert all((part == 0).any() for part in parts)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = _tested()
    monkeypatch.setattr("lichen.audit.selftest.BLOCK_BYTES", 700)
    small, asked = _tested()
    assert max(len(queries) for queries in asked) == 2
    np.testing.assert_allclose(small.planted, whole.planted, rtol=1e-5)
    assert small.as_json() == whole.as_json()


def test_scores_and_held_out_similarities_belong_together() -> None:
    search = _Distance(TRAIN.voxels)
    with pytest.raises(ValueError, match="pearson"):
        self_test({"pearson": search}, _nulls(search, REFERENCE), TRAIN, REFERENCE, level=0.1)


def test_pixel_correlation_finds_plain_copies_in_three_dimensions_and_misses_moved_ones() -> None:
    train, reference = _set(15, "t", size=(12, 10, 8)), _set(25, "r", size=(12, 10, 8), seed=1)
    search = find_score("pearson").prepare(Pool(train.voxels, torch.arange(15)))
    similarity = search(reference.voxels, k=6, step=silent).similarity[:, 0].double().numpy()
    nulls = {"pearson": maxima_by_patient(similarity, reference.patients)}
    found = self_test({"pearson": search}, nulls, train, reference, level=0.05, images=8, spacing=(1.0, 1.0, 2.0))
    told = found.as_json()
    assert told["exact"] == {
        "power": 1.0,
        "false_positive_rate": told["exact"]["false_positive_rate"],
        "n": 8,
        "n_new": 8,
    }
    assert told["gamma 2"]["power"] == 1.0
    assert told["mirror"]["power"] < 0.5
    assert found.mean_power is not None
    assert 0.2 < found.mean_power < 1
    singles = [told[name]["power"] for name in SINGLE_TRANSFORMATIONS]
    assert found.mean_power == pytest.approx(sum(singles) / len(singles))
