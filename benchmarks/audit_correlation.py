"""The audit's blocked product against a loop over pairs, and what the size of the pool does to a threshold.

Run: python benchmarks/audit_correlation.py; writes audit_correlation.md beside itself. About half a minute on one core.
What the search costs at size is in audit_cost.py.
"""

from __future__ import annotations

import datetime as dt
import platform
import subprocess
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from lichen.audit import conformal_p_values
from lichen.audit.pearson import PearsonSearch, prepare
from lichen.audit.scores import NEIGHBOURS

SIDE = 64
LOOP_IMAGES = 250
POOLS = ((904, 226, 904), (10_000, 200, 10_000))


def people(count: int, seed: int, side: int = SIDE) -> torch.Tensor:
    """Invented patients, (count, 1, side, side): smooth anatomy in twelve numbers each, and noise."""
    generator = torch.Generator().manual_seed(seed)
    imaging = torch.randn((12, side * side), generator=torch.Generator().manual_seed(0))
    voxels = torch.randn((count, 12), generator=generator) @ imaging
    return (voxels + 0.3 * torch.randn(voxels.shape, generator=generator)).reshape(-1, 1, side, side) / 20


def loop(queries: torch.Tensor, pool: torch.Tensor) -> np.ndarray:
    """Every pair by itself, as a script would do it."""
    rows, columns = queries.flatten(1).numpy(), pool.flatten(1).numpy()
    return np.array([[np.corrcoef(row, column)[0, 1] for column in columns] for row in rows])


def against_a_loop() -> list[str]:
    queries, pool = people(LOOP_IMAGES, 1), people(LOOP_IMAGES, 2)
    start = time.process_time()
    expected = loop(queries, pool)
    loop_s = time.process_time() - start
    numbers = torch.arange(LOOP_IMAGES)
    product_s = np.inf
    for _ in range(5):
        start = time.process_time()
        found = prepare(pool, numbers)(queries, k=NEIGHBOURS)
        product_s = min(product_s, time.process_time() - start)
    best = np.sort(expected, axis=1)[:, ::-1][:, :NEIGHBOURS]
    error = np.abs(found.similarity.numpy() - best).max()
    same = (found.index[:, 0].numpy() == expected.argmax(axis=1)).mean()
    return [
        f"| pairs | {LOOP_IMAGES} x {LOOP_IMAGES}, {SIDE} x {SIDE} voxels |",
        f"| loop of numpy.corrcoef | {loop_s:.2f} s, {loop_s / LOOP_IMAGES**2 * 1e6:.0f} µs per pair |",
        f"| blocked product, standardising and top {NEIGHBOURS} included | {product_s:.4f} s |",
        f"| ratio | {loop_s / product_s:.0f} |",
        f"| largest absolute error of the {NEIGHBOURS} best | {error:.1e} |",
        f"| same nearest image | {same:.1%} |",
    ]


def _nearest(search: PearsonSearch, queries: torch.Tensor) -> np.ndarray:
    return search(queries, k=1).similarity[:, 0].double().numpy()


def pool_size(train: int, validation: int, synthetic: int) -> str:
    """No copy anywhere; both rules are meant to flag 5 %."""
    repeats = 20 if train < 5000 else 3
    shares = []
    for seed in range(repeats):
        pool, small, new = (people(n, 10 * seed + i, side=12) for i, n in enumerate((train, validation, synthetic)))
        search = prepare(pool, torch.arange(train))
        found = _nearest(search, new)
        threshold = np.quantile(_nearest(prepare(small, torch.arange(validation)), pool), 0.95)
        null = _nearest(search, small)
        shares.append(((found > threshold).mean(), (conformal_p_values(found, null) <= 0.05).mean()))
    by_percentile, by_p_value = np.mean(shares, axis=0)
    return f"| {train} / {validation} / {synthetic} | {by_percentile:.1%} | {by_p_value:.1%} |"


def main() -> None:
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    lines = [
        "# All-pairs correlation",
        "",
        "- command: `python benchmarks/audit_correlation.py`",
        f"- commit: {commit.stdout.strip()} or the one after it; torch {torch.__version__}, one thread",
        f"- machine: {platform.machine()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f} at the start",
        f"- date: {dt.datetime.now(dt.UTC).date()}",
        "",
        "## Against a loop over pairs",
        "",
        "| | |",
        "|---|---|",
        *against_a_loop(),
        "",
        "## Share of new patients' images called copies, no copy among them, both rules set to 5 %",
        "",
        "| training / validation / synthetic | 95th percentile of training to validation | p <= 0.05 here |",
        "|---|---|---|",
        *(pool_size(*sizes) for sizes in POOLS),
        "",
        "Invented patients (twelve Gaussian numbers of anatomy each). The percentile rule searches a pool of",
        "validation images for its threshold and the larger training pool for its verdict; the p-values search the",
        "training pool for both.",
    ]
    text = "\n".join(lines) + "\n"
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
