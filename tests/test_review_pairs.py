"""Which pairs a person looks at, and that the synthetic image comes to lie on the training image."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from lichen.audit import AuditResult, Names, audit, motion
from lichen.audit.reviewed import audit_digest
from lichen.chain.auditing import Audited
from lichen.chain.reviewing import Motion, chosen, make_review, motion_words, overlaid, review_pairs
from lichen.config import AuditConfig
from lichen.images import ImageSet, load_set, open_folder
from lichen.report.review import FILE_NAME, MOST_VOXELS, most_pairs

SIZE = (32, 28)
Sets = tuple[ImageSet, ImageSet, AuditResult]


def waves(size: tuple[int, ...], seed: int) -> torch.Tensor:
    """A smooth image (1, *S) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, count) for count in size], indexing="ij")
    image = torch.zeros(size)
    for _ in range(40):
        way, phase = 7 * torch.randn(len(size), generator=generator), torch.rand(1, generator=generator)
        image += torch.cos(sum(w * axis for w, axis in zip(way, axes, strict=True)) + 6.3 * phase)
    return (image / image.abs().max())[None]


def people(what: str, count: int, seed: int) -> ImageSet:
    names = tuple(f"{what}-{i}" for i in range(count))
    voxels = torch.stack([waves(SIZE, seed + i) for i in range(count)])
    return ImageSet(voxels, tuple(f"{name}.png" for name in names), names, np.eye(4))


@pytest.fixture(scope="module")
def sets() -> Sets:
    train, reference, synthetic = people("train", 6, 0), people("other", 9, 100), people("made", 6, 200)
    synthetic.voxels[1] = train.voxels[4].flip(-1)
    synthetic.voxels[3] = train.voxels[2]
    synthetic.voxels[5] = 0.5
    return synthetic, train, audit(synthetic, train, reference, AuditConfig(scores=("aligned",)))


def test_flagged_pairs_come_first_and_what_was_compared_with_nothing_never(
    sets: Sets,
) -> None:
    synthetic, train, result = sets
    pairs = review_pairs(result, synthetic, train, Names("0" * 64))
    assert [pair.number for pair in pairs] == [1, 2, 3, 4, 5]
    assert pairs[0].file == "made-3.png"
    assert pairs[0].is_identical
    assert {pair.file for pair in pairs} == {f"made-{i}.png" for i in range(5)}
    order = [(not pair.is_flagged, pair.p_value) for pair in pairs]
    assert order == sorted(order)
    assert sum(pair.is_flagged for pair in pairs) == len(result.copies)
    for pair in pairs:
        found = next(finding for finding in result.findings if finding.name == pair.file)
        assert np.array_equal(pair.synthetic, synthetic.voxels[synthetic.names.index(pair.file)])
        assert np.array_equal(pair.training, train.voxels[train.names.index(str(found.nearest_image))])
        assert re.fullmatch("patient-[0-9a-f]{12} image-[0-9a-f]{12}", f"{pair.patient} {pair.image}")
        assert pair.scores == found.similarities


def test_the_most_unusual_ones_are_kept_where_fewer_are_asked_for(
    sets: Sets,
) -> None:
    result = sets[2]
    everybody = chosen(result, 99)
    assert list(chosen(result, 2)) == list(everybody)[:2]
    assert len(everybody) == 5
    assert most_pairs((1, 64, 64), 50) == 50
    assert most_pairs((1, 128, 128, 128), 50) == MOST_VOXELS // (3 * 128**3) == 21
    assert most_pairs((4, 512, 512, 512), 50) == 1


@pytest.mark.parametrize(
    ("size", "spacing", "flip"),
    [
        ((48, 40), (1.0, 1.0), False),
        ((48, 40), (1.0, 1.0), True),
        ((40, 44), (1.0, 1.3), False),
        ((16, 20, 14), (1.0, 1.0, 1.5), True),
    ],
)
def test_a_moved_copy_is_laid_over_its_training_image(
    size: tuple[int, ...], spacing: tuple[float, ...], flip: bool
) -> None:
    dims = len(size)
    axis = torch.tensor([[0.0, 0.6, 0.8]]) if dims == 3 else None
    matrix = motion.shift(torch.tensor([[1.5] + [0.0] * (dims - 1)]))
    matrix = matrix @ motion.rotation(torch.tensor([6.0]), axis, spacing) @ motion.zoom(torch.tensor([1.05]), dims)
    fixed = waves(size, 1)
    query = motion.warp(fixed[None], matrix)[0]
    if flip:
        query = query.flip(1 + motion.left_right(dims))
    found, aligned = overlaid(query, fixed, spacing)
    assert aligned.shape == fixed.shape
    shown = ~np.isnan(aligned)
    assert 0.6 < shown.mean() < 1

    def agreement_with(image: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
        return float(np.corrcoef(image[shown], fixed.numpy()[shown])[0, 1])

    assert agreement_with(aligned) > 0.92
    assert agreement_with(query.numpy()) < 0.8
    assert found.mirror is flip
    assert found.rotation_deg == pytest.approx(6, abs=1.5)
    assert found.zoom == pytest.approx(1.05, abs=0.035)
    assert math.hypot(*found.shift) == pytest.approx(1.5, abs=0.5)


def test_an_identical_image_is_not_moved_and_keeps_every_voxel() -> None:
    image = waves((32, 32), 3)
    found, aligned = overlaid(image, image, (1.0, 1.0))
    assert motion_words(found) == "not moved"
    np.testing.assert_allclose(aligned, image, atol=1e-5)


def test_motions_are_told_in_words_and_what_an_alignment_leaves_of_none_is_not() -> None:
    assert motion_words(Motion(True, 5.12, (3.0, -4.0), 1.05)) == (
        "turned by 5.1 degrees, zoomed by 1.05, shifted by 5.0 voxels, mirrored"
    )
    assert motion_words(Motion(False, 0.4, (0.3, 0.3), 0.995)) == "not moved"
    assert motion_words(Motion(True, 0.0, (0.0, 0.0), 1.0)) == "mirrored"
    assert motion_words(Motion(False, 0.0, (0.0, 0.0, 0.0), 0.93)) == "zoomed by 0.93"


def test_the_page_is_for_its_owner_alone_and_bound_to_the_audit(
    sets: tuple[ImageSet, ImageSet, AuditResult], tmp_path: Path
) -> None:
    synthetic, train, result = sets
    old = os.umask(0o002)
    try:
        path = make_review(Audited(result, synthetic, train, {"a": "b"}, {}), tmp_path, most=1)
    finally:
        os.umask(old)
    assert path == tmp_path / FILE_NAME
    assert "CONTAINS-PATIENT-IMAGES" in path.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    html = path.read_text("utf-8")
    block = re.search(r'id="review-data">(.*?)</script>', html)
    assert block is not None
    data = json.loads(block[1])
    assert data["audit_sha256"] == audit_digest(result.findings, {"a": "b"})
    assert len(data["pairs"]) == 1
    assert "4 more are not shown" in html
    for name in (*train.names, *train.patients):
        assert name not in html


def test_a_moved_copy_of_a_real_image_is_laid_over_it(data_dir: Path) -> None:
    source = open_folder(data_dir / "chest-xray-pediatric", patient_column="group")
    fixed = load_set(source.items[:1], (64, 64)).voxels[0]
    moved = motion.shift(torch.tensor([[2.0, -2.0]])) @ motion.rotation(torch.tensor([6.0]))
    query = motion.warp(fixed[None], motion.mirror(1, 2) @ moved)[0]
    found, aligned = overlaid(query, fixed, (1.0, 1.0))
    shown = ~np.isnan(aligned)
    assert found.mirror
    assert np.corrcoef(aligned[shown], fixed.numpy()[shown])[0, 1] > 0.95
    assert np.corrcoef(query.numpy()[shown], fixed.numpy()[shown])[0, 1] < 0.85
