"""Does the audit tell a generator that has learned few X-rays by heart from one that learned many?

python benchmarks/audit_overtrained.py SHARED_DATA/chest-xray-pediatric --runs DIR [--only 48] [--train-only]

Two generators with the same settings see equally many images in training, one of them the same 48 X-rays again and
again, the other 400. Both are sampled and audited against the same held-out patients. Runs lie in DIR and hold
patients' images; a repeated command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from lichen.chain import Data, at_work, holding
from lichen.chain.begin import begin
from lichen.chain.training import train_generator
from lichen.chain.whole import draw_missing
from lichen.config import RunConfig
from lichen.images import Item, load_set, open_source, split_by_patient
from lichen.runs import RunFolder
from lichen.seeds import mix_seed
from lichen.settings import load_settings
from lichen.team import ALONE
from lichen.training.generator import Generator
from lichen.watch import watching

SIZES = (48, 400)
"""Training images of the over-trained generator and of the regular one."""


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


def make(config: RunConfig, data: Data, folder: RunFolder) -> Generator:
    """Train and sample, each as far as it is not done yet."""
    with holding(folder, ALONE), at_work(config.training, ALONE) as device:
        begin(config, folder, ALONE)
        with watching(folder.path, config.carbon, quiet=False) as watch:
            generator = train_generator(config, data, folder, device, watch)
            draw_missing(generator, config.sampling, folder.samples, watch)
    return generator


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--only", type=int, choices=SIZES, help="make this generator and stop")
    arguments = parser.parse_args()
    config = settings(arguments.images)
    for images in SIZES if arguments.only is None else (arguments.only,):
        make(config, read(config, images), RunFolder(arguments.runs / str(images)))


if __name__ == "__main__":
    main()
