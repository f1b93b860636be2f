"""Searches within a bound of memory, kept in a folder, and gone on with after a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from lichen.audit import AuditResult, Names, Score, Search, audit, register
from lichen.audit.aligned import prepare as prepare_aligned
from lichen.audit.checks import check_sets, fingerprints
from lichen.audit.pearson import prepare, prepare_within
from lichen.audit.row_file import RowFile, rows_on_disk
from lichen.audit.rows import unit_rows, varying_voxels
from lichen.audit.scores import Nearest, Pool
from lichen.audit.scratch import Scratch
from lichen.audit.tiles import Grid
from lichen.audit.topk import RunningBest
from lichen.audit.work import Work, query_blocks, search_in_blocks
from lichen.config import AuditConfig
from lichen.errors import AuditError, ConfigError
from lichen.images import ImageSet
from lichen.progress import silent
from searching_process import main as search_alone

PROCESS = Path(__file__).with_name("searching_process.py")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _noise(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((count, *shape), generator=torch.Generator().manual_seed(seed))


def _image_set(voxels: torch.Tensor, name: str) -> ImageSet:
    names = tuple(f"{name}-{i}" for i in range(len(voxels)))
    return ImageSet(voxels, names, names, np.eye(4))


@given(seed=st.integers(0, 1000), patients=st.integers(1, 30), values=st.integers(1, 40), blocks=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_first_best_image_of_each_patient_is_picked_among_many_and_equal_ones(
    seed: int, patients: int, values: int, blocks: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    similarity = torch.randint(0, values, (4, 60), generator=draw).float()
    similarity[0, ::3] = -torch.inf
    patient = torch.randint(0, patients, (60,), generator=draw)
    best = RunningBest.empty(4, 3, similarity.device)
    for part in torch.arange(60).chunk(blocks):
        best.update(similarity[:, part].clone(), patient[part], part)
    for row, values_of in enumerate(similarity.tolist()):
        firsts: dict[int, int] = {}
        for at in sorted(range(60), key=lambda i: -values_of[i]):  # stable: of equal ones the first
            if values_of[at] > -np.inf:
                firsts.setdefault(int(patient[at]), at)
        expected = list(firsts.values())[:3]
        assert best.index[row].tolist() == expected + [-1] * (3 - len(expected))
        assert best.similarity[row].tolist() == [values_of[i] for i in expected] + [-np.inf] * (3 - len(expected))


@given(memory_mb=st.integers(1, 10**6), voxels=st.integers(1, 3 * 10**7))
def test_a_tile_fits_its_memory_or_is_one_row_wide(memory_mb: int, voxels: int) -> None:
    grid = Grid.within(memory_mb, voxels)
    held = 4 * voxels * (grid.query_rows * (grid.query_rows > 1) + grid.pool_rows * (grid.pool_rows > 1))
    product = 12 * grid.query_rows * grid.pool_rows * (grid.pool_rows > 1)
    assert held + product <= 0.75 * memory_mb * 2**20
    assert min(grid.query_rows, grid.pool_rows) >= 1


def test_rows_in_a_file_are_the_bits_of_rows_in_memory(tmp_path: Path) -> None:
    images = _noise(50, 2, 6, 7)
    images[7] = 0.5
    mask = varying_voxels(images)
    held, contrast = unit_rows(images, mask)
    kept = rows_on_disk(Scratch(tmp_path, 1), images, mask)
    assert len(kept) == 50
    for block in (slice(0, 50), slice(6, 9), slice(49, 50)):
        rows, has_contrast = kept.read(block)
        assert rows.equal(held[block])
        assert has_contrast.equal(contrast[block])
    assert np.load(kept.path, allow_pickle=False).shape == (50, 84)


def _kept_rows(tmp_path: Path, images: torch.Tensor) -> RowFile:
    return rows_on_disk(Scratch(tmp_path, 1), images, torch.ones(images[0].numel(), dtype=torch.bool))


def test_rows_of_other_images_or_a_damaged_file_are_never_taken_for_these(tmp_path: Path) -> None:
    images = _noise(9, 1, 4, 4)
    path = _kept_rows(tmp_path, images).path
    written = path.stat().st_mtime_ns
    assert _kept_rows(tmp_path, images).path.stat().st_mtime_ns == written
    changed = images.clone()
    changed[8, 0, 0, 0] += 1
    assert _kept_rows(tmp_path, changed).path != path
    whole = path.read_bytes()
    for damaged in (whole[:-4], b"no numpy file", b""):
        path.write_bytes(damaged)
        assert _kept_rows(tmp_path, images).path.read_bytes() == whole
    path.with_suffix(".json").write_text('{"without_contrast": []}')
    shutil.copy(path, tmp_path / "before.npy")
    assert _kept_rows(tmp_path, images).read(slice(0, 9))[0].equal(unit_rows(images, torch.ones(16).bool())[0])
    assert "images" in path.with_suffix(".json").read_text()


def test_a_search_that_reads_its_rows_from_a_file_finds_the_same_bits(tmp_path: Path) -> None:
    queries, pool, patients = _noise(90, 1, 32, 32), _noise(200, 1, 32, 32, seed=1), torch.arange(200) // 3
    pool[5] = queries[3] = 1.0
    within = prepare_within(pool, patients, Scratch(tmp_path, 1))
    assert isinstance(within.pool, RowFile)
    held = prepare(pool, patients, grid=Grid.within(1, 1024))
    assert held.grid.pool_rows < 200  # several tiles
    ours, theirs = (search(queries, k=6, step=silent) for search in (within, held))
    assert ours.similarity.equal(theirs.similarity)
    assert ours.index.equal(theirs.index)
    assert ours.index[3].tolist() == [-1] * 6
    assert 5 not in ours.index


class _Largest(TorchDispatchMode):
    """The most bytes of one array that any operation makes; views of what is there count nothing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {a.untyped_storage().data_ptr() for a in args if isinstance(a, torch.Tensor)}
        for out in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in given:
                self.bytes = max(self.bytes, out.nbytes)
        return made


def test_no_array_outgrows_the_memory_when_the_images_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lichen.audit.rows.BLOCK_BYTES", 2**19)
    voxels = np.memmap(tmp_path / "images", np.float32, "w+", shape=(150, 1, 80, 80))
    voxels[:] = _noise(150, 1, 80, 80).numpy()
    images = torch.from_numpy(voxels)
    assert images.nbytes > 3 * 2**20
    one = _image_set(images, "a")
    with _Largest() as largest:
        check_sets(one, one, one)
        fingerprints(images)
        search = prepare_within(images, torch.arange(150), Scratch(tmp_path / "work", 1))
        found = search(images, k=2, step=silent)
    assert found.index[:, 0].tolist() == list(range(150))
    assert largest.bytes <= 2**19


def test_what_exceeds_a_quarter_of_the_memory_is_mapped_from_a_file_without_a_name(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "work", 1)
    small = scratch.zeros((10, 10), "images", torch.zeros(1))
    large = scratch.zeros((300, 1000), "images", torch.zeros(1))
    assert large.dtype == small.dtype == torch.float32
    assert not large.any()
    large[7] = torch.arange(1000.0)
    assert large[[3, 7]].sum() == 499500
    assert list(scratch.folder.iterdir()) == []
    assert scratch.folder.stat().st_mode & 0o077 == 0


def test_aligned_images_in_files_are_found_as_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mapped: list[tuple[int, ...]] = []
    memmap = np.memmap

    def remembering(*args: Any, **kwargs: Any) -> Any:
        mapped.append(kwargs["shape"])
        return memmap(*args, **kwargs)

    monkeypatch.setattr(np, "memmap", remembering)
    pool, patients = _noise(100, 1, 64, 64), torch.arange(100)
    pool[4] = 0.5
    queries = torch.cat([pool[:3].flip(-1), pool[4:6]])
    held, within = (prepare_aligned(pool, patients, scratch=scratch) for scratch in (None, Scratch(tmp_path, 4)))
    ours, theirs = (search(queries, k=6, step=silent) for search in (within, held))
    assert ours.similarity.equal(theirs.similarity)
    assert ours.index.equal(theirs.index)
    assert ours.index[:, 0].tolist() == [0, 1, 2, -1, 5]
    assert mapped == [(99, 1, 64, 64)]  # the other two grids fit a quarter of 4 MiB


def test_a_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(1_000_000))
    scratch = Scratch(tmp_path, 1)
    with pytest.raises(AuditError, match=r"images on a small grid need 4\.0 GB, and 0\.0 GB are free"):
        scratch.zeros((1000, 1000, 1000), "images on a small grid", torch.zeros(1))
    with pytest.raises(AuditError, match="standardised rows of 300 images need"):
        rows_on_disk(scratch, torch.zeros(1).expand(300, 1, 32, 32), torch.ones(1024, dtype=torch.bool))
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 5000))
def test_blocks_of_queries_follow_each_other_and_are_at_most_32(count: int) -> None:
    blocks = query_blocks(count)
    assert [at for block in blocks for at in range(block.start, block.stop)] == list(range(count))
    assert len(blocks) <= 32


def test_finished_blocks_are_not_searched_for_again_unless_damaged_or_of_another_search(tmp_path: Path) -> None:
    images = _noise(40, 1, 4, 4)
    search, asked = prepare(_noise(30, 1, 4, 4, seed=1), torch.arange(30)), list[int]()

    def counting(queries: torch.Tensor, *, k: int, step: Any) -> Nearest:
        asked.append(len(queries))
        return search(queries, k=k, step=step)

    def again(**made_from: str | int) -> Nearest:
        return search_in_blocks(counting, images, k=3, work=Work.bound(tmp_path, **made_from), step=seen.append)

    seen: list[int] = []
    first = again(train="a")
    assert asked == [16, 16, 8]
    assert first.index.equal(search_in_blocks(search, images, k=3).index)
    assert again(train="a").similarity.equal(first.similarity)
    assert asked == [16, 16, 8]
    assert sum(seen) == 80
    next(tmp_path.glob("*/block-000001.npz")).write_bytes(b"PK damaged")
    assert again(train="a").similarity.equal(first.similarity)
    assert asked == [16, 16, 8, 16]
    again(train="b")
    assert asked == [16, 16, 8, 16, 16, 16, 8]


def test_a_block_that_somebody_claimed_and_never_finished_is_searched_for_in_the_end(tmp_path: Path) -> None:
    search, queries = prepare(_noise(30, 1, 4, 4, seed=1), torch.arange(30)), _noise(40, 1, 4, 4)
    work = Work.bound(tmp_path)
    assert work.claim(0)
    assert not work.claim(0)
    found = search_in_blocks(search, queries, k=3, work=work)
    assert found.index.equal(search_in_blocks(search, queries, k=3).index)
    assert work.claim(0)  # done, so no longer claimed


def _start(*words: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(PROCESS), *map(str, words)], env=environment, text=True)


def test_a_search_killed_on_the_way_and_repeated_by_two_processes_at_once_leaves_the_same_bytes(tmp_path: Path) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    killed = _start(shared, tmp_path / "killed.npz", 4)
    search_alone(alone, tmp_path / "alone.npz")
    assert killed.wait(timeout=240) == -signal.SIGKILL
    assert not (tmp_path / "killed.npz").exists()
    assert len(list(shared.glob("search-*/block-*.npz"))) == 4
    assert len(list(shared.glob("search-*/block-*.claimed"))) == 1
    pair = [_start(shared, tmp_path / name) for name in ("one.npz", "two.npz")]
    assert [process.wait(timeout=240) for process in pair] == [0, 0]
    expected = (tmp_path / "alone.npz").read_bytes()
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes() == expected
    for block in alone.glob("search-*/*.npz"):
        assert (shared / block.relative_to(alone)).read_bytes() == block.read_bytes()
    assert not list(shared.glob("search-*/block-*.claimed"))


def test_an_audit_with_a_folder_says_what_one_without_says_and_repeats_nothing(tmp_path: Path) -> None:
    asked: list[int] = []

    def counted(pool: Pool) -> Search:
        search = prepare(pool.images, pool.patients)

        def counting(queries: torch.Tensor, *, k: int, step: Any) -> Nearest:
            asked.append(len(queries))
            return search(queries, k=k, step=step)

        return counting

    register(Score("test-counted", counted, "none known"))
    train = _image_set(_noise(60, 1, 8, 8), "train")
    reference = _image_set(_noise(30, 1, 8, 8, seed=1), "reference")
    synthetic = _image_set(torch.cat([train.voxels[:3] + 0.01, _noise(17, 1, 8, 8, seed=2)]), "synthetic")
    config = AuditConfig(scores=("test-counted", "pearson"), memory_mb=64, self_test=0)
    told = partial(AuditResult.as_json, names=Names("0" * 64), inputs_sha256={})
    plain = audit(synthetic, train, reference, config)
    asked.clear()
    kept = audit(synthetic, train, reference, config, work=tmp_path / "work")
    assert told(kept) == told(plain)
    assert [finding.p_value for finding in kept.findings[:3]] == [2 / 31] * 3
    assert [finding.nearest_image for finding in kept.findings[:3]] == list(train.names[:3])
    assert sum(asked) == 50
    assert audit(synthetic, train, reference, config, work=tmp_path / "work").findings == plain.findings
    assert sum(asked) == 50


def test_memory_too_small_to_work_in_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"audit\.memory_mb is 8"):
        AuditConfig(memory_mb=8)
