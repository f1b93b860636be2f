"""What is found out about real images before any score: duplicates, shared patients, patients with very many images."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lichen.audit import audit, summary
from lichen.audit.checks import fingerprints, with_many_images
from lichen.audit.duplicates import find_duplicates
from lichen.audit.names import Names
from lichen.audit.planted import DISTURBANCES
from lichen.config import AuditConfig
from lichen.errors import AuditError
from lichen.images import load_set, open_folder
from lichen.images.phantoms import phantom_source
from lichen.images.types import ImageSet

PLAIN = AuditConfig(scores=("pearson",), self_test=0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def people() -> ImageSet:
    """Two images of each of 40 made-up patients, 64 x 64."""
    return load_set(phantom_source("2d", 40, images_per_patient=2).items, (64, 64))


def part(images: ImageSet, start: int, stop: int) -> ImageSet:
    """Some images of a set."""
    at = slice(start, stop)
    return replace(images, voxels=images.voxels[at].clone(), names=images.names[at], patients=images.patients[at])


def test_different_images_of_a_patient_and_of_others_are_no_duplicates(people: ImageSet) -> None:
    found = find_duplicates(part(people, 0, 50), part(people, 50, 80), [None] * 50)
    assert (found.repeated, found.within_training, found.with_held_out, found.many_images) == (0, (), (), ())


@pytest.mark.parametrize("name", ["exact", "blur 1 px", "rotation 2 degrees", "gamma 0.5", "JPEG 30"])
def test_an_image_that_is_another_patients_after_small_changes_is_found_and_both_are_named(
    people: ImageSet, name: str
) -> None:
    train, held_out = part(people, 0, 50), part(people, 50, 80)
    train.voxels[41] = DISTURBANCES[name](train.voxels[6:7], seed=0, indices=[0])[0]
    held_out.voxels[3] = DISTURBANCES[name](train.voxels[12:13], seed=0, indices=[1])[0]
    found = find_duplicates(train, held_out, fingerprints(train.voxels))
    within, across = (
        {(pair.image, pair.other_image): pair for pair in pairs}
        for pairs in (found.within_training, found.with_held_out)
    )
    assert (train.names[12], held_out.names[3]) in across
    assert within[train.names[6], train.names[41]].is_identical == (name == "exact")
    # the other image of the same made-up patient is nearly the same too; nobody else's is
    assert {(a.rpartition("-")[0], b) for a, b in within} == {(train.patients[6], train.names[41])}
    assert {(a.rpartition("-")[0], b) for a, b in across} == {(train.patients[12], held_out.names[3])}
    assert found.repeated == (name == "exact")


def test_more_identical_images_than_neighbours_are_all_found_and_a_patients_own_are_only_counted(
    people: ImageSet,
) -> None:
    train = part(people, 0, 40)
    train.voxels[0:20] = train.voxels[0]
    found = find_duplicates(train, part(people, 50, 60), fingerprints(train.voxels))
    assert found.repeated == 19
    assert {pair.other_image for pair in found.within_training if pair.is_identical} == set(train.names[2:20])


def test_of_small_images_only_identical_ones_are_told_and_the_audit_says_so() -> None:
    small = load_set(phantom_source("2d", 16, images_per_patient=1).items, (16, 16))
    train, held_out = part(small, 0, 8), part(small, 8, 14)
    train.voxels[1], train.voxels[3] = train.voxels[0], 0.999 * train.voxels[2]
    found = audit(part(small, 14, 16), train, held_out, PLAIN)
    assert found.duplicates is not None
    assert [pair.other_image for pair in found.duplicates.within_training] == [train.names[1]]
    assert any("too small for near-duplicates" in words for words in found.limitations)


def test_a_patient_with_over_five_times_the_median_and_at_least_ten_images_is_told() -> None:
    usual = [f"p{i}" for i in range(9) for _ in range(2)]
    assert with_many_images(usual + ["many"] * 11) == (("many", 11),)
    assert with_many_images(usual + ["many"] * 10) == ()
    assert with_many_images([f"p{i}" for i in range(9)] + ["many"] * 9) == ()
    assert with_many_images([f"p{i}" for i in range(9)] + ["b"] * 12 + ["a"] * 12) == (("a", 12), ("b", 12))


def test_shared_patients_are_refused_and_on_request_do_not_calibrate(people: ImageSet) -> None:
    train, synthetic = part(people, 0, 40), part(people, 70, 80)
    held_out = part(people, 38, 60)  # the first two are training images
    with pytest.raises(AuditError) as error:
        audit(synthetic, train, held_out, PLAIN)
    assert "--audit.allow-overlap" in error.value.fix
    found = audit(synthetic, train, held_out, replace(PLAIN, allow_overlap=True))
    assert found.duplicates is not None
    assert found.duplicates.left_out == (held_out.patients[0],)
    assert found.resolution.patients == found.counts.reference_patients == 10
    assert len(found.calibration["pearson"]) == 10
    assert max(found.calibration["pearson"]) < 0.999
    assert any("left out, being training patients too: 1 held-out patient" in words for words in found.limitations)
    assert "1 shared patient left out" in summary(found, Names("0" * 64))


def test_a_patient_shared_by_an_image_under_another_name_is_left_out_with_all_images(people: ImageSet) -> None:
    train, held_out = part(people, 0, 40), part(people, 40, 60)
    held_out.voxels[5] = train.voxels[9]
    found = audit(part(people, 70, 80), train, held_out, replace(PLAIN, allow_overlap=True))
    assert found.duplicates is not None
    assert found.duplicates.left_out == (held_out.patients[5],)
    assert found.counts.reference_images == 18


def test_where_all_held_out_patients_are_training_patients_nothing_can_be_said(people: ImageSet) -> None:
    train = part(people, 0, 40)
    with pytest.raises(AuditError, match="every held-out patient is a training patient"):
        audit(part(people, 70, 80), train, part(people, 0, 10), replace(PLAIN, allow_overlap=True))


def test_a_held_out_image_that_is_nearly_a_training_image_is_told(people: ImageSet) -> None:
    train, held_out = part(people, 0, 40), part(people, 40, 60)
    held_out.voxels[5] = DISTURBANCES["JPEG 30"](train.voxels[9:10], seed=0, indices=[0])[0]
    found = audit(part(people, 70, 80), train, held_out, PLAIN)
    assert any("1 held-out image nearly a training image" in words for words in found.limitations)


def test_the_known_duplicates_among_chest_x_rays_are_found_and_no_two_children_are_taken_for_one(
    data_dir: Path,
) -> None:
    folder = data_dir / "chest-xray-pediatric"
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        known = {row["file"]: row["duplicate_of"] for row in csv.DictReader(file) if row["duplicate_of"]}
    items = open_folder(folder, patient_column="group").items
    wanted = {*known, *known.values()}
    kept = [item for number, item in enumerate(items) if item.name in wanted or number % 15 == 0]
    chests = load_set(kept, (64, 64))
    # as if nobody knew whose they are, half of the duplicates saved again with loss
    for name in sorted(known)[::2]:
        at = chests.names.index(name)
        chests.voxels[at] = DISTURBANCES["JPEG 30"](chests.voxels[at : at + 1].clamp(-1, 1), seed=0, indices=[0])[0]
    nobody = ImageSet(chests.voxels[:0], (), (), np.eye(4))
    found = find_duplicates(replace(chests, patients=chests.names), nobody, fingerprints(chests.voxels))
    group = dict(zip(chests.names, chests.patients, strict=True))
    pairs = {frozenset((pair.image, pair.other_image)) for pair in found.within_training}
    assert {frozenset(pair) for pair in known.items()} <= pairs
    assert all(len({group[name] for name in pair}) == 1 for pair in pairs)
