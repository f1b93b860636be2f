"""What one query of the aligned score costs against N training images, and how it grows.

python benchmarks/audit_aligned_cost.py; invented images of 64 x 64. About a minute on one core.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from report import write_results

from lichen.audit.aligned import SHORTLIST, prepare
from lichen.progress import silent

SIZES = (500, 2000, 8000)
QUERIES = 12


def people(count: int, seed: int) -> torch.Tensor:
    """Invented patients, (count, 1, 64, 64): blurred noise."""
    noise = torch.randn((count, 1, 64, 64), generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, 1, 2)


def seconds(work: Callable[[], object]) -> float:
    """Of the process's own time: the machine may do other things beside."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(count: int) -> tuple[str, ...]:
    pool, queries = people(count, 2), people(QUERIES, 1)
    start = time.process_time()
    search = prepare(pool, torch.arange(count))
    prepare_s = time.process_time() - start
    variants = search.coarse.variants(search.levels[0].see(queries[:4]))
    coarse_s = min(seconds(lambda: search.coarse.best(variants, SHORTLIST, 500)) for _ in range(2)) / 4
    whole_s = min(seconds(lambda: search(queries, k=6, step=silent)) for _ in range(2)) / QUERIES
    held = sum(level.images.nbytes for level in search.levels) / 2**20
    return (
        str(count),
        f"{prepare_s / count * 1e3:.2f}",
        f"{whole_s * 1e3:.0f}",
        f"{coarse_s * 1e3:.0f}",
        f"{coarse_s / count * 1e6:.1f}",
        f"{held:.0f}",
    )


def main() -> None:
    torch.set_num_threads(1)
    header = (
        "training images",
        "preparing, ms per image",
        "ms per query",
        "of it the coarse pass, ms",
        "coarse pass, µs per pair",
        "held, MiB",
    )
    note = (
        "The process's own time on one thread, best of two. The alignment of the shortlist costs the same for every\n"
        "N; the coarse pass, 750 transformations of each query against every training image, grows with N."
    )
    write_results(__file__, header, [measure(count) for count in SIZES], note)


if __name__ == "__main__":
    main()
