"""StyleGAN2 beside latent diffusion at equal energy of training: how far their images are from held-out ones.

    python benchmarks/gan_beside_diffusion.py SHARED_DATA --scratch FOLDER

SHARED_DATA holds pneumoniamnist and chest-xray-pediatric. For each seed the diffusion model is trained first; then the
StyleGAN2, until it has used as much energy: a budget of the chain stops it. All runs are kept in FOLDER, and the same
command goes on where it was stopped. Twenty minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import write_results

from lichen.carbon import J_PER_KWH
from lichen.chain import Data, load_samples, read_images, train_only
from lichen.chain.training import spec_of
from lichen.chain.whole import draw_missing
from lichen.config import (
    AutoencoderConfig,
    BudgetConfig,
    DenoiserConfig,
    ImagesConfig,
    ModelConfig,
    ModelKind,
    RunConfig,
    SamplingConfig,
    StyleGAN2Config,
    TrainingConfig,
)
from lichen.energy import read_traces, total
from lichen.errors import BudgetError
from lichen.files import write_json
from lichen.images import open_folder, write_montage
from lichen.quality import Radiomics, RandomConv, measure_quality
from lichen.quality.extractors import RADIOMICS, RANDOM_CONV
from lichen.runs import RunFolder, read_lines
from lichen.training.checkpoint import load_tensors, load_weights, without_prefix
from lichen.training.generator import load_generator, save_stylegan2
from lichen.training.specs import StyleGAN2Spec
from lichen.training.state import images_seen
from lichen.watch import watching


@dataclass(frozen=True)
class Real:
    """A set of real images."""

    title: str
    path: Path
    patient_column: str | None


SETS = {
    "chest": Real("chest X-ray", Path("chest-xray-pediatric"), "group"),
    "pneumoniamnist": Real("PneumoniaMNIST", Path("pneumoniamnist/pneumoniamnist.npz"), None),
}
DRAWING = {"denoise", "decode", "synthesise"}
"""Phases of drawing images."""
FEW_PATIENTS = 32
FEW_IMAGES_SEEN = 8000
HEADER = (
    "images, seed",
    "model",
    "energy of training, J",
    "training images seen",
    "of these per s",
    "energy per 1,000 images drawn, J",
    "kernel distance",
    "kernel distance, radiomics",
    "Frechet distance",
    "precision",
    "recall",
    "coverage",
)
SHOWN = (
    ("kernel", RANDOM_CONV),
    ("kernel", RADIOMICS),
    ("frechet", RANDOM_CONV),
    ("precision", RANDOM_CONV),
    ("recall", RANDOM_CONV),
    ("coverage", RANDOM_CONV),
)


@dataclass(frozen=True)
class Place:
    """Where the real images are, and where the runs are kept."""

    data: Path
    scratch: Path

    def settings(self, name: str, kind: ModelKind, seed: int) -> RunConfig:
        return RunConfig(
            images=ImagesConfig(path=self.images(name), patient_column=SETS[name].patient_column, size=(32, 32)),
            model=ModelConfig(kind),
            stylegan2=StyleGAN2Config(latent_dim=64, channels=256, most_channels=64),
            autoencoder=AutoencoderConfig(channels=(16, 32, 64), images_seen=5000, batch_size=16, learning_rate=2e-3),
            denoiser=DenoiserConfig(channels=(32, 64), blocks=1),
            training=TrainingConfig(
                images_seen=20_000,
                batch_size=16,
                learning_rate=2e-3,
                ema_images=2000,
                checkpoint_every_s=60.0,
                seed=seed,
                device="cpu",
                threads=1,
            ),
            sampling=SamplingConfig(count=300, batch_size=20),
        )

    def images(self, name: str) -> Path:
        """The folder or file; an .npz file without its repeated images, which no split by patient can tell."""
        path = self.data / SETS[name].path
        if path.suffix != ".npz":
            return path
        unique = self.scratch / path.name
        if not unique.exists():
            with np.load(path, allow_pickle=False) as arrays:
                images = arrays["train_images"]
            first = np.sort(np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1])
            np.savez(unique, train_images=images[first])
        return unique

    def read(self, config: RunConfig) -> Data:
        with watching(self.scratch / "reading", config.carbon, quiet=True) as watch:
            return read_images(config, watch)


def trained(config: RunConfig, data: Data, folder: RunFolder) -> None:
    """The generator of ``folder``: whole, or as it was when the budget was spent."""
    if folder.generator.exists():
        return
    print(f"{folder.path.name}: training", flush=True)
    try:
        train_only(config, folder, quiet=True)
    except BudgetError as spent:
        print(f"{folder.path.name}: {spent.problem}", flush=True)
        keep_average(config, data, folder)


def keep_average(config: RunConfig, data: Data, folder: RunFolder) -> None:
    """Make a generator of the last checkpoint of a StyleGAN2; its learning rate is constant, so any is as good."""
    images = data.train
    spec = spec_of(config, tuple(images.voxels.shape[1:]), images.affine, data.source, images.classes)
    assert isinstance(spec, StyleGAN2Spec)
    state = folder.training_state("gan")
    network = spec.build()[0]
    load_weights(network, without_prefix("average", load_tensors(state, "training")[0]), state)
    save_stylegan2(folder.generator, spec, network)


def outcome(config: RunConfig, data: Data, folder: RunFolder) -> dict[str, Any]:
    """What training took, what drawing takes, and how good the drawn images are; found once and kept."""
    path = folder.path / "outcome.json"
    if not path.exists():
        drawn = folder.samples
        drawn.mkdir(exist_ok=True)
        with watching(drawn, config.carbon, quiet=True) as watch:
            draw_missing(load_generator(folder.generator, torch.device("cpu")), config.sampling, drawn, watch)
        source = open_folder(drawn)
        write_montage(folder.path / "perhaps-patients.png", source.items)
        synthetic = load_samples(source, data.train, None, lambda _: None)
        quality = measure_quality(synthetic, data.held_out, data.train, [RandomConv(), Radiomics()])
        phases = {phase.phase: phase for phase in read_traces(folder.traces)}
        drawing = total(phase.total for phase in read_traces(RunFolder(drawn).traces) if phase.phase in DRAWING)
        trainings = [name for name in config.trainings if name in phases]
        found = {
            "training_j": sum(phases[name].total.energy_j or 0.0 for name in trainings),
            "training_s": sum(phases[name].duration_s for name in trainings),
            "all_high_j": total(phase.total for phase in phases.values()).high_j,
            "images_seen": [images_seen(folder.training_state(name)) for name in trainings],
            "drawing_j_per_1000": 1000 * (drawing.energy_j or 0.0) / len(synthetic.names),
            "quality": quality.as_json(),
        }
        write_json(path, found)
        print(f"{folder.path.name}: {found['images_seen']} seen, {cells(found, 'synthetic')}", flush=True)
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def pair(place: Place, name: str, seed: int) -> Iterator[dict[str, Any]]:
    """The outcomes of diffusion and of a StyleGAN2 that was given as much energy."""
    spent_kwh = None
    kinds: tuple[ModelKind, ...] = ("diffusion", "stylegan2")
    for kind in kinds:
        config = replace(place.settings(name, kind, seed), budget=BudgetConfig(energy_kwh=spent_kwh))
        data, folder = place.read(config), RunFolder(place.scratch / f"{name}-{kind}-{seed}")
        trained(config, data, folder)
        found = outcome(config, data, folder)
        spent_kwh = found["all_high_j"] / J_PER_KWH  # a budget is kept by the upper edge
        yield found


def rows_of(place: Place, name: str, seeds: int) -> Iterator[tuple[str, ...]]:
    """Both models with each seed, and real images."""
    title = SETS[name].title
    for seed in range(seeds):
        for model, found in zip(("latent diffusion", "StyleGAN2"), pair(place, name, seed), strict=True):
            yield row(f"{title}, {seed}", model, found)
    yield title, "training images instead", *["-"] * 4, *cells(found, "real")


def few(place: Place, seed: int) -> Iterator[tuple[str, ...]]:
    """StyleGAN2 of few patients with and without adaptive augmentation, as many images seen."""
    for target in (0.6, 0.0):
        config = place.settings("chest", "stylegan2", seed)
        config = replace(
            config,
            images=replace(config.images, patients=FEW_PATIENTS),
            stylegan2=replace(config.stylegan2, ada_target=target),
            training=replace(config.training, images_seen=FEW_IMAGES_SEEN),
        )
        data, folder = place.read(config), RunFolder(place.scratch / f"few-{target}-{seed}")
        trained(config, data, folder)
        found = outcome(config, data, folder)
        most = max(record["ada_p"] for record in read_lines(folder.log))
        model = f"StyleGAN2 with augmentation, p at most {most:.2f}" if target else "StyleGAN2 without augmentation"
        yield row(f"chest X-ray of {FEW_PATIENTS} patients, {seed}", model, found)


def row(title: str, model: str, found: dict[str, Any]) -> tuple[str, ...]:
    seen = found["images_seen"]
    return (
        title,
        model,
        f"{found['training_j']:.0f}",
        " + ".join(f"{images:,}" for images in seen),
        f"{sum(seen) / found['training_s']:.0f}",
        f"{found['drawing_j_per_1000']:.0f}",
        *cells(found, "synthetic"),
    )


def cells(found: dict[str, Any], column: str) -> tuple[str, ...]:
    """The figures of ``SHOWN``, each with its 95 % interval."""
    figures = {(figure["name"], figure["extractor"]): figure[column] for figure in found["quality"]["figures"]}
    return tuple(words(figures[key]) for key in SHOWN)


def words(reading: dict[str, float] | None) -> str:
    return "-" if reading is None else f"{reading['value']:.2f} ({reading['low']:.2f} to {reading['high']:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.scratch.mkdir(parents=True, exist_ok=True)
    place = Place(options.data, options.scratch)
    for seeds in range(1, options.seeds + 1):
        rows = [row for name in SETS for row in rows_of(place, name, seeds)]
        rows += few(place, 0)
        write_results(__file__, HEADER, rows, NOTE)


NOTE = (
    "32 x 32 voxels, one thread each on a machine busy with other work, now more and now less: an image then takes\n"
    "more CPU time, from which energy is estimated; 19,072 images for 834 J are of the quietest hour. Energy of\n"
    "training is that of autoencoder and denoiser, or of generator and discriminator. A StyleGAN2 has a budget of\n"
    "what the whole diffusion run took, forecast included, and stops before it could break it. 300 images are drawn,\n"
    "of diffusion in 20 steps, and compared with the held-out ones (of 40 % of the patients) in random-conv-v1, or in\n"
    "radiomics; 95 % intervals. Training images instead: as many real ones. PneumoniaMNIST names no patients; images\n"
    "that it repeats are there once. At the end: few patients, with adaptive augmentation and without, as many images\n"
    "seen: too few for a discriminator to overfit, so that p, the probability of augmentation, stays low. By eye\n"
    "(contact sheets, not kept here): diffusion's chests have clean outlines, lungs and heart in place and are\n"
    "blurred, without ribs; StyleGAN2's are sharper and grainy, their outlines alike and their lungs often misshapen.\n"
    "The figures see blur more than anatomy."
)

if __name__ == "__main__":
    main()
