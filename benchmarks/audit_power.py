"""Which planted copies the aligned score finds, and whom it accuses, over 100 resplits of the patients.

python benchmarks/audit_power.py SHARED_DATA CACHE [--part final] [--shard I N]; needs chest-xray-pediatric and
mri-hippocampus. About ten minutes on one idle core; CACHE keeps the scores, so a run may be cut off, or several
processes may share the work (``--shard``), before one without ``--shard`` writes the table.

Patients whose hash is odd are the final part: nothing was settled on them. They were looked at twice: once for an
earlier score, whose false positives under blur and shrinking missed the bar, and again after the score was made
stricter for such images on the other patients.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from report import write_results

from lichen.audit import conformal_p_values, find_score
from lichen.audit.conformal import maxima_by_patient
from lichen.audit.planted import DISTURBANCES, Disturbance
from lichen.audit.scores import NEIGHBOURS, Pool, Search
from lichen.audit.selftest import SINGLE_TRANSFORMATIONS
from lichen.images import ImageSet, load_set, open_folder
from lichen.progress import silent

SCORES = ("aligned", "pearson")
RESPLITS = 100
PART = {"development": 0, "final": 1}
"""Remainder of the first byte of a patient's hash."""


@dataclass(frozen=True)
class Task:
    """One kind of images, and what is asked of it."""

    name: str
    folder: str
    patient_column: str
    size: tuple[int, ...]
    level: float
    calibration: int
    """Patients of each resplit; the fewest held-out patients for which the level is a whole number of them."""
    copies: int
    """Training images that are copied, of different patients. New are all held-out patients, so that chance has no
    part in whose images are tested."""


TASKS = (
    Task("chest X-ray 64 x 64", "chest-xray-pediatric", "group", (64, 64), 0.02, 99, 40),
    Task("hippocampus 32 x 48 x 32", "mri-hippocampus", "subject", (32, 48, 32), 0.05, 19, 20),
)


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True)
class Patients:
    """Training and held-out images of one part."""

    train: ImageSet
    held_out: ImageSet

    @staticmethod
    def load(task: Task, data: Path, part: str) -> Patients:
        items = [
            item
            for item in open_folder(data / task.folder, patient_column=task.patient_column).items
            if digest(item.patient)[0] % 2 == PART[part]
        ]
        order = sorted({item.patient for item in items}, key=lambda patient: digest(f"split {patient}"))
        train = set(order[: len(order) // 2])
        sides = [[item for item in items if (item.patient in train) is side] for side in (True, False)]
        return Patients(*(load_set(side, task.size) for side in sides))


def first_of_each(images: ImageSet) -> list[int]:
    """Positions of one image of each patient."""
    return [images.patients.index(patient) for patient in dict.fromkeys(images.patients)]


def planted(disturbance: Disturbance, images: ImageSet, chosen: list[int]) -> torch.Tensor:
    partners = chosen[1:] + chosen[:1]
    voxels = images.voxels.clamp(-1, 1)  # rounding leaves some a hair outside
    return disturbance(voxels[chosen], seed=0, indices=chosen, partners=voxels[partners])


def asked(search: Search, queries: torch.Tensor) -> NDArray[np.float64]:
    return np.asarray(search(queries, k=NEIGHBOURS, step=silent).similarity[:, 0].double())


def disturbances() -> list[Disturbance]:
    return [disturbance for disturbance in DISTURBANCES.values() if not disturbance.needs_round_trip]


def scores(task: Task, patients: Patients, cache: Path, shard: tuple[int, int]) -> dict[str, NDArray[np.float64]]:
    """Similarities by ``score/what/side``, read from ``cache`` or computed and put there."""
    train, held_out = patients.train, patients.held_out
    numbers = {patient: number for number, patient in enumerate(dict.fromkeys(train.patients))}
    owners = torch.tensor([numbers[patient] for patient in train.patients])
    searches = {name: find_score(name).prepare(Pool(train.voxels, owners)) for name in SCORES}
    sides = {"copy": first_of_each(train)[: task.copies], "new": first_of_each(held_out)}
    jobs: list[Disturbance | None] = [None, *disturbances()]
    found: dict[str, NDArray[np.float64]] = {}
    for number, disturbance in enumerate(jobs):
        path = cache / f"{task.folder}-{'plain' if disturbance is None else disturbance.name.replace(' ', '-')}.npz"
        if not path.exists():
            if number % shard[1] != shard[0]:
                continue
            made = {"held": held_out.voxels}
            if disturbance is not None:
                images = {"copy": train, "new": held_out}
                made = {side: planted(disturbance, images[side], chosen) for side, chosen in sides.items()}
            arrays = {f"{name} {side}": asked(search, made[side]) for name, search in searches.items() for side in made}
            np.savez(path, allow_pickle=False, **arrays)
            print(path.name, flush=True)
        what = "plain" if disturbance is None else disturbance.name
        with np.load(path) as kept:
            found |= {f"{what}/{key}": kept[key] for key in kept}
    return found


def resplits(
    task: Task, patients: Patients, found: dict[str, NDArray[np.float64]], score: str
) -> Iterator[tuple[str, float, float]]:
    """Name, mean power and mean false-positive rate of each disturbance over the resplits."""
    held_out = patients.held_out
    null = maxima_by_patient(found[f"plain/{score} held"], held_out.patients)
    names = list(null)
    new = [held_out.patients[at] for at in first_of_each(held_out)]
    rows: dict[str, list[tuple[float, float]]] = {}
    for split in range(RESPLITS):
        draw = np.random.default_rng(split)
        order = draw.permutation(len(names))
        calibration = {names[at] for at in order[: task.calibration]}
        threshold = np.array([null[name] for name in sorted(calibration)])
        tested = np.array([patient not in calibration for patient in new])
        for disturbance in disturbances():
            copies, others = (found[f"{disturbance.name}/{score} {side}"] for side in ("copy", "new"))
            drawn = draw.permutation(len(copies))[: len(copies) // 2]
            power, false = (
                float((conformal_p_values(values, threshold) <= task.level).mean())
                for values in (copies[drawn], others[tested])
            )
            rows.setdefault(disturbance.name, []).append((power, false))
    for name, pairs in rows.items():
        power, false = np.mean(pairs, axis=0)
        yield name, float(power), float(false)


def table(task: Task, patients: Patients, found: dict[str, NDArray[np.float64]]) -> list[tuple[str, ...]]:
    columns = [list(resplits(task, patients, found, score)) for score in SCORES]
    what = f"{task.name}, p <= {task.level:g}"
    rows = [
        (what, entries[0][0], *(f"{value:.3f}" for _, *values in entries for value in values))
        for entries in zip(*columns, strict=True)
    ]
    single = [[entry for entry in column if entry[0] in SINGLE_TRANSFORMATIONS] for column in columns]
    rows += [
        (
            what,
            f"**{word} of the {len(SINGLE_TRANSFORMATIONS)} single ones**",
            *(f"**{pick([entry[at] for entry in column]):.3f}**" for column in single for at in (1, 2)),
        )
        for word, pick in (("mean", np.mean), ("lowest", np.min), ("highest", np.max))
    ]
    held, train = (set(images.patients) for images in (patients.held_out, patients.train))
    sizes = (
        f"{len(patients.train.names)} training images of {len(train)} patients; {task.calibration} of {len(held)} "
        f"held-out patients for calibration in each resplit"
    )
    rows.append((what, sizes, "-", "-", "-", "-"))
    for row in rows:
        print(*row, sep=" | ")
    return rows


def main() -> None:
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--part", choices=list(PART), default="development")
    parser.add_argument("--only", choices=[task.folder for task in TASKS], nargs="*")
    parser.add_argument("--shard", type=int, nargs=2, default=None)
    given = parser.parse_args()
    cache = given.cache / given.part
    cache.mkdir(parents=True, exist_ok=True)
    rows = []
    for task in TASKS:
        if given.only and task.folder not in given.only:
            continue
        patients = Patients.load(task, given.data, given.part)
        found = scores(task, patients, cache, tuple(given.shard) if given.shard else (0, 1))
        if given.shard is None:
            rows += table(task, patients, found)
    if given.shard is None and not given.only and given.part == "final":
        note = (
            "Planted copies of training images found (power) and equally disturbed images of new patients flagged\n"
            f"(false), each the mean over {RESPLITS} resplits of the held-out patients into calibration and test and\n"
            "of the copies, at score level. Only the final part of the patients, looked at a second time: at the\n"
            "first look the bars were missed (chest: mean false positives 0.030, blur 3 px 0.144; hippocampus: power\n"
            "0.830 at zoom 0.9), so the score was made stricter for dark edges and coarse details, and candidates are\n"
            "ranked with dark edges as well; both were settled on the other patients alone. To reach:\n"
            "false positives at most 2.5 % (chest) and 6 % (hippocampus) on average; power of the single\n"
            "transformations 0.97 on average and none under 0.90, of the combination 0.85. Inversion, half and mean\n"
            "are outside what the score is made for. Pixel correlation is judged with the same patients."
        )
        header = ("images", "transformation", *(f"{what}, {name}" for name in SCORES for what in ("power", "false")))
        write_results(__file__, header, rows, note)


if __name__ == "__main__":
    main()
