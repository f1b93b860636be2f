from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lichen.audit import find_score, register, score_names
from lichen.audit.pearson import prepare, unit_rows, varying_voxels
from lichen.audit.scores import NEIGHBOURS, Nearest, Pool, Score, Search
from lichen.audit.tiles import MOST_ROWS, Grid
from lichen.errors import AuditError
from lichen.progress import silent


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Thousands of tiny operations: a second thread only waits, and on a busy machine for long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _noise(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(seed))


def _everything(images: torch.Tensor) -> torch.Tensor:
    return torch.ones(images[0].numel(), dtype=torch.bool)


def _brute_force(queries: torch.Tensor, pool: torch.Tensor, patients: list[int], k: int) -> Nearest:
    """Pair by pair with numpy: the k best patients of each query, by each patient's best image."""
    mask = varying_voxels(pool).numpy()
    similarity = torch.full((len(queries), k), -torch.inf)
    index = torch.full((len(queries), k), -1)
    for row, query in enumerate(queries.flatten(1).double().numpy()[:, mask]):
        best: dict[int, tuple[float, int]] = {}
        for at, image in enumerate(pool.flatten(1).double().numpy()[:, mask]):
            if image.std() < 1e-9 or query.std() < 1e-9:
                continue
            correlation = float(np.corrcoef(query, image)[0, 1])
            if correlation > best.get(patients[at], (-np.inf, -1))[0]:
                best[patients[at]] = (correlation, at)
        for rank, (value, at) in enumerate(sorted(best.values(), reverse=True)[:k]):
            similarity[row, rank], index[row, rank] = value, at
    return Nearest(similarity, index)


def _search(
    queries: torch.Tensor, pool: torch.Tensor, patients: list[int], k: int = 3, grid: Grid | None = None
) -> Nearest:
    return prepare(pool, torch.tensor(patients), grid=grid)(queries, k=k, step=silent)


@given(
    data=st.data(),
    queries=st.integers(1, 7),
    pool=st.integers(1, 12),
    k=st.integers(1, 6),
    query_rows=st.integers(1, 8),
    pool_rows=st.integers(1, 13),
)
@settings(max_examples=60, deadline=None)
def test_the_best_patients_agree_with_a_pair_by_pair_search_for_every_block_size(
    data: st.DataObject, queries: int, pool: int, k: int, query_rows: int, pool_rows: int
) -> None:
    patients = data.draw(st.lists(st.integers(0, 4), min_size=pool, max_size=pool))
    blank = data.draw(st.sets(st.integers(0, pool - 1), max_size=3))
    asked, images = _noise(queries, 2, 3, 4, seed=queries), _noise(pool, 2, 3, 4, seed=pool + 100)
    for at in blank:
        images[at] = 0.25
    found = _search(asked, images, patients, k, Grid(query_rows, pool_rows))
    expected = _brute_force(asked, images, patients, k)
    torch.testing.assert_close(found.similarity, expected.similarity, atol=2e-6, rtol=0)
    assert found.index.equal(expected.index)


def test_the_next_nearest_are_other_patients_even_if_one_patient_has_the_closest_images() -> None:
    pool = _noise(6, 1, 8, 8)
    query = pool[:1].clone()
    pool[1], pool[2] = query[0] + 0.01 * pool[1], query[0] + 0.02 * pool[2]
    assert _search(query, pool, [0, 0, 0, 1, 2, 3], k=4).index[0, 0] == 0
    assert set(_search(query, pool, [0, 0, 0, 1, 2, 3], k=4).index[0, 1:].tolist()) == {3, 4, 5}


def test_fewer_patients_than_asked_for_leave_empty_places() -> None:
    found = _search(_noise(2, 1, 4, 4), _noise(3, 1, 4, 4, seed=1), [5, 5, 9], k=4)
    assert torch.isinf(found.similarity[:, 2:]).all()
    assert (found.index[:, 2:] == -1).all()
    assert torch.isfinite(found.similarity[:, :2]).all()


def test_gain_and_offset_of_an_image_do_not_change_its_correlations() -> None:
    queries, pool = _noise(5, 1, 8, 8), _noise(9, 1, 8, 8, seed=1)
    gain = torch.tensor([0.1, 1.0, 3.0, 50.0, 0.5]).reshape(-1, 1, 1, 1)
    patients = list(range(9))
    plain = _search(queries, pool, patients)
    for other in (_search(queries * gain + 7.0, pool, patients), _search(queries, pool * 400.0 - 1000.0, patients)):
        torch.testing.assert_close(other.similarity, plain.similarity, atol=1e-5, rtol=0)
        assert other.index.equal(plain.index)


def test_the_order_of_training_images_does_not_matter() -> None:
    queries, pool = _noise(5, 1, 8, 8), _noise(40, 1, 8, 8, seed=1)
    patients = torch.arange(40) // 3
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    plain = _search(queries, pool, patients.tolist(), grid=Grid(MOST_ROWS, 7))
    mixed = _search(queries, pool[order], patients[order].tolist(), grid=Grid(MOST_ROWS, 7))
    torch.testing.assert_close(mixed.similarity, plain.similarity, atol=1e-6, rtol=0)
    assert order[mixed.index].equal(plain.index)


def test_a_constant_image_has_no_correlation() -> None:
    queries = torch.cat([torch.full((1, 1, 8, 8), 0.3), _noise(1, 1, 8, 8)])
    pool = torch.cat([torch.full((2, 1, 8, 8), -1.0), _noise(2, 1, 8, 8, seed=1)])
    found = _search(queries, pool, [0, 1, 2, 3])
    assert found.similarity[0].tolist() == [-torch.inf] * 3
    assert found.index[0].tolist() == [-1] * 3
    assert sorted(found.index[1].tolist()) == [-1, 2, 3]


def test_nothing_is_near_when_every_training_image_is_constant() -> None:
    found = _search(_noise(2, 1, 4, 4), torch.full((3, 1, 4, 4), 0.5), [0, 1, 2])
    assert torch.isinf(found.similarity).all()


def test_an_image_correlates_fully_with_itself_and_oppositely_with_its_inverse() -> None:
    pool = _noise(1, 3, 4, 5, 6)
    found = _search(torch.cat([pool, -pool]), pool, [0], k=1)
    torch.testing.assert_close(found.similarity, torch.tensor([[1.0], [-1.0]]))
    assert found.similarity.max() <= 1.0


def test_background_where_training_images_hardly_differ_is_masked() -> None:
    images = torch.full((20, 1, 6, 6), -1.0)
    images[:, :, 2:4, 2:4] = _noise(20, 1, 2, 2)
    images[:, :, 0, 0] += 0.001 * torch.arange(20).reshape(-1, 1)
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[2:4, 2:4] = True
    assert varying_voxels(images).reshape(6, 6).equal(expected)


def test_a_common_background_no_longer_makes_strangers_alike() -> None:
    body = torch.zeros(21, 1, 16, 16)
    body[:, :, 4:12, 4:12] = 1.0 + 0.2 * _noise(21, 1, 8, 8)
    rows, _ = unit_rows(body, _everything(body))
    unmasked = (rows[:1] @ rows[1:].T).max()
    masked = _search(body[:1], body[1:], list(range(20)), k=1).similarity[0, 0]
    assert unmasked > 0.9
    assert masked < 0.5


def test_all_voxels_count_when_the_training_images_are_equal() -> None:
    assert varying_voxels(_noise(1, 1, 4, 4).expand(3, -1, -1, -1)).all()


def test_small_contrast_on_large_values_keeps_its_correlation() -> None:
    # Summed in float32, the mean of these values is off by as much as their contrast.
    large = 1_000_000.0 + (4 * _noise(4, 1, 65, 65)).round()
    rows, contrast = unit_rows(large, _everything(large))
    assert contrast.all()
    exact = torch.from_numpy(np.corrcoef(large.flatten(1).double().numpy()))
    torch.testing.assert_close((rows @ rows.T).double(), exact, atol=2e-6, rtol=0)


def test_progress_counts_every_query_once() -> None:
    seen: list[int] = []
    prepare(_noise(5, 1, 4, 4), torch.arange(5), grid=Grid(3, 5))(_noise(8, 1, 4, 4), k=2, step=seen.append)
    assert seen == [3, 3, 2]


def test_an_unknown_score_names_the_nearest_known_one() -> None:
    with pytest.raises(AuditError, match="pearsn") as error:
        find_score("pearsn")
    assert error.value.fix == "use --audit.scores pearson"


def test_a_score_of_ones_own_is_found_by_name_and_no_name_is_taken_twice() -> None:
    def prepare_own(pool: Pool) -> Search:
        return prepare(pool.images, pool.patients)

    own = Score("test-own-score", prepare_own, "none known")
    register(own)
    register(own)
    assert find_score("test-own-score") is own
    assert "pearson" in score_names()
    with pytest.raises(AuditError, match="test-own-score"):
        register(Score("test-own-score", prepare_own, "another"))
    assert NEIGHBOURS == 6
