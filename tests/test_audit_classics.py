from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from lichen.audit import find_score
from lichen.audit.classics import classics, dar, highest_correlation, prepare_akbar
from lichen.audit.encoder import train_encoder
from lichen.audit.scores import Pool
from lichen.errors import AuditError
from lichen.images.types import ImageSet


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _vectors(count: int, numbers: int, seed: int) -> torch.Tensor:
    return torch.randn((count, numbers), generator=torch.Generator().manual_seed(seed))


def _people(count: int, name: str, seed: int) -> ImageSet:
    voxels = _vectors(count, 144, seed).reshape(count, 1, 12, 12) / 5
    names = tuple(f"{name}-{at}" for at in range(count))
    return ImageSet(voxels, names, names, np.eye(4))


def _mean_shares(*, matched: bool) -> tuple[float, float]:
    """Over ten draws of 904 training, 226 validation and 904 synthetic vectors, none a copy."""
    found = []
    for seed in range(0, 30, 3):
        synthetic, train, validation = (_vectors(n, 32, seed + i) for i, n in enumerate((904, 904, 226)))
        result = dar(synthetic, train, validation, matched=matched, seed=seed)
        found.append((result.flagged_share, result.memorised_share))
    flagged, memorised = np.mean(found, axis=0)
    return float(flagged), float(memorised)


def test_the_published_rule_flags_a_seventh_of_the_innocent_because_the_validation_pool_is_smaller() -> None:
    flagged, memorised = _mean_shares(matched=False)
    assert 0.11 < flagged < 0.19
    assert 0.11 < memorised < 0.19


def test_with_matched_pools_the_rule_flags_about_5_percent_of_the_innocent() -> None:
    flagged, memorised = _mean_shares(matched=True)
    assert 0.035 < flagged < 0.065
    assert 0.035 < memorised < 0.065


def test_with_pools_of_equal_size_the_published_rule_is_right_too() -> None:
    sets = [_vectors(600, 32, seed) for seed in range(3)]
    published = dar(sets[0], sets[1], sets[2], matched=False)
    assert published.threshold == published.train_threshold
    assert 0.02 < published.flagged_share < 0.09


def test_the_thresholds_and_shares_are_those_of_all_pairs_written_out() -> None:
    synthetic, train, validation = (_vectors(n, 8, seed) for seed, n in enumerate((30, 40, 50)))
    between = np.corrcoef(torch.cat([synthetic, train, validation]))
    to_train, to_synthetic = between[:30, 30:70].max(1), between[30:70, :30].max(1)
    threshold = np.quantile(between[30:70, 70:].max(1), 0.95)
    published = dar(synthetic, train, validation, matched=False)
    assert published.threshold == pytest.approx(threshold, abs=1e-5)
    assert published.flagged_share == pytest.approx((to_train > threshold).mean())
    assert published.memorised_share == pytest.approx((to_synthetic > threshold).mean())
    matched = dar(synthetic, train, validation, matched=True)
    assert matched.threshold == pytest.approx(np.quantile(between[70:, 30:70].max(1), 0.95), abs=1e-5)
    assert matched.flagged_share == pytest.approx((to_train > matched.threshold).mean())
    # All 30 synthetic vectors are searched, and as many of the validation vectors.
    assert matched.memorised_share == pytest.approx((to_synthetic > matched.train_threshold).mean())
    assert matched.train_threshold < np.quantile(between[30:70, 70:].max(1), 0.95)


@pytest.mark.parametrize("matched", [False, True])
def test_copies_are_flagged_and_their_originals_counted_as_memorised(matched: bool) -> None:
    synthetic, train, validation = (_vectors(n, 32, seed) for seed, n in enumerate((100, 100, 100)))
    synthetic[:40] = train[:40] + 0.05 * synthetic[:40]
    found = dar(synthetic, train, validation, matched=matched)
    assert 0.4 <= found.flagged_share < 0.55
    assert 0.4 <= found.memorised_share < 0.55


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_empty_set_is_named_and_not_compared(empty: int) -> None:
    sets = [_vectors(0 if at == empty else 5, 4, at) for at in range(3)]
    with pytest.raises(AuditError, match=("synthetic", "training", "validation")[empty]):
        dar(sets[0], sets[1], sets[2], matched=True)


def test_where_nothing_can_be_compared_nothing_is_flagged() -> None:
    found = dar(_vectors(5, 4, 0), _vectors(5, 4, 1), torch.zeros(3, 4), matched=True)
    assert (found.threshold, found.flagged_share, found.memorised_share) == (math.inf, 0.0, 0.0)


def test_the_highest_plain_correlation_is_that_of_all_pairs_with_no_mask() -> None:
    queries, train = _vectors(6, 40, 0).reshape(6, 1, 5, 8), _vectors(9, 40, 1).reshape(9, 1, 5, 8)
    train[:, :, :2] = -1.0  # background, which counts here
    queries[:, :, :2] = -1.0
    expected = np.corrcoef(queries.flatten(1), train.flatten(1))[:6, 6:].max(1)
    found = highest_correlation(queries, train)
    np.testing.assert_allclose(found.values.numpy(), expected, atol=1e-5)
    assert found.mean == pytest.approx(expected.mean(), abs=1e-5)
    assert found.largest == pytest.approx(expected.max(), abs=1e-5)


def test_constant_images_do_not_count_in_the_mean_of_the_highest() -> None:
    train = _vectors(4, 40, 1)
    assert highest_correlation(torch.stack([train[0], torch.zeros(40)]), train).mean == pytest.approx(1.0)
    nothing = highest_correlation(torch.zeros(2, 40), train)
    assert nothing.mean is None
    assert nothing.largest is None


def test_akbar_is_a_score_by_name() -> None:
    pool = _vectors(4, 36, 0).reshape(4, 1, 6, 6)
    found = find_score("akbar").prepare(Pool(pool, torch.arange(4)))(pool, k=1, step=lambda _: None)
    assert found.index[:, 0].tolist() == [0, 1, 2, 3]
    assert prepare_akbar(pool, torch.arange(4)).mask.all()


def test_the_classics_tell_a_set_full_of_copies_from_one_without() -> None:
    train, reference, synthetic = _people(30, "train", 0), _people(20, "new", 1), _people(24, "made", 2)
    encoder = train_encoder(train.voxels, torch.arange(30), steps=1)
    copied = replace(synthetic, voxels=train.voxels[:24])
    plain, published, matched = classics(copied, train, reference, encoder=encoder)
    assert [plain.name, published.name, matched.name] == ["akbar", "dar, as published", "dar, pools matched"]
    assert (plain.threshold, plain.flagged_share, plain.memorised_share) == (None, None, None)
    assert "synthetic images mean 1.000, largest 1.000" in plain.words
    assert published.flagged_share == matched.flagged_share == 1.0
    assert published.memorised_share is not None
    assert 0.8 <= published.memorised_share < 0.95
    assert matched.threshold is not None
    assert (
        f"100.0% of the synthetic images are nearer to a training image than {matched.threshold:.3f}" in matched.words
    )
    innocent = classics(synthetic, train, reference, encoder=encoder)[2]
    assert innocent.flagged_share is not None
    assert innocent.flagged_share < 0.3


def test_the_classics_train_an_encoder_on_the_training_images_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    train = _people(6, "train", 0)
    trained = []

    def watched(images: torch.Tensor, patients: torch.Tensor, *, seed: int) -> torch.nn.Module:
        trained.append((images, patients.tolist(), seed))
        return train_encoder(images, patients, steps=1, seed=seed)

    monkeypatch.setattr("lichen.audit.classics.train_encoder", watched)
    classics(_people(4, "made", 2), replace(train, patients=("a", "b", "a", "c", "c", "d")), _people(4, "new", 1), 7)
    ((images, patients, seed),) = trained
    assert images.equal(train.voxels)
    assert patients == [0, 1, 0, 2, 2, 3]
    assert seed == 7
