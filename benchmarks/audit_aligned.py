"""How many planted copies the aligned score finds beside plain pixel correlation, and what an image costs.

python benchmarks/audit_aligned.py SHARED_DATA; holds chest-xray-pediatric and mri-hippocampus. A few minutes on one
core. Only a fixed part of the patients is read (``PART``): the others stay unseen for a last test.
"""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from report import write_results
from torch import Tensor
from torch.nn import functional

from lichen.audit import patient_maxima
from lichen.audit.aligned import prepare as prepare_aligned
from lichen.audit.pearson import prepare as prepare_pearson
from lichen.audit.scores import Search
from lichen.images import load_set, open_folder
from lichen.progress import silent

PART = 0.6
"""Share of the patients that this script reads, by a hash of their names."""
TRAIN = 0.6
"""Of these, the share whose images are the training pool; the others are held out."""
QUANTILE = 0.95
PLANTED = 30


def gaussian(images: Tensor, deviation: float) -> Tensor:
    for axis in range(2, images.ndim):
        at = torch.arange(images.shape[axis], dtype=torch.float32)
        kernel = (-0.5 * ((at[:, None] - at) / deviation).square()).exp()
        kernel /= kernel.sum(1, keepdim=True)
        images = (images.movedim(axis, -1) @ kernel.T).movedim(-1, axis)
    return images


def moved(images: Tensor, degrees: float = 0.0, shift: float = 0.0, zoom: float = 1.0) -> Tensor:
    """Turned in the plane of the last two axes, shifted by ``shift`` voxels along each axis, zoomed; linear."""
    dims, angle = images.ndim - 2, math.radians(degrees)
    size = torch.tensor(images.shape[2:], dtype=torch.float32)
    matrix = torch.eye(dims)
    matrix[-2:, -2:] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    axes = [torch.arange(n) - (n - 1) / 2 for n in images.shape[2:]]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    where = ((points - shift) @ matrix.T / zoom) / (size / 2)
    return functional.grid_sample(
        images, where.flip(-1).expand(len(images), *where.shape), padding_mode="border", align_corners=False
    )


def mirror(images: Tensor) -> Tensor:
    return images.flip(-1 if images.ndim == 4 else 2)


def noisy(images: Tensor, share: float) -> Tensor:
    """Noise of ``share`` of the range, which is 2."""
    return images + 2 * share * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))


def gamma(images: Tensor, power: float) -> Tensor:
    return ((images + 1) / 2).clamp(0, 1) ** power * 2 - 1


def transformations(longest: int) -> dict[str, Callable[[Tensor], Tensor]]:
    pixel = longest / 64  # shifts and blurs are given for images of 64 voxels
    return {
        "exact": lambda x: x,
        "rotation 5": lambda x: moved(x, degrees=5),
        "rotation 10": lambda x: moved(x, degrees=10),
        "shift 2 px": lambda x: moved(x, shift=2 * pixel),
        "shift 4 px": lambda x: moved(x, shift=4 * pixel),
        "mirror": mirror,
        "zoom 0.9": lambda x: moved(x, zoom=0.9),
        "zoom 1.1": lambda x: moved(x, zoom=1.1),
        "gamma 0.5": lambda x: gamma(x, 0.5),
        "gamma 2": lambda x: gamma(x, 2.0),
        "noise 0.1": lambda x: noisy(x, 0.1),
        "noise 0.2": lambda x: noisy(x, 0.2),
        "blur 2 px": lambda x: gaussian(x, 2 * pixel),
        "blur 3 px": lambda x: gaussian(x, 3 * pixel),
        "mirror, rotation 5, shift 2, zoom 0.95, gamma 0.7, noise 0.05": lambda x: noisy(
            gamma(moved(mirror(x), degrees=5, shift=2 * pixel, zoom=0.95), 0.7), 0.05
        ),
    }


def drawn(name: str, salt: str) -> float:
    return int(hashlib.sha256(f"{salt} {name}".encode()).hexdigest()[:8], 16) / 16**8


def load(folder: Path, column: str, size: tuple[int, ...]) -> tuple[Tensor, list[str]]:
    """Images of the part of the patients that this script may read, (N, 1, *size), and whose they are."""
    source = open_folder(folder, patient_column=column)
    images = load_set([item for item in source.items if drawn(item.patient, "part") < PART], size)
    return images.voxels, list(images.patients)


def power(found: np.ndarray, threshold: float) -> str:
    return f"{(found > threshold).mean():.2f}"


def score(search: Search, queries: Tensor) -> np.ndarray:
    return np.asarray(search(queries, k=6, step=silent).similarity[:, 0].double())


def measure(label: str, images: Tensor, patients: list[str]) -> list[tuple[str, ...]]:
    names = sorted(set(patients))
    number = torch.tensor([names.index(patient) for patient in patients])
    training = torch.tensor([drawn(patient, "train") < TRAIN for patient in patients])
    pool, held_out = images[training], images[~training]
    of_held_out = [patient for patient, inside in zip(patients, training.tolist(), strict=True) if not inside]
    order = torch.randperm(len(pool), generator=torch.Generator().manual_seed(0))[:PLANTED]
    first = [of_held_out.index(patient) for patient in dict.fromkeys(of_held_out)]
    half = len(first) // 2
    calibration = [at for at, patient in enumerate(of_held_out) if patient in {of_held_out[i] for i in first[:half]}]
    new = held_out[first[half:]][:PLANTED]

    searches: dict[str, Search] = {
        "pearson": prepare_pearson(pool, number[training]),
        "aligned": prepare_aligned(pool, number[training]),
    }
    threshold, cost = {}, {}
    for name, search in searches.items():
        start = time.process_time()
        null = patient_maxima(score(search, held_out[calibration]), [of_held_out[i] for i in calibration])
        cost[name] = (time.process_time() - start) / len(calibration) * 1e3
        threshold[name] = float(np.quantile(null, QUANTILE))
    what = f"{label}, {len(pool)} training images, {half} patients for the threshold"
    rows = []
    for name, change in transformations(max(images.shape[2:])).items():
        figures = [
            power(score(searches[s], change(part)), threshold[s]) for part in (pool[order], new) for s in searches
        ]
        rows.append((what, f"{name} (n = {len(order)}, {len(new)})", *figures))
        print(rows[-1], flush=True)
    rows.append((what, "ms per query", *(f"{cost[s]:.1f}" for s in searches), "-", "-"))
    return rows


def main() -> None:
    torch.set_num_threads(1)
    data = Path(sys.argv[1])
    chests = load(data / "chest-xray-pediatric", "group", (64, 64))
    rows = measure("chest X-ray 64 x 64", *chests)
    rows += measure("hippocampus 32 x 48 x 32", *load(data / "mri-hippocampus", "subject", (32, 48, 32)))
    note = (
        "Share of images whose score lies above the 95 % quantile of calibration patients (each by its highest\n"
        "score): planted copies of training images (power), and equally transformed images of new patients (false\n"
        "positives, meant to be 5 % and uncertain by several points). Shifts and blurs are those of images 64 voxels\n"
        "long, rotations in the plane of the last two axes. Score level, one split; the numbers behind a name are\n"
        "copies and new images. Milliseconds are those of the process's own time on one thread, the pool prepared."
    )
    header = ("images", "transformation", "power, pearson", "power, aligned", "false, pearson", "false, aligned")
    write_results(__file__, header, rows, note)


if __name__ == "__main__":
    main()
