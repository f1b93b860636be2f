from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from lichen.audit import conformal_p_values, find_score
from lichen.audit.embedding import EmbeddingSearch, prepare
from lichen.audit.encoder import NUMBERS, Encoder, nt_xent, train_encoder
from lichen.audit.planted import DISTURBANCES
from lichen.audit.relative import relative_to_next
from lichen.audit.scores import Pool
from lichen.audit.views import random_views
from lichen.audit.warp import Frame
from lichen.progress import silent

FRAME = Frame((24, 24), (1.0, 1.0))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _people(count: int, *size: int, seed: int = 0) -> torch.Tensor:
    """Invented patients: waves of a body that all share and waves of their own, (count, 1, *size) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.Generator().manual_seed(1234)
    axes = [torch.linspace(-1, 1, side) for side in size]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(size))
    body = (points @ (3 * torch.randn((len(size), 20), generator=shared))).cos().sum(1)
    images = []
    for _ in range(count):
        waves = 6 * torch.randn((len(size), 40), generator=generator)
        phases = 2 * math.pi * torch.rand(40, generator=generator)
        images.append(body + (points @ waves + phases).cos().sum(1))
    voxels = torch.stack(images).reshape(count, 1, *size)
    return voxels / voxels.abs().amax()


def _nt_xent_of_pairs(rows: list[torch.Tensor], patients: list[int], temperature: float) -> float:
    """Equation 1 of Chen et al. pair by pair; views i and i + B are of one image."""
    count, total = len(rows) // 2, 0.0
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        near = np.corrcoef(rows[i], rows[partner])[0, 1] / temperature
        others = [k for k in range(2 * count) if patients[k % count] != patients[i % count]]
        far = [np.corrcoef(rows[i], rows[k])[0, 1] / temperature for k in others]
        total += math.log(sum(map(math.exp, [near, *far]))) - near
    return total / (2 * count)


def test_the_loss_agrees_with_the_equation_written_out_pair_by_pair() -> None:
    views = torch.randn((10, 7), generator=torch.Generator().manual_seed(0)).double()
    patients = [0, 1, 1, 2, 3]
    found = nt_xent(views[:5], views[5:], torch.tensor(patients), temperature=0.5)
    assert float(found) == pytest.approx(_nt_xent_of_pairs(list(views), patients, 0.5))


def test_the_loss_of_one_patient_alone_is_0() -> None:
    views = torch.randn((4, 7), generator=torch.Generator().manual_seed(0))
    assert float(nt_xent(views[:2], views[2:], torch.tensor([5, 5]))) == pytest.approx(0, abs=1e-6)


def test_views_lie_in_the_unit_range_differ_from_each_other_and_depend_on_the_generator_alone() -> None:
    images = 1000 * _people(4, 24, 24)
    first, again = (random_views(images, FRAME, torch.Generator().manual_seed(7)) for _ in range(2))
    assert first.equal(again)
    assert not first.equal(random_views(images, FRAME, torch.Generator().manual_seed(8)))
    assert 0 <= float(first.min()) < float(first.max()) <= 1
    # Nothing depends on the scanner's units.
    torch.testing.assert_close(first, random_views(images / 1000 - 3, FRAME, torch.Generator().manual_seed(7)))


def test_an_embedding_is_of_each_image_by_itself_and_0_without_contrast() -> None:
    encoder = train_encoder(_people(5, 24, 24), torch.arange(5), steps=2)
    images = torch.cat([_people(70, 24, 24, seed=4), torch.zeros(1, 1, 24, 24)])
    together = encoder.embed(images)
    assert together.shape == (71, NUMBERS)
    torch.testing.assert_close(encoder.embed(images[66:67]), together[66:67], atol=1e-5, rtol=1e-4)
    assert not together[70].any()


@pytest.mark.parametrize("size", [(24, 24), (10, 12, 8)])
def test_training_brings_views_of_one_image_together_and_takes_patients_apart(size: tuple[int, ...]) -> None:
    images = _people(16, *size)
    patients = torch.arange(16)

    def loss(encoder: Encoder) -> float:
        generator = torch.Generator().manual_seed(99)
        first, second = (encoder(random_views(images, Frame(size, (1.0,) * len(size)), generator)) for _ in range(2))
        return float(nt_xent(first, second, patients))

    assert loss(train_encoder(images, patients, steps=60)) < 0.8 * loss(train_encoder(images, patients, steps=0))


def test_an_encoder_depends_neither_on_the_order_of_the_images_nor_on_what_was_drawn_before() -> None:
    images, patients = _people(6, 24, 24), torch.arange(6)
    state = torch.get_rng_state()
    encoder = train_encoder(images, patients, steps=4)
    assert torch.get_rng_state().equal(state)
    torch.rand(5)
    swapped = train_encoder(torch.cat([images[3:], images[:3]]), patients.roll(3), steps=4)
    for one, other in zip(encoder.state_dict().values(), swapped.state_dict().values(), strict=True):
        assert one.equal(other)
    other_seed = train_encoder(images, patients, seed=1, steps=4)
    assert not other_seed.embed(images).equal(encoder.embed(images))


def test_similarity_is_the_correlation_of_embeddings_of_the_nearer_of_query_and_mirror_image_relative() -> None:
    pool, queries = _people(9, 24, 24), _people(3, 24, 24, seed=5)
    encoder = train_encoder(pool, torch.arange(9), steps=2)
    search = prepare(pool, torch.arange(9), encoder=encoder)
    both = [np.corrcoef(encoder.embed(images), encoder.embed(pool))[:3, 3:] for images in (queries, queries.flip(-1))]
    correlation, index = torch.tensor(np.maximum(*both)).float().sort(dim=1, descending=True)
    found = search(queries, k=4)
    torch.testing.assert_close(found.similarity, relative_to_next(correlation, 5)[:, :4], atol=1e-4, rtol=1e-4)
    assert found.index.equal(index[:, :4])


def test_moved_and_noisy_copies_are_found_and_new_patients_do_not_look_like_copies() -> None:
    pool = _people(40, 32, 32)
    search = prepare(pool, torch.arange(40), encoder=train_encoder(pool, torch.arange(40), steps=100))
    null = search(_people(60, 32, 32, seed=1), step=silent).similarity[:, 0].double().numpy()
    threshold = float(np.quantile(null, 0.95))
    new = _people(40, 32, 32, seed=2)
    for name in ("exact", "mirror", "rotation 5 degrees", "shift 2 px", "noise sd 0.1", "gamma 0.5"):
        copies, others = (
            search(DISTURBANCES[name](images, seed=0, indices=range(40))).similarity[:, 0] for images in (pool, new)
        )
        assert float((copies > threshold).float().mean()) > 0.7, name
        assert float((others > threshold).float().mean()) < 0.2, name


def test_p_values_of_new_patients_are_not_smaller_than_uniform() -> None:
    counts = np.zeros(3)
    levels = (0.1, 0.2, 0.5)
    repetitions, each = 8, 30
    for seed in range(repetitions):
        people = _people(12 + 2 * each, 20, 20, seed=100 + seed)
        pool, calibration, new = people.split([12, each, each])
        search = prepare(pool, torch.arange(12), encoder=train_encoder(pool, torch.arange(12), steps=15))
        null, asked = (search(images).similarity[:, 0].double().numpy() for images in (calibration, new))
        p_values = conformal_p_values(asked, null)
        counts += [(p_values <= level).sum() for level in levels]
    for level, count in zip(levels, counts / (repetitions * each), strict=True):
        # Calibration patients are drawn anew in each repetition; their number adds as much variance as that of the new.
        assert count <= level + 3 * math.sqrt(2 * level * (1 - level) / (repetitions * each)), level


def test_a_pool_of_one_patient_and_constant_images_are_searched_without_an_error() -> None:
    pool = torch.cat([_people(1, 24, 24), torch.zeros(1, 1, 24, 24)])
    encoder = train_encoder(pool, torch.tensor([0, 1]), steps=2)
    found = prepare(pool, torch.tensor([0, 1]), encoder=encoder)(torch.cat([pool, pool[:1] + 0.1]), k=6)
    assert found.index[:, 0].tolist() == [0, -1, 0]
    assert found.similarity[:, 0].tolist() == pytest.approx([1.0, -math.inf, 1.0], abs=1e-3)


def test_a_mirrored_query_is_as_near_as_the_query_itself() -> None:
    pool = _people(9, 10, 12, 8)
    search = prepare(pool, torch.arange(9), encoder=train_encoder(pool, torch.arange(9), steps=2))
    queries = torch.cat([pool[:2], _people(2, 10, 12, 8, seed=5)])
    plain, mirrored = search(queries), search(queries.flip(2))  # left and right of a volume: its first axis
    torch.testing.assert_close(mirrored.similarity, plain.similarity, atol=1e-4, rtol=1e-4)
    assert mirrored.index[:2, 0].tolist() == [0, 1]


def test_every_block_size_gives_the_same_and_each_query_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, queries, steps = _people(9, 24, 24), _people(5, 24, 24, seed=5), list[int]()
    search = prepare(pool, torch.arange(9) // 2, encoder=train_encoder(pool, torch.arange(9), steps=2))
    whole = search(queries)
    monkeypatch.setattr("lichen.audit.embedding.QUERY_ROWS", 2)
    monkeypatch.setattr("lichen.audit.embedding.POOL_ROWS", 4)
    blocks = search(queries, step=steps.append)
    torch.testing.assert_close(blocks.similarity, whole.similarity, atol=1e-4, rtol=1e-4)
    assert blocks.index.equal(whole.index)
    assert steps == [2, 2, 1]
    assert search(queries[:0]).index.shape == (0, 6)


def test_two_pools_can_share_an_encoder_trained_on_both() -> None:
    pool, withheld = _people(8, 24, 24), _people(8, 24, 24, seed=1)
    encoder = train_encoder(torch.cat([pool, withheld]), torch.arange(16), steps=20)
    for images in (pool, withheld):
        found = prepare(images, torch.arange(8), encoder=encoder)(images)
        assert found.index[:, 0].tolist() == list(range(8))


def test_embedding_is_a_score_by_name_trained_on_the_pool_that_it_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, patients, trained = _people(3, 24, 24), torch.tensor([4, 4, 9]), []

    def watched(images: torch.Tensor, patients: torch.Tensor, *, seed: int) -> Encoder:
        trained.append((images, patients, seed))
        return train_encoder(images, patients, seed=seed, steps=1)

    monkeypatch.setattr("lichen.audit.embedding.train_encoder", watched)
    search = find_score("embedding").prepare(Pool(pool, patients))
    assert isinstance(search, EmbeddingSearch)
    assert trained == [(pool, patients, 0)]
