"""What an audit costs: the parts of the pixel score beside a plain matrix product, its memory, its growth; alignment.

python benchmarks/audit_cost.py; invented images of 64 x 64. About two minutes on one thread. Rates are of the process's
own time (the machine may do other things beside), and what is compared is measured in turns, the fastest of each.
"""

from __future__ import annotations

import importlib.util
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from report import write_results
from scipy.spatial.distance import cdist

from lichen.audit.aligned import prepare as prepare_aligned
from lichen.audit.pearson import prepare, prepare_within
from lichen.audit.rows import HeldRows, unit_rows, varying_voxels
from lichen.audit.scores import NEIGHBOURS
from lichen.audit.scratch import Scratch
from lichen.audit.tiles import MEMORY_MB, Grid, nearest
from lichen.audit.work import Work, query_blocks, search_in_blocks
from lichen.images import load_set, open_folder
from lichen.progress import silent

SIDE = 64
LOOP_IMAGES, PEER_IMAGES, RATE_IMAGES, SCALED_IMAGES = 200, 2000, 10_000, (2500, 5000, 10_000)
DECODED_IMAGES, ALIGNED_QUERIES, ALIGNED_POOL = 500, 8, 2000
STREAMED_MB = 512
TURNS = 3
Row = tuple[str, str, str]


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turns(*work: Callable[[], object]) -> list[float]:
    """The least seconds of each, measured side by side."""
    return [min(times) for times in zip(*([seconds(part) for part in work] for _ in range(TURNS)), strict=True)]


def invented(count: int, seed: int) -> torch.Tensor:
    """Images (count, 1, 64, 64): blurred noise."""
    noise = torch.randn((count, 1, SIDE, SIDE), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2)


def decoding() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(invented(DECODED_IMAGES, 5)):
            gray = ((image[0] - image.min()) / (image.max() - image.min()) * 255).byte().numpy()
            Image.fromarray(gray).save(Path(folder) / f"{i:04}.png")
        taken = seconds(lambda: load_set(open_folder(Path(folder)).items, (SIDE, SIDE)))
    return [("decoding", f"{taken / DECODED_IMAGES * 1e6:.0f} µs per image", f"{DECODED_IMAGES} PNG files")]


def product() -> list[Row]:
    """Rates on rows that are made already."""
    images = invented(RATE_IMAGES, 1)
    mask = varying_voxels(images)
    mask_s = seconds(lambda: varying_voxels(images))
    rows, contrast = unit_rows(images, mask)
    rows_s = seconds(lambda: unit_rows(images, mask))
    patients = torch.arange(RATE_IMAGES) // 2
    held, voxels = HeldRows(rows, contrast), rows.shape[1]
    grid, blocks = Grid.within(MEMORY_MB, voxels), query_blocks(RATE_IMAGES)[:4]
    asked = HeldRows(rows[: blocks[-1].stop].flip(1), contrast[: blocks[-1].stop])

    def searching() -> None:
        for block in blocks:
            part = HeldRows(*asked.read(block))
            nearest(part, held, patients, k=NEIGHBOURS, grid=grid, device=torch.device("cpu"))

    square = rows[:2048]
    search_s, plain_s = in_turns(searching, lambda: square @ square.T)
    rate = 2 * len(asked) * RATE_IMAGES * voxels / search_s
    peak = 2 * len(square) ** 2 * voxels / plain_s
    return [
        ("background mask", f"{mask_s / RATE_IMAGES * 1e6:.0f} µs per image", "training images only"),
        ("standardising", f"{rows_s / RATE_IMAGES * 1e6:.0f} µs per image", f"{voxels} voxels, float64 mean"),
        ("sgemm of this machine", f"{peak / 1e9:.1f} GFLOP/s", f"2048 x 2048 x {voxels}, one thread"),
        (
            f"product and best {NEIGHBOURS} patients, cached rows",
            f"{rate / 1e9:.1f} GFLOP/s, {rate / peak:.0%} of sgemm",
            f"{len(asked)} x {RATE_IMAGES}, tiles of {blocks[0].stop} x {grid.pool_rows}",
        ),
        (
            "the same per pair",
            f"{search_s / len(asked) / RATE_IMAGES * 1e6:.3f} µs",
            "two images a patient",
        ),
    ]


def peers() -> list[Row]:
    """Others on equal images, from raw images to the nearest of each."""
    images, pool = invented(PEER_IMAGES, 1), invented(PEER_IMAGES, 2)
    left, right = (side.flatten(1).numpy() for side in (images, pool))
    ours = lambda: prepare(pool, torch.arange(PEER_IMAGES))(images, k=NEIGHBOURS, step=silent)  # noqa: E731
    ours_s, scipy_s = in_turns(ours, lambda: cdist(left[:LOOP_IMAGES], right, "correlation").argmin(1))
    ours_pair, scipy_pair = ours_s / PEER_IMAGES**2, scipy_s / PEER_IMAGES / LOOP_IMAGES

    def loop() -> NDArray[Any]:
        few = left[:LOOP_IMAGES], right[:LOOP_IMAGES]
        return np.array([[np.corrcoef(a, b)[0, 1] for b in few[1]] for a in few[0]])

    loop_pair = seconds(loop) / LOOP_IMAGES**2
    note = f"{ours_pair * 1e6:.3f} µs here, mask, standardising and best {NEIGHBOURS} included"
    return [
        ("loop of numpy.corrcoef per pair", f"{loop_pair * 1e6:.0f} µs, {loop_pair / ours_pair:.0f} times ours", note),
        (
            "scipy cdist correlation per pair",
            f"{scipy_pair * 1e6:.2f} µs, {scipy_pair / ours_pair:.0f} times ours",
            note,
        ),
        _faiss(left, right, ours_pair, note),
    ]


def _faiss(left: NDArray[Any], right: NDArray[Any], ours_pair: float, note: str) -> Row:
    name = "faiss IndexFlatIP per pair"
    if importlib.util.find_spec("faiss") is None:
        return name, "not installed", ""
    import faiss  # type: ignore[import-not-found, unused-ignore]

    faiss.omp_set_num_threads(1)

    def search() -> None:
        index = faiss.IndexFlatIP(right.shape[1])
        sides = [side - side.mean(1, keepdims=True) for side in (left, right)]
        base, asked = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in reversed(sides))
        index.add(base)
        index.search(asked, NEIGHBOURS)

    pair = min(seconds(search) for _ in range(TURNS)) / len(left) / len(right)
    return name, f"{pair * 1e6:.3f} µs, {pair / ours_pair:.1f} times ours", note


def alignment() -> list[Row]:
    pool, queries = invented(ALIGNED_POOL, 2), invented(ALIGNED_QUERIES, 3)
    search = prepare_aligned(pool, torch.arange(ALIGNED_POOL))
    prepare_s = seconds(lambda: prepare_aligned(pool, torch.arange(ALIGNED_POOL)))
    taken = min(seconds(lambda: search(queries, k=NEIGHBOURS, step=silent)) for _ in range(2))
    return [
        ("aligned score, preparing", f"{prepare_s / ALIGNED_POOL * 1e6:.0f} µs per image", "three small grids"),
        ("aligned score, one query", f"{taken / ALIGNED_QUERIES * 1e3:.0f} ms", f"{ALIGNED_POOL} training images"),
    ]


def streamed(count: int, folder: Path) -> dict[str, float]:
    """Both sets read from disk, rows in a file, finished blocks kept; in a process of its own, for its memory."""
    paths = [folder / f"{side}-{count}.npy" for side in ("queries", "pool")]
    for seed, path in enumerate(paths):
        voxels = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(count, 1, SIDE, SIDE))
        for start in range(0, count, 500):
            voxels[start : start + 500] = invented(500, seed * 1000 + start).numpy()
        del voxels
    done = subprocess.run(
        [sys.executable, __file__, "--streamed", *map(str, paths)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def stream(queries_at: Path, pool_at: Path) -> dict[str, float]:
    base_mib = _peak_mib()
    queries, pool = (torch.from_numpy(np.load(path, mmap_mode="c")) for path in (queries_at, pool_at))
    scratch = Scratch(queries_at.parent / f"work-{len(pool)}", STREAMED_MB)
    start = time.process_time()
    search = prepare_within(pool, torch.arange(len(pool)) // 2, scratch)
    prepared = time.process_time()
    search_in_blocks(search, queries, k=NEIGHBOURS, work=Work.bound(scratch.folder))
    return {
        "prepare_s": prepared - start,
        "search_s": time.process_time() - prepared,
        "peak_mib": _peak_mib(),
        "base_mib": base_mib,
    }


def _peak_mib() -> float:
    """Of this program: ``ru_maxrss`` would count what the process was before it became this program."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10


def scaling() -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in SCALED_IMAGES:
            found = streamed(count, Path(folder))
            taken = found["prepare_s"] + found["search_s"]
            pairs_s, each_s = found["search_s"] / count**2, found["prepare_s"] / count
            cost = f"{taken:.1f} s: {each_s * 1e6:.0f} µs per training image, {pairs_s * 1e6:.3f} µs per pair"
            peak = f"peak memory {found['peak_mib']:.0f} MiB, of it {found['base_mib']:.0f} before any image"
            rows.append((f"streamed, {count} x {count}", cost, f"{peak}; audit.memory_mb {STREAMED_MB}"))
    return rows


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--streamed"]:
        json.dump(stream(Path(sys.argv[2]), Path(sys.argv[3])), io.TextIOWrapper(sys.stdout.buffer))
        return
    rows = [*decoding(), *product(), *peers(), *alignment(), *scaling()]
    note = (
        "The process's own time on one thread. Peak memory counts the pages of mapped files that the system had no\n"
        "other use for. Streamed: images mapped from disk, rows of the pool in a file where a quarter of the memory\n"
        "cannot hold them, every finished block of queries written to disk."
    )
    write_results(__file__, ("what", "figure", "of"), rows, note)


if __name__ == "__main__":
    main()
