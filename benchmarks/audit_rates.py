"""Do the intervals of the copy rate cover the truth, and how often is a set without a copy called one with copies?

python benchmarks/audit_rates.py SHARED_DATA; holds chest-xray-pediatric. Aligned scores of real X-rays are computed
once, about ten minutes on one core, and kept in the folder of temporary files; what follows resamples patients.

Patients are split into a development half, on which methods were chosen, and a final half, by a hash of their names.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from report import write_results

import lichen.audit
from lichen.audit import benjamini_hochberg, conformal_p_values, patient_maxima
from lichen.audit.alarm import set_p_value
from lichen.audit.aligned import prepare
from lichen.audit.planted import DISTURBANCES
from lichen.audit.rates import copy_rate, memorised_patients
from lichen.images import load_set, open_folder

Floats = NDArray[np.float64]
Of = Literal["set", "generator"]

NOT_SINGLE = {"inversion", "autoencoder round trip", "combination of four", "half an image in another", "mean of two"}
SINGLE = [name for name in DISTURBANCES if name not in NOT_SINGLE]
TRAIN = 0.35
"""Share of the patients of a half whose images are the training pool; the others are new."""
PLANTED, TRANSFORMED = 5, 2
"""Transformations of each training patient's and of each new patient's first image, in turn from ``SINGLE``."""
LEVEL = 0.05
IMAGES, COPIES, CALIBRATION = 100, 0.3, 95
REPETITIONS, SETS = 1000, 500
FALSE_DISCOVERY_RATE, SET_LEVEL = 0.1, 0.05
BLUR = SINGLE.index("blur 2 px")
SCORED_BY = (
    "aligned",
    "coarse",
    "contrast",
    "degrade",
    "motion",
    "pearson",
    "planted",
    "refine",
    "relative",
    "topk",
    "warp",
)
"""Modules whose change makes stored scores stale."""


@dataclass(frozen=True)
class Scores:
    """Aligned scores of one half; N new patients, T training patients."""

    maxima: Floats
    """(N,) the largest of each new patient's images: what calibrates."""
    first: Floats
    """(N,) of each new patient's first image."""
    blurred: Floats
    """(N, 2): that image blurred by 2 px, and by 1 or 3."""
    transformed: Floats
    """(N, TRANSFORMED): that image under single transformations."""
    planted: Floats
    """(T, PLANTED): a copy of each training patient's first image under single transformations."""
    nearest: NDArray[np.str_]
    """(T, PLANTED): whom each of these is nearest to."""
    training_patients: NDArray[np.str_]
    """(T,)."""
    innocent_nearest: NDArray[np.str_]
    """(N, TRANSFORMED): whom the transformed images of new patients are nearest to."""


def byte(name: str, position: int) -> int:
    return hashlib.sha256(name.encode()).digest()[position]


def cached_scores(folder: Path, half: int) -> Scores:
    """Of patients with the first byte of the hash of their names even (``half`` 0) or odd (1)."""
    rooms = Path(str(lichen.audit.__file__)).parent
    code = b"".join((rooms / f"{name}.py").read_bytes() for name in SCORED_BY)
    version = hashlib.sha256(code + repr((TRAIN, PLANTED, TRANSFORMED, SINGLE)).encode()).hexdigest()[:12]
    path = Path(tempfile.gettempdir()) / f"lichen-audit-rates-{version}-{half}.npz"
    if not path.exists():
        np.savez(path, **vars(score(folder, half)))
    with np.load(path) as stored:
        return Scores(**stored)


def score(folder: Path, half: int) -> Scores:
    source = open_folder(folder, patient_column="group")
    images = load_set([item for item in source.items if byte(item.patient, 0) % 2 == half], (64, 64))
    voxels, patients = images.voxels.clamp(-1, 1), np.array(images.patients)
    training = np.array([byte(patient, 1) < TRAIN * 256 for patient in patients])
    numbers = torch.from_numpy(np.unique(patients, return_inverse=True)[1])
    search, whose = prepare(voxels[training], numbers[training]), patients[training]

    def transformed(of: NDArray[np.int64], picks: NDArray[np.int64]) -> tuple[Floats, NDArray[np.str_]]:
        similarity, nearest = np.empty(picks.shape), np.empty(picks.shape, dtype=patients.dtype)
        for pick in np.unique(picks):
            rows, columns = np.nonzero(picks == pick)
            disturb = DISTURBANCES[SINGLE[pick]]
            found = search(disturb(voxels[of[rows]], seed=0, indices=of[rows].tolist()), k=1)
            similarity[rows, columns] = found.similarity[:, 0].double().numpy()
            nearest[rows, columns] = whose[found.index[:, 0].numpy()]
        return similarity, nearest

    plain = search(voxels[~training], k=1).similarity[:, 0].double().numpy()
    # In order of first appearance, as patient_maxima has them.
    new = np.array([np.flatnonzero(patients == who)[0] for who in dict.fromkeys(patients[~training])])
    known = np.array([np.flatnonzero(patients == who)[0] for who in dict.fromkeys(whose)])
    others = np.where(np.arange(len(new)) % 2, BLUR - 1, BLUR + 1)
    planted, nearest = transformed(known, _in_turn(len(known), PLANTED))
    shown, innocent_nearest = transformed(new, _in_turn(len(new), TRANSFORMED))
    return Scores(
        maxima=patient_maxima(plain, patients[~training].tolist()),
        first=plain[np.searchsorted(np.flatnonzero(~training), new)],
        blurred=transformed(new, np.stack([np.full(len(new), BLUR), others], 1))[0],
        transformed=shown,
        planted=planted,
        nearest=nearest,
        training_patients=patients[known],
        innocent_nearest=innocent_nearest,
    )


def _in_turn(patients: int, each: int) -> NDArray[np.int64]:
    return (np.arange(patients)[:, None] * each + np.arange(each)) % len(SINGLE)


@dataclass(frozen=True)
class Design:
    """One setting of the repetitions."""

    of: Of
    number_is_chance: bool
    """Whether each image is a copy with probability ``COPIES``, or exactly that share are copies."""
    transformed: bool
    """Whether innocent images are transformed as copies are, or untouched."""

    @property
    def words(self) -> tuple[str, str, str]:
        number = "each image with 30 %" if self.number_is_chance else "exactly 30 %"
        return self.of, number, "transformed" if self.transformed else "untouched"


DESIGNS = (
    Design("set", False, False),
    Design("set", False, True),
    Design("set", True, False),
    Design("generator", True, False),
    Design("generator", True, True),
    Design("generator", False, False),
)


def repeat(scores: Scores, design: Design, rng: np.random.Generator) -> tuple[float, ...]:
    """One audit: is the truth covered, width, the oracle's width, error; covered and error of memorised patients."""
    new, known = rng.permutation(len(scores.first)), rng.permutation(len(scores.planted))
    calibration, others = new[:CALIBRATION], new[CALIBRATION:]
    tested, copied = known[: len(known) // 2], known[len(known) // 2 :]
    copies = int(rng.binomial(IMAGES, COPIES)) if design.number_is_chance else round(IMAGES * COPIES)
    copies = max(copies, IMAGES - len(others))  # one time in thousands, patients run short
    sources, ways = rng.choice(copied, copies), rng.integers(PLANTED, size=copies)
    innocent, looks = others[: IMAGES - copies], rng.integers(TRANSFORMED, size=IMAGES - copies)
    everyone = scores.transformed if design.transformed else scores.first[:, None]
    looks = looks if design.transformed else np.zeros_like(looks)
    synthetic = np.concatenate([scores.planted[sources, ways], everyone[innocent, looks]])
    near = np.concatenate(
        [scores.nearest[sources, ways], scores.innocent_nearest[innocent, rng.integers(TRANSFORMED, size=len(looks))]]
    )
    null = scores.maxima[calibration]
    planted = scores.planted[tested].ravel()
    given = (synthetic[None], null[None], planted[None], np.repeat(tested, PLANTED).astype(str).tolist())
    seed = int(rng.integers(2**31))
    found = copy_rate(*given, level=LEVEL, seed=seed, of=design.of)
    truth = copies / IMAGES if design.of == "set" else COPIES
    patients = memorised_patients(*given, near.tolist(), len(known), level=LEVEL, seed=seed)
    memorised = len(np.unique(sources)) / len(known)
    assert found.estimate is not None
    assert patients.estimate is not None

    threshold = np.sort(null)[-int(LEVEL * (CALIBRATION + 1) + 1e-9)]
    power, falsely = (scores.planted > threshold).mean(), (everyone > threshold).mean()
    share = (synthetic > threshold).mean()
    oracle = 2 * 1.96 * np.sqrt(share * (1 - share) / IMAGES) / (power - falsely)
    covered = found.low - 1e-9 <= truth <= found.high + 1e-9
    memorised_covered = patients.low - 1e-9 <= memorised <= patients.high + 1e-9
    error = found.estimate - truth
    return covered, found.high - found.low, oracle, error, memorised_covered, patients.estimate - memorised


def coverage_rows(half: str, scores: Scores) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for design in DESIGNS:
        rng = np.random.default_rng(2)
        figures = np.array([repeat(scores, design, rng) for _ in range(REPETITIONS)])
        covered, width, oracle, error, memorised, memorised_error = figures.mean(axis=0)
        rows.append(
            (
                half,
                *design.words,
                f"**{percent(covered, REPETITIONS)}**",
                f"{width:.3f}",
                f"**{width / oracle:.2f}** ± {ratio_error(figures[:, 1], figures[:, 2]):.2f}",
                f"{error:+.3f}",
                percent(memorised, REPETITIONS),
                f"{memorised_error:+.3f}",
            )
        )
        print(rows[-1], flush=True)
    return rows


def alarms(scores: Scores, images: int, copies: int) -> tuple[float, ...]:
    """Shares of ``SETS`` sets called copies by Benjamini-Hochberg, it and the set's p-value, the rate's low end, or
    by one of these two, which is the verdict.
    """
    rng = np.random.default_rng(3)
    found = np.zeros(4)
    for _ in range(SETS):
        new, known = rng.permutation(len(scores.first)), rng.permutation(len(scores.planted))
        null = scores.maxima[new[:CALIBRATION]]
        innocent = new[CALIBRATION : CALIBRATION + images - copies]
        tested, copied = known[: len(known) // 2], known[len(known) // 2 :][:copies]
        blurred = scores.blurred[innocent, rng.integers(2, size=len(innocent))]
        synthetic = np.concatenate([scores.planted[copied, rng.integers(PLANTED, size=copies)], blurred])
        p_values = conformal_p_values(synthetic, null)
        whose = np.repeat(tested, PLANTED).astype(str).tolist()
        planted = scores.planted[tested].ravel()
        is_flagged = bool(benjamini_hochberg(p_values, FALSE_DISCOVERY_RATE).any())
        draws = int(rng.integers(2**31))
        is_unusual = is_flagged and set_p_value(p_values, CALIBRATION, draws=1000, seed=draws) <= SET_LEVEL
        has_rate = copy_rate(synthetic[None], null[None], planted[None], whose, level=LEVEL).low > 0
        found += np.array([is_flagged, is_unusual, has_rate, is_unusual or has_rate])
    return tuple((found / SETS).tolist())


def alarm_rows(half: str, scores: Scores) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for images in (9, 20, 80):
        for copies in (0, 1, 2, 3) if images < 80 else (0, 4, 6, 8):
            shares = [percent(share, SETS) for share in alarms(scores, images, copies)]
            rows.append((half, str(images), str(copies), *shares))
            print(rows[-1], flush=True)
    return rows


def percent(share: float, repetitions: int) -> str:
    return f"{share:.1%} ± {np.sqrt(share * (1 - share) / repetitions):.1%}"


def ratio_error(above: Floats, below: Floats) -> float:
    """Standard error of the ratio of means, by the delta method."""
    spread = above / below.mean() - below * above.mean() / below.mean() ** 2
    return float(spread.std() / np.sqrt(len(above)))


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ("---",) * len(header), *rows))


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1]) / "chest-xray-pediatric"
    names = ["development", "final"] if "--final" in sys.argv else ["development"]
    halves = [(name, cached_scores(folder, half)) for half, name in enumerate(names)]
    coverage = [row for name, scores in halves for row in coverage_rows(name, scores)]
    sets = [row for name, scores in halves for row in alarm_rows(name, scores)]
    sizes = "; ".join(f"{name}: {len(s.first)} new and {len(s.planted)} training patients" for name, s in halves)
    note = NOTE.format(sizes=sizes) + "\n\n" + table(ALARM_HEADER, sets) + "\n\n" + COVERAGE_NOTE
    write_results(__file__, COVERAGE_HEADER, coverage, note)


COVERAGE_HEADER = (
    *("patients", "rate of", "copies", "innocent images", "covers the truth", "width", "width / oracle's"),
    *("error", "memorised patients: covers", "error"),
)
ALARM_HEADER = (
    "patients",
    "images",
    "copies",
    "flagged by BH",
    "and set p-value <= 5 %",
    "copy rate's low end > 0",
    "one of the two: the verdict",
)
NOTE = f"""Aligned scores of real chest X-rays at 64 x 64 ({{sizes}}).
Each repetition draws {CALIBRATION} new patients for calibration (each by the largest score of their images), takes
one image of each other new patient as innocent, and divides the training patients into those whose planted copies
measure the power and those who are copied. Copies are under one of {len(SINGLE)} single transformations. ± is the
Monte-Carlo standard error. Methods were chosen on the development half alone; the final half was looked at twice, with
an earlier aligned score and with this one.

How often a set is said to have copies, {SETS} sets each. Innocent images are new patients' under a blur of 1 to 3 px.
Benjamini-Hochberg (BH) at {FALSE_DISCOVERY_RATE:.0%} flags an image; the set's p-value is `lichen.audit.alarm`."""
COVERAGE_NOTE = f"""Whether the 95 % interval of the copy rate covers the truth, {REPETITIONS} repetitions of
{IMAGES} images of which 30 % are copies. The rate of the set is the share among these images; the rate of the generator
the share among all that it would make, of which these are a sample ("each image with 30 %"). With exactly 30 % in
every set nothing is left of the chance that an interval of the generator's rate allows for, so it covers more. The
oracle knows power and false-positive rate at the threshold of the level {LEVEL:g}, and has a Wald interval of the
binomial flagged share. Memorised patients: the share of training patients of whom these images hold a copy."""


if __name__ == "__main__":
    main()
