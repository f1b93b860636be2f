from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lichen.audit import aligned, audit, find_score
from lichen.audit.aligned import Pairs, prepare
from lichen.audit.coarse import Coarse, slots
from lichen.audit.contrast import even_contrast, roughness
from lichen.audit.planted import DISTURBANCES
from lichen.audit.refine import climb
from lichen.audit.relative import relative_to_next, tempered
from lichen.audit.render import BLURS, Band, as_made, rendered, strictness
from lichen.audit.warp import Frame, inside, limits, locate, locate_back, matrices, mirrored, moved_onto, sample
from lichen.config import AuditConfig
from lichen.images import ImageSet, load_set
from lichen.images.phantoms import phantom_source
from lichen.progress import silent

PICTURE = Frame((48, 40), (1.0, 1.0))
VOLUME = Frame((24, 32, 16), (1.0, 1.0, 2.0))
"""Voxels twice as long along the last axis."""
TURN = math.radians(1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _waves(frame: Frame, seed: int, transform: list[float] | None = None) -> torch.Tensor:
    """A sum of 60 plane waves, read exactly where ``transform`` takes each voxel's content from, (1, 1, *S)."""
    generator = torch.Generator().manual_seed(seed)
    waves = 7 * torch.randn((frame.dims, 60), generator=generator)
    phases = 2 * math.pi * torch.rand(60, generator=generator)
    points = frame.points(torch.device("cpu"))
    if transform is not None:
        matrix, shift = matrices(torch.tensor([transform]), frame)
        points = (points - shift[0]) @ torch.linalg.inv(matrix[0]).T
    return (points @ waves + phases).cos().sum(1).reshape(1, 1, *frame.size)


def _people(frame: Frame, count: int) -> torch.Tensor:
    return torch.cat([_waves(frame, seed) for seed in range(count)])


def _align(queries: torch.Tensor, pool: torch.Tensor, frame: Frame, k: int = 6) -> Pairs:
    return prepare(pool, torch.arange(len(pool)), spacing=frame.spacing).align(queries, k=k)


MOVED = [
    (PICTURE, [0.0, 0.0, 5 * TURN, 0.0]),
    (PICTURE, [0.0, 0.0, -9.5 * TURN, 0.0]),
    (PICTURE, [0.04, -0.03, 0.0, 0.0]),
    (PICTURE, [-0.09, 0.09, 0.0, 0.0]),
    (PICTURE, [0.0, 0.0, 0.0, math.log(0.91)]),
    (PICTURE, [0.0, 0.0, 0.0, math.log(1.1)]),
    (PICTURE, [0.05, -0.06, 7 * TURN, math.log(1.05)]),
    (VOLUME, [0.0, 0.0, 0.0, 5 * TURN, -6 * TURN, 4 * TURN, 0.0]),
    (VOLUME, [0.06, -0.05, 0.07, 0.0, 0.0, 0.0, math.log(0.95)]),
    (VOLUME, [0.03, -0.05, 0.04, 3 * TURN, 6 * TURN, -5 * TURN, math.log(1.05)]),
]


@pytest.mark.parametrize(("frame", "transform"), MOVED)
@pytest.mark.parametrize("flip", [False, True])
def test_a_copy_moved_within_the_ranges_is_found_and_its_way_is_told(
    frame: Frame, transform: list[float], flip: bool
) -> None:
    query = _waves(frame, 3, transform)
    found = _align(mirrored(query) if flip else query, _people(frame, 9), frame)
    assert found.index[0, 0] == 3
    assert found.correlation[0, 0] > 0.97
    assert found.correlation[0, 1] < 0.8
    assert bool(found.mirror[0, 0]) is flip
    torch.testing.assert_close(found.transform[0, 0], torch.tensor(transform), atol=0.014, rtol=0)


@pytest.mark.parametrize("frame", [PICTURE, VOLUME])
def test_an_image_and_its_mirror_image_match_it_perfectly(frame: Frame) -> None:
    pool = _people(frame, 4)
    for queries in (pool, mirrored(pool)):
        found = _align(queries, pool, frame)
        assert found.index[:, 0].tolist() == list(range(4))
        torch.testing.assert_close(found.correlation[:, 0], torch.ones(4), atol=1e-4, rtol=0)
        assert found.correlation.max() <= 1.0


def test_gain_and_offset_do_not_change_a_similarity() -> None:
    queries, pool = _waves(PICTURE, 2, [0.03, 0.02, 4 * TURN, 0.02]), _people(PICTURE, 8)
    plain = _align(queries, pool, PICTURE)
    for other in (_align(queries * 300 + 1000, pool, PICTURE), _align(queries, pool * 0.01 - 5, PICTURE)):
        torch.testing.assert_close(other.correlation, plain.correlation, atol=1e-3, rtol=0)
        assert other.index[0, 0] == plain.index[0, 0] == 2


def test_gamma_noise_and_blur_leave_a_copy_nearer_than_anybody_else() -> None:
    pool = _people(PICTURE, 8)
    grey = (pool - pool.amin((1, 2, 3), keepdim=True)) / 40
    noise = 0.2 * torch.randn(pool.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(pool, 3, 1, 1, count_include_pad=False)
    for changed in (grey.sqrt(), grey.square(), grey + noise, blurred):
        found = _align(changed, pool, PICTURE)
        assert found.index[:, 0].tolist() == list(range(8))
        assert (relative_to_next(found.correlation, 5)[:, 0] > 0.4).all()


def test_a_stranger_is_never_less_similar_than_without_alignment() -> None:
    strangers, pool = torch.cat([_waves(PICTURE, seed) for seed in range(100, 104)]), _people(PICTURE, 10)
    search = prepare(pool, torch.arange(10))
    found = search.align(strangers, k=10)
    fine = search.levels[2]
    seen = fine.see(strangers)
    for row in range(4):
        for value, at in zip(found.correlation[row], found.index[row], strict=True):
            rows = torch.stack([fine.images[at].flatten(1)[fine.mask], seen[row].flatten(1)[fine.mask]])
            assert value >= float(torch.corrcoef(rows)[0, 1]) - 1e-5


def test_no_transformation_leaves_its_ranges() -> None:
    query = _waves(PICTURE, 1, [0.2, -0.15, 20 * TURN, 0.3])
    found = _align(query, _people(PICTURE, 6), PICTURE)
    assert (found.transform.abs() <= limits(2, query.device) + 1e-7).all()
    assert found.correlation[0, 0] < 0.9


@pytest.mark.parametrize("frame", [PICTURE, VOLUME])
def test_a_climb_never_ends_below_its_start_and_more_steps_never_lower_it(frame: Frame) -> None:
    fixed, moving = _people(frame, 5), _people(frame, 10)[5:]
    mask = torch.ones((1, math.prod(frame.size)), dtype=torch.bool)
    start = limits(frame.dims, fixed.device) * torch.linspace(-0.9, 0.9, 5)[:, None]
    reached = [climb(fixed, moving, mask, frame, start, steps)[1] for steps in (0, 1, 3, 9)]
    for before, after in itertools.pairwise(reached):
        assert (after >= before).all()
    assert (reached[-1] > reached[0] + 0.05).all()


@pytest.mark.parametrize("pool_rows", [1, 3, 50])
def test_the_coarse_pass_is_the_best_of_every_pair_and_transformation(pool_rows: int) -> None:
    frame = Frame((9, 8), (1.0, 1.0))
    images, queries = _people(frame, 7), _people(frame, 12)[9:]
    mask = torch.rand((1, 72), generator=torch.Generator().manual_seed(0)) > 0.2
    coarse = Coarse.prepare(images, mask, torch.tensor([0, 0, 1, 2, 3, 4, 5]), frame)
    variants = coarse.variants(queries)
    found = coarse.best(variants, 6, pool_rows)
    located = locate(coarse.transforms, frame)
    shown = (inside(located) & mask).numpy()
    for row, query in enumerate(queries):
        best = np.full(7, -np.inf)
        for flipped in (query, query.flip(-1)):
            read = sample(flipped.expand(len(located), 1, 9, 8), located)[:, 0].numpy()
            for which, values in zip(shown, read, strict=True):
                pairs = [np.corrcoef(values[which], image[which])[0, 1] for image in images.flatten(1).numpy()]
                best = np.maximum(best, pairs)
        by_patient = sorted([max(best[0], best[1]), *best[2:]], reverse=True)
        torch.testing.assert_close(found.similarity[row].double(), torch.tensor(by_patient), atol=1e-4, rtol=0)


def test_a_rotation_of_long_voxels_keeps_lengths() -> None:
    transform = torch.tensor([[0.0, 0.0, 0.0, 8 * TURN, -5 * TURN, 9 * TURN, 0.0]])
    matrix, _ = matrices(transform, VOLUME)
    torch.testing.assert_close(matrix[0] @ matrix[0].T, torch.eye(3))
    assert VOLUME.extent == (1.5, 2.0, 2.0)
    assert VOLUME.coarser(8).size == (6, 8, 8)


def test_constant_images_have_no_score() -> None:
    pool = _people(PICTURE, 4)
    pool[1] = 0.5
    queries = torch.cat([torch.full_like(pool[:1], 3.0), _waves(PICTURE, 2, [0.0, 0.0, 3 * TURN, 0.0])])
    found = prepare(pool, torch.arange(4))(queries, k=6, step=silent)
    assert found.similarity[0].tolist() == [-torch.inf] * 6
    assert found.index[0].tolist() == [-1] * 6
    assert found.index[1].tolist()[0] == 2
    assert set(found.index[1].tolist()) == {0, 2, 3, -1}
    assert not found.similarity.isnan().any()
    blank = prepare(torch.full_like(pool, 0.25), torch.arange(4))(queries, k=6, step=silent)
    assert torch.isinf(blank.similarity).all()


@pytest.mark.parametrize("size", [(4, 4), (24, 1), (12, 10, 1), (3, 2, 2)])
def test_tiny_images_and_images_that_fix_no_direction_still_match_themselves(size: tuple[int, ...]) -> None:
    stripes = torch.rand((5, 1, size[0], *[1] * (len(size) - 1)), generator=torch.Generator().manual_seed(0))
    pool = stripes.expand(5, 1, *size).contiguous()
    found = prepare(pool, torch.arange(5))(pool, k=6, step=silent)
    assert not found.similarity.isnan().any()
    plain = _align(pool, pool, Frame(size, (1.0,) * len(size)), k=5)
    torch.testing.assert_close(plain.correlation[:, 0], torch.ones(5), atol=1e-4, rtol=0)


def test_channels_are_aligned_together() -> None:
    pool = torch.cat([_people(PICTURE, 6), _people(PICTURE, 12)[6:]], 1)
    transform = [0.03, 0.04, -4 * TURN, 0.03]
    query = torch.cat([_waves(PICTURE, 2, transform), _waves(PICTURE, 8, transform)], 1)
    mixed = torch.cat([query[:, :1], _waves(PICTURE, 50, transform)], 1)
    found, half = _align(query, pool, PICTURE), _align(mixed, pool, PICTURE)
    assert found.index[0, 0] == half.index[0, 0] == 2
    assert found.correlation[0, 0] > 0.97
    assert 0.3 < half.correlation[0, 0] < 0.75
    torch.testing.assert_close(found.transform[0, 0], torch.tensor(transform), atol=0.014, rtol=0)


def test_nothing_asked_is_nothing_found_and_one_patient_is_compared_with_nobody() -> None:
    pool = _people(PICTURE, 2)
    assert prepare(pool, torch.arange(2))(pool[:0], k=3, step=silent).index.shape == (0, 3)
    found = prepare(pool, torch.tensor([7, 7]))(pool[1:], k=3, step=silent)
    assert found.index[0].tolist() == [1, -1, -1]
    assert found.similarity[0, 0] == pytest.approx(1.0, abs=1e-4)


def test_two_searches_agree_bit_by_bit_and_blocks_hardly_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = _people(PICTURE, 20)
    queries = torch.cat([_waves(PICTURE, seed, [0.02, 0.03, 3 * TURN, 0.0]) for seed in range(6)])
    first, second = (_align(queries, pool, PICTURE) for _ in range(2))
    assert first.correlation.equal(second.correlation)
    assert first.index.equal(second.index)
    monkeypatch.setattr(aligned, "BLOCK_BYTES", 2**20)
    small = _align(queries, pool, PICTURE)
    torch.testing.assert_close(small.correlation, first.correlation, atol=2e-3, rtol=0)
    assert small.index[:, 0].tolist() == list(range(6))


class _Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return made


def test_no_array_of_a_search_outgrows_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = _people(PICTURE, 10).repeat(10, 1, 1, 1)
    search = prepare(pool, torch.arange(100))
    taken = []
    for bound in (2**21, 2**26):
        monkeypatch.setattr(aligned, "BLOCK_BYTES", bound)
        with _Largest() as largest:
            search(pool[:12], k=6, step=silent)
        taken.append(largest.bytes)
    assert taken[0] <= 2**21 < taken[1] <= 2**26


def test_even_contrast_does_not_see_grey_scale_and_leaves_a_flat_channel_empty() -> None:
    image = torch.cat([_waves(PICTURE, 0), torch.full((1, 1, 48, 40), 1e6)], 1)
    plain, changed = (even_contrast(x, PICTURE, blur=1.0, window=4.0) for x in (image, 7 * image - 2000))
    torch.testing.assert_close(changed, plain, atol=2e-3, rtol=0)
    assert (plain[:, 1] == 0).all()
    assert plain[:, 0].std() > 0.5


def test_the_relative_score_is_the_share_of_the_gap_that_the_nearest_closes() -> None:
    none = -torch.inf
    values = torch.tensor([[1.0, 0.5, 0.3, 0.9], [0.7, 0.4, 0.4, 0.1], [0.6, 0.2, none, none], [0.6, none, none, none]])
    found = relative_to_next(values, 2)[:, 0]
    torch.testing.assert_close(found, torch.tensor([1.0, 0.5, 0.5, 0.6]))
    assert relative_to_next(torch.full((1, 4), none), 3).tolist() == [[none] * 4]
    assert relative_to_next(torch.ones(1, 4), 3).tolist() == [[0.0] * 4]


def test_a_patient_of_several_images_counts_once() -> None:
    pool = torch.cat([_waves(PICTURE, 0), _waves(PICTURE, 0, [0.02, 0.0, 2 * TURN, 0.0]), _people(PICTURE, 5)[1:]])
    found = prepare(pool, torch.tensor([0, 0, 1, 2, 3, 4]))(pool[:1], k=5, step=silent)
    assert int(found.index[0, 0]) in {0, 1}
    assert set(found.index[0, 1:].tolist()) == {2, 3, 4, 5}
    assert found.similarity[0, 0] > 0.9


def test_an_audit_by_the_aligned_score_finds_moved_copies_that_plain_correlation_does_not() -> None:
    source = phantom_source("2d", 40, images_per_patient=1)
    images = load_set(source.items, (64, 64))
    train, reference = (_part(images, part) for part in (slice(0, 20), slice(20, 40)))
    frame = Frame((64, 64), (1.0, 1.0))
    transform = torch.tensor([[0.06, -0.05, 7 * TURN, 0.05]])
    copies = mirrored(train.voxels[:6])
    copies = sample(copies, locate(transform, frame).expand(6, -1, -1)).reshape(copies.shape)
    synthetic = ImageSet(copies, tuple(f"made-{i}" for i in range(6)), ("",) * 6, images.affine)
    config = {name: AuditConfig(scores=(name,), self_test=0) for name in ("aligned", "pearson")}
    found = {name: audit(synthetic, train, reference, settings) for name, settings in config.items()}
    assert [finding.nearest_image for finding in found["aligned"].findings] == list(train.names[:6])
    assert found["aligned"].verdict == "copies"
    assert found["pearson"].verdict != "copies"
    assert find_score("aligned").blind_spots in found["aligned"].limitations
    assert AuditConfig().scores == ("aligned",)


def _part(images: ImageSet, part: slice) -> ImageSet:
    return ImageSet(images.voxels[part], images.names[part], images.patients[part], images.affine)


@pytest.mark.parametrize(("frame", "transform"), [MOVED[0], MOVED[6], MOVED[9]])
@pytest.mark.parametrize("flip", [False, True])
def test_a_query_is_brought_back_onto_the_training_image(frame: Frame, transform: list[float], flip: bool) -> None:
    image, moved = _waves(frame, 3), _waves(frame, 3, transform)
    query = mirrored(moved)[0] if flip else moved[0]
    back = moved_onto(query, torch.tensor(transform), mirror=flip, frame=frame)[None]
    shown = inside(locate(torch.tensor([transform]), frame)).reshape(1, 1, *frame.size)
    before, after = (torch.corrcoef(torch.stack([x[shown], image[shown]]))[0, 1] for x in (query[None], back))
    assert after > 0.97
    assert after > before


@pytest.mark.parametrize(("frame", "transform"), MOVED)
def test_the_way_back_undoes_the_way_there(frame: Frame, transform: list[float]) -> None:
    row = torch.tensor([transform])
    matrix, shift = matrices(row, frame)
    half = torch.tensor(frame.extent) / 2
    back = locate_back(row, frame) * half
    torch.testing.assert_close(back @ matrix.transpose(1, 2) + shift, frame.points(row.device)[None], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dark", [False, True])
def test_a_copy_rendered_as_it_was_made_matches_perfectly(dark: bool) -> None:
    image, row = _waves(PICTURE, 3), torch.tensor([[0.06, -0.05, 0.0, math.log(0.93)]])
    copy = rendered(image, locate_back(row, PICTURE), dark=dark)
    mask, band = torch.ones((1, 48 * 40), dtype=torch.bool), Band(1.5, 4.0)
    for blur in (0.0, 3 / 64):
        length = math.hypot(band.blur, 48 * blur)
        seen = even_contrast(copy, PICTURE, blur=length, window=band.window)
        found = as_made(image, seen, mask, row, PICTURE, band)
        assert float(found.amax()) > (0.9 if dark and blur else 0.999)


def test_darkness_comes_in_from_outside_only_where_it_is_asked_for() -> None:
    image = 5 + _waves(PICTURE, 3).abs()
    away = locate_back(torch.tensor([[0.1, 0.0, 0.0, 0.0]]), PICTURE)
    edge, dark = (rendered(image, away, dark=dark) for dark in (False, True))
    torch.testing.assert_close(dark[0, 0, 0], image.amin().expand(40))
    torch.testing.assert_close(edge[0, 0, 0], image[0, 0, 0])
    torch.testing.assert_close(edge[0, 0, 10:], dark[0, 0, 10:])


def test_scores_of_coarser_details_and_of_dark_edges_are_lowered_and_their_order_stays() -> None:
    exponents = strictness(Frame((64, 64), (1.0, 1.0)), Band(1.5, 4.0))
    assert exponents[1] == 1
    assert (exponents[[0, 2, 3]] > 1).all()
    assert exponents[1:].tolist() == sorted(exponents[1:].tolist())
    assert exponents[3] == pytest.approx(math.hypot(1.5, 64 * BLURS[2]) / 1.5)
    scores = torch.tensor([-torch.inf, -2.0, -0.3, 0.0, 0.2, 0.7, 1.0])
    lowered = tempered(scores, exponents[3])
    assert lowered.tolist() == sorted(lowered.tolist())
    torch.testing.assert_close(lowered[[0, 1, 2, 3, 6]], scores[[0, 1, 2, 3, 6]])
    assert (lowered[4:6] < scores[4:6]).all()


def test_a_blurred_stranger_is_less_similar_under_strictness_and_a_blurred_copy_stays_near(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, strangers = _people(PICTURE, 12), torch.cat([_waves(PICTURE, seed) for seed in range(100, 112)])
    blurred = DISTURBANCES["blur 3 px"](torch.cat([pool[:4], strangers]) / 100, seed=0, indices=range(16))
    search = prepare(pool, torch.arange(12))
    strict = search(blurred, k=1, step=silent).similarity
    monkeypatch.setattr(aligned, "strictness", lambda *_: torch.ones(4))
    plain = search(blurred, k=1, step=silent).similarity
    assert (strict <= plain).all()
    assert strict[4:].mean() < 0.9 * plain[4:].mean()
    assert strict[:4].min() > 0.7
    assert strict[:4].min() > 2 * strict[4:].max()


def test_a_shrunken_copy_between_dark_edges_is_a_candidate_though_others_overtake_it_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = 100 + _people(VOLUME, 24)
    pool[..., 0, 0, 0] = 0
    away = locate_back(torch.tensor([[0.0] * 6 + [math.log(0.9)]]), VOLUME)
    copy = rendered(pool[4:5], away, dark=True)
    search = prepare(pool, torch.arange(24), spacing=VOLUME.spacing)
    found = search(copy, k=1, step=silent)
    assert found.index.tolist() == [[4]]
    assert float(found.similarity) > 0.9
    monkeypatch.setattr(aligned.AlignedSearch, "_ranked", lambda _search, _level, pairs, _seen: pairs)
    assert search(copy, k=1, step=silent).index.tolist() != [[4]]


def test_roughness_tells_noise_from_an_image_and_does_not_see_grey_scale() -> None:
    image = _people(PICTURE, 6)
    noise = 2 * image.std() * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    plain, noisy, scaled = (roughness(x, PICTURE) for x in (image, image + noise, 300 * image - 1000))
    assert (noisy > 1.5 * plain).all()
    torch.testing.assert_close(scaled, plain, atol=1e-4, rtol=0)


def test_either_of_two_images_of_a_patient_is_found_by_its_copy() -> None:
    first, second = _people(PICTURE, 20), _people(PICTURE, 40)[20:]
    pool, patients = torch.cat([first, second]), torch.arange(20).repeat(2)
    transform = [0.05, -0.06, 7 * TURN, math.log(1.05)]
    for at in (3, 23):
        found = prepare(pool, patients).align(_waves(PICTURE, at, transform), k=6)
        assert found.index[0, 0] == at
        assert len(set((found.index[0] % 20).tolist())) == 6


def test_under_strong_noise_a_copy_is_nearer_when_coarse_details_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = torch.nn.functional.avg_pool2d(_people(PICTURE, 12), 5, 1, 2, count_include_pad=False)
    noisy = pool[:4] + 1.2 * pool.std() * torch.randn(pool[:4].shape, generator=torch.Generator().manual_seed(0))
    search = prepare(pool, torch.arange(12))
    assert (roughness(noisy, search.levels[2].frame) > search.noisy).all()
    with_band = search(noisy, k=6, step=silent)
    monkeypatch.setattr(aligned, "NOISY", torch.inf)
    without = prepare(pool, torch.arange(12))(noisy, k=6, step=silent)
    assert with_band.index[:, 0].tolist() == list(range(4))
    assert (with_band.similarity[:, 0] > without.similarity[:, 0]).all()


def test_images_of_a_patient_take_turns_in_the_slots() -> None:
    assert slots(torch.tensor([4, 4, 7, 4, 7]), 2).tolist() == [8, 9, 14, 8, 15]
    assert slots(torch.tensor([4, 4, 7]), 1).tolist() == [4, 4, 7]
