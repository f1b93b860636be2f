from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lichen.audit import find_score
from lichen.audit.relative import relative_to_next
from lichen.audit.scores import Pool
from lichen.audit.ssim import Local, SsimSearch, prepare, ssim_map
from lichen.progress import silent


def _noise(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed))


def _map(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return ssim_map(Local.of(one), Local.of(other))


def _naive(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Equation 13 voxel by voxel in float64, the window cut off at the edges."""
    found = np.empty(one.shape)
    for at in np.ndindex(one.shape):
        near = tuple(slice(max(0, i - 5), i + 6) for i in at)
        squared = sum((axis - i) ** 2 for axis, i in zip(np.mgrid[tuple(map(slice, one.shape))], at, strict=True))
        weight = np.exp(-0.5 * squared[near] / 1.5**2)
        weight /= weight.sum()
        x, y = one[near], other[near]
        mx, my = (weight * x).sum(), (weight * y).sum()
        vx, vy = (weight * (x - mx) ** 2).sum(), (weight * (y - my) ** 2).sum()
        covariance = (weight * (x - mx) * (y - my)).sum()
        c1, c2 = 0.01**2, 0.03**2
        found[at] = (2 * mx * my + c1) * (2 * covariance + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("size", [(13, 17), (7, 6, 5)])
def test_the_map_agrees_with_the_equation_written_out_voxel_by_voxel(size: tuple[int, ...]) -> None:
    one, other = _noise(2, 1, *size).double(), _noise(2, 1, *size, seed=1).double()
    found = _map(one, other)
    for image in range(2):
        expected = _naive(one[image, 0].numpy(), other[image, 0].numpy())
        np.testing.assert_allclose(found[image, 0].numpy(), expected, atol=1e-12)


def test_images_without_contrast_leave_the_ratio_of_their_means() -> None:
    dark, bright = (torch.full((1, 1, 9, 9), value, dtype=torch.float64) for value in (0.2, 0.6))
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    torch.testing.assert_close(_map(dark, bright), torch.full_like(dark, expected))


def test_an_image_is_1_with_itself_and_below_0_with_its_negative() -> None:
    image = _noise(1, 1, 16, 16)
    torch.testing.assert_close(_map(image, image), torch.ones_like(image))
    assert float(_map(image, 1 - image).mean()) < 0


def _people(patients: int, *size: int) -> torch.Tensor:
    return 2 * _noise(patients, 1, *size, seed=3) - 1


@pytest.mark.parametrize("size", [(16, 16), (8, 10, 6)])
def test_a_copy_under_noise_is_nearest_to_its_patient_and_a_stranger_near_to_none(size: tuple[int, ...]) -> None:
    pool = _people(12, *size)
    queries = torch.cat([pool[7:8] + 0.1 * torch.randn(pool[:1].shape), 2 * _noise(1, 1, *size, seed=99) - 1])
    found = prepare(pool, torch.arange(12))(queries, k=3, step=silent)
    assert int(found.index[0, 0]) == 7
    assert float(found.similarity[0, 0]) > 0.8
    assert float(found.similarity[1, 0]) < 0.4


def test_the_search_finds_the_mean_over_voxels_that_are_not_background_channel_by_channel() -> None:
    pool = _noise(8, 2, 16, 16)
    pool[:, 0, :10] = 0.5  # background of the first channel, so that its few voxels weigh as much as the second's many
    pool[0, 1, 0, :2] = torch.tensor([0.0, 1.0])  # so that the values are brought to [0, 1] as they are
    query = _noise(1, 2, 16, 16, seed=5)
    similarity, index = prepare(pool, torch.arange(8)).compare(query, k=8)
    for value, at in zip(similarity[0].tolist(), index[0].tolist(), strict=True):
        by_voxel = _map(query, pool[at : at + 1])[0]
        assert value == pytest.approx(float((by_voxel[0, 10:].mean() + by_voxel[1].mean()) / 2), abs=1e-5)


def test_similarities_are_relative_to_the_next_patients_and_each_patient_counts_once() -> None:
    pool = _people(10, 16, 16)
    patients = torch.tensor([0, 0, 0, 1, 2, 3, 4, 5, 6, 7])
    search = prepare(pool, patients)
    absolute, _ = search.compare(pool[:2], k=6)
    found = search(pool[:2], k=4)
    assert found.similarity.shape == found.index.shape == (2, 4)
    torch.testing.assert_close(found.similarity, relative_to_next(absolute, 5)[:, :4])
    for row in found.index.tolist():
        assert len({int(patients[at]) for at in row}) == 4


def test_every_block_size_gives_the_same_and_each_query_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, queries = _people(9, 12, 12), _noise(5, 1, 12, 12)
    search, steps = prepare(pool, torch.arange(9)), list[int]()
    whole = search(queries, k=6)
    monkeypatch.setattr("lichen.audit.ssim.BLOCK_BYTES", 1)
    single = search(queries, k=6, step=steps.append)
    torch.testing.assert_close(single.similarity, whole.similarity)
    assert single.index.equal(whole.index)
    assert steps == [1] * 5


def test_a_constant_query_and_patients_that_do_not_exist_are_near_to_nothing() -> None:
    search = prepare(_people(3, 12, 12), torch.arange(3))
    found = search(torch.stack([torch.zeros(1, 12, 12), _noise(1, 1, 12, 12)[0]]), k=6)
    assert found.similarity[0].tolist() == [-math.inf] * 6
    assert found.similarity[1, 3:].tolist() == [-math.inf] * 3
    assert found.index[1, 3:].tolist() == [-1] * 3
    assert bool(found.similarity[1, :3].isfinite().all())
    assert search(torch.empty(0, 1, 12, 12), k=6).similarity.shape == (0, 6)


def test_a_constant_pool_is_searched_without_finding_anything() -> None:
    found = prepare(torch.zeros(3, 1, 12, 12), torch.arange(3))(_noise(2, 1, 12, 12), k=6)
    assert bool((found.similarity == -math.inf).all())


def test_ssim_is_a_score_by_name_and_says_that_it_does_not_align() -> None:
    score = find_score("ssim")
    assert isinstance(score.prepare(Pool(_people(3, 12, 12), torch.arange(3))), SsimSearch)
    assert "nothing is aligned" in score.blind_spots
