"""Images per second into tensors on one grid: lichen beside MONAI's and torchio's loaders on the same files.

Cold is the first pass over files that the system has in memory; cached is a second pass, for which each library uses
what it offers: lichen its cache on disk, MONAI its PersistentDataset on disk and its CacheDataset in memory, torchio
its own second pass, as it keeps nothing. All decode, scale intensities by the same percentiles and bring images to the
same grid, on one thread and in one process.

    python benchmarks/reading_throughput.py --data ../shared/data
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from report import write_results

from lichen.images import load_set, open_folder

MOST = 100
"""Images of each set that are read."""


def seconds(one_pass: Callable[[], object]) -> float:
    """How long a pass takes."""
    start = time.perf_counter()
    one_pass()
    return time.perf_counter() - start


def with_lichen(folder: Path, size: tuple[int, ...]) -> tuple[float, float]:
    """(cold, cached) seconds; a pass touches every voxel, since the cache is only mapped."""
    items = open_folder(folder).items[:MOST]
    with tempfile.TemporaryDirectory() as cache:

        def whole() -> None:
            load_set(items, size, cache_dir=Path(cache)).voxels.sum()

        return seconds(whole), seconds(whole)


def monai_transform(size: tuple[int, ...]) -> Any:
    """MONAI's chain for the same work."""
    from monai.transforms import Compose, EnsureChannelFirst, LoadImage, Resize, ScaleIntensityRangePercentiles

    return Compose(
        [
            LoadImage(image_only=True),
            EnsureChannelFirst(),
            ScaleIntensityRangePercentiles(0.5, 99.5, -1.0, 1.0, clip=True),
            Resize(size, mode="area"),
        ]
    )


def with_monai(files: list[Path], size: tuple[int, ...], kind: str) -> tuple[float, float]:
    """(cold, cached) seconds with the dataset ``kind``."""
    from monai.data import CacheDataset, PersistentDataset

    paths = [str(path) for path in files]

    def whole(dataset: Any) -> None:
        for image in dataset:
            image.sum()

    if kind == "PersistentDataset":
        with tempfile.TemporaryDirectory() as cache:
            stored = PersistentDataset(paths, monai_transform(size), cache_dir=cache)
            return seconds(lambda: whole(stored)), seconds(lambda: whole(stored))
    start = time.perf_counter()
    kept = CacheDataset(paths, monai_transform(size), num_workers=1, progress=False)
    whole(kept)
    return time.perf_counter() - start, seconds(lambda: whole(kept))


def with_torchio(files: list[Path], size: tuple[int, ...]) -> tuple[float, float]:
    """(cold, second pass) seconds; torchio keeps decoded images only if it is asked to before the transforms."""
    import torchio

    transform = torchio.Compose(
        [
            torchio.RescaleIntensity(out_min_max=(-1, 1), percentiles=(0.5, 99.5)),
            torchio.Resize(size if len(size) == 3 else (*size, 1)),
        ]
    )

    def whole() -> None:
        for path in files:
            transform(torchio.ScalarImage(path)).data.sum()

    return seconds(whole), seconds(whole)


def rows_of(folder: Path, size: tuple[int, ...]) -> list[tuple[str, ...]]:
    """One row for each way to read the set."""
    items = open_folder(folder).items[:MOST]
    files = [folder / item.name for item in items]
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        "lichen": lambda: with_lichen(folder, size),
        "MONAI PersistentDataset": lambda: with_monai(files, size, "PersistentDataset"),
        "MONAI CacheDataset": lambda: with_monai(files, size, "CacheDataset"),
    }
    if find_spec("torchio"):
        ways["torchio"] = lambda: with_torchio(files, size)
    times = {name: [way() for _ in range(3)] for name, way in ways.items()}
    best = {name: (min(cold for cold, _ in all_), min(cached for _, cached in all_)) for name, all_ in times.items()}
    mine = best["lichen"]
    return [
        (
            f"{folder.name}, {len(files)} images" if name == "lichen" else "",
            name,
            f"{len(files) / cold:.0f}",
            f"{len(files) / cached:.0f}",
            "" if name == "lichen" else f"{cold / mine[0]:.2f}, {cached / mine[1]:.1f}",
        )
        for name, (cold, cached) in best.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    data = parser.parse_args().data
    torch.set_num_threads(1)
    rows = rows_of(data / "mri-hippocampus", (32, 48, 32)) + rows_of(data / "chest-xray-pediatric", (64, 64))
    absent = "" if find_spec("torchio") else " torchio is not installed here and was left out."
    note = f"One thread, the best of three passes; images per second, and how many times faster lichen is.{absent}"
    write_results(__file__, ("images", "loader", "cold", "cached", "lichen is faster by: cold, cached"), rows, note)


if __name__ == "__main__":
    main()
