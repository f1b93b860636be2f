"""Does the audit tell a generator that has learned few X-rays by heart from one that learned many?

python benchmarks/audit_overtrained.py SHARED_DATA/chest-xray-pediatric --runs DIR

Two generators with the same settings see equally many images in training, one of them the same 48 X-rays again and
again, the other 400. Both are sampled and audited against the same held-out patients. Runs lie in DIR and hold
patients' images; a repeated command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from report import write_results
from torch import Tensor

from lichen.audit import benjamini_hochberg, conformal_p_values, patient_maxima
from lichen.audit.aligned import prepare
from lichen.audit.rates import Rate, copy_rate, memorised_patients
from lichen.audit.scores import Nearest
from lichen.chain import Data, at_work, holding, load_samples
from lichen.chain.begin import begin
from lichen.chain.membership import membership_of
from lichen.chain.training import train_generator
from lichen.chain.whole import draw_missing
from lichen.config import RunConfig
from lichen.energy import read_traces
from lichen.footprint import TRAINING
from lichen.images import Item, load_set, open_folder, open_source, split_by_patient
from lichen.progress import silent
from lichen.runs import RunFolder
from lichen.seeds import mix_seed
from lichen.settings import load_settings
from lichen.team import ALONE
from lichen.training.autoencoder import decode_latents, encode_images
from lichen.training.generator import Diffusion
from lichen.watch import watching

SIZES = (48, 400)
"""Training images of the over-trained generator and of the regular one."""
LEVEL, FALSE_DISCOVERY_RATE = 0.05, 0.10
RESTORED = 60
"""Training patients at most whose images, encoded and decoded, are the copies that say how many the audit finds."""
HEADER = (
    "training images (patients)",
    "trained for, min",
    "restored training images found",
    "samples at p <= 0.05",
    "flagged at a false-discovery rate of 10 %",
    "copy rate",
    "training patients copied",
    "membership, area under the curve",
    "true positives at 1 % false positives",
)
NOTE = """\
Chest X-rays, 32 x 32, equal settings and equally many images seen in training; both generators are audited against the
same held-out patients by the aligned score, and the number behind "trained for" is of a busy machine. Copies that say
how many the audit finds are training images through the generator's own autoencoder, one of each patient. Copy rate:
of the generator, corrected by that power and by false positives (lichen.audit.rates), with intervals of 95 %.
Membership compares the denoising losses of training and held-out patients, and looks at no sample.
"""


def settings(folder: Path) -> RunConfig:
    config = load_settings(Path(__file__).with_suffix(".yaml"), RunConfig())
    return dataclasses.replace(config, images=dataclasses.replace(config.images, path=folder))


def some_patients(items: tuple[Item, ...], images: int, seed: int) -> tuple[Item, ...]:
    """All images of as many patients, ranked by ``seed``, as it takes to have ``images``; the last may go beyond."""
    chosen: list[Item] = []
    for patient in sorted({item.patient for item in items}, key=lambda name: mix_seed(seed, "trained on", name)):
        if len(chosen) < images:
            chosen += [item for item in items if item.patient == patient]
    return tuple(chosen)


def read(config: RunConfig, images: int) -> Data:
    """The first patients in a fixed order with ``images`` images, and the held-out ones, the same for every number."""
    source = open_source(config.images)
    train, held_out = split_by_patient(source, config.images.held_out_fraction, config.images.split_seed)
    assert config.images.size is not None
    chosen = some_patients(train, images, config.images.split_seed)
    return Data(source, load_set(chosen, config.images.size), load_set(held_out, config.images.size))


def make(config: RunConfig, data: Data, folder: RunFolder) -> Diffusion:
    """Train and sample, each as far as it is not done yet."""
    with holding(folder, ALONE), at_work(config.training, ALONE) as device:
        begin(config, folder, ALONE)
        with watching(folder.path, config.carbon, quiet=False) as watch:
            generator = train_generator(config, data, folder, device, watch)
            assert isinstance(generator, Diffusion)
            draw_missing(generator, config.sampling, folder.samples, watch)
    return generator


@dataclasses.dataclass(frozen=True)
class Audited:
    """What the aligned score says of m synthetic images; n held-out patients, T training images through the decoder."""

    synthetic: NDArray[np.float64]  # (m,) similarity to the nearest training patient
    nearest: tuple[str, ...]  # (m,) whose image that is
    null: NDArray[np.float64]  # (n,)
    restored: NDArray[np.float64]  # (T,)
    restored_patients: tuple[str, ...]  # (T,)


def audit(generator: Diffusion, data: Data, samples: Path) -> Audited:
    train, held_out = data.train, data.held_out
    number = {patient: at for at, patient in enumerate(dict.fromkeys(train.patients))}
    search = prepare(train.voxels, torch.tensor([number[patient] for patient in train.patients]))

    def score(images: Tensor) -> Nearest:
        return search(images, k=1, step=silent)

    source = open_folder(samples)
    found = score(load_samples(source, train, None, silent).voxels)
    first = [train.patients.index(patient) for patient in list(number)[:RESTORED]]
    normal = generator.latent_shift, generator.latent_scale
    restored = decode_latents(
        generator.autoencoder, encode_images(generator.autoencoder, train.voxels[first], *normal), *normal
    )
    return Audited(
        similarities(found),
        tuple(train.patients[at] for at in found.index[:, 0].tolist()),
        patient_maxima(similarities(score(held_out.voxels)), held_out.patients),
        similarities(score(restored)),
        tuple(train.patients[at] for at in first),
    )


def similarities(found: Nearest) -> NDArray[np.float64]:
    return np.asarray(found.similarity[:, 0].double())


def row(generator: Diffusion, data: Data, folder: RunFolder) -> tuple[str, ...]:
    found = audit(generator, data, folder.samples)
    p_values = conformal_p_values(found.synthetic, found.null)
    power = (conformal_p_values(found.restored, found.null) <= LEVEL).mean()
    rates = found.synthetic[None], found.null[None], found.restored[None], found.restored_patients
    copies = copy_rate(*rates, level=LEVEL, of="generator")
    patients = memorised_patients(*rates, found.nearest, len(set(data.train.patients)), level=LEVEL)
    known = membership_of(generator, data)
    minutes = sum(phase.duration_s for phase in read_traces(folder.traces) if phase.phase in TRAINING) / 60
    return (
        f"{len(data.train.names)} ({len(set(data.train.patients))})",
        f"{minutes:.0f}",
        f"{power:.2f} of {len(found.restored)}",
        f"{(p_values <= LEVEL).mean():.0%} of {len(p_values)}",
        f"{benjamini_hochberg(p_values, FALSE_DISCOVERY_RATE).sum()}",
        percent(copies),
        percent(patients),
        f"{known.auc:.2f} ({known.auc_low:.2f} to {known.auc_high:.2f})",
        f"{known.true_positive_rate:.0%} ({known.tpr_low:.0%} to {known.tpr_high:.0%})",
    )


def percent(rate: Rate) -> str:
    return "-" if rate.estimate is None else f"{rate.estimate:.0%} ({rate.low:.0%} to {rate.high:.0%})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument(
        "--only", type=int, choices=SIZES, help="make this generator and stop, e.g. to make both at once"
    )
    arguments = parser.parse_args()
    config = settings(arguments.images)
    rows = []
    for images in SIZES if arguments.only is None else (arguments.only,):
        data, folder = read(config, images), RunFolder(arguments.runs / str(images))
        generator = make(config, data, folder)
        if arguments.only is None:
            rows.append(row(generator, data, folder))
            print(rows[-1], flush=True)
    if rows:
        write_results(__file__, HEADER, rows, NOTE)


if __name__ == "__main__":
    main()
