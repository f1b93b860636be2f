"""Energy per synthetic image at equal quality: a tuned sampler beside DDIM with 250 network calls, DDPM with 1,000.

For each run folder the generator is copied and tuned (`lichen sample --tune`), so the folder itself stays as it is.
Then, with equal batch sizes:

- network calls of each sampler are timed and metered in turns, round after round; the energy of an image is that of a
  call times the calls of an image. For the long samplers that is a forecast, and is called so;
- each sampler draws a set of images from the same noise, the long ones a smaller one. Two distances stand beside it:
  to held-out real images, and, pair by pair, to the images of DDIM with 250 calls.

    python benchmarks/cheap_synthesis.py RUN [RUN ...] [--images 64] [--long-images 64] [--rounds 3]
        [--planned 1000] [--threads 1]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from report import write_results
from torch import Tensor

from lichen.chain import at_work, read_images
from lichen.chain.paces import pace_of_calls
from lichen.chain.tuning import Cost, Tuning, tune
from lichen.config import CarbonConfig, RunConfig, SamplingConfig, TrainingConfig
from lichen.energy import Stopwatch, find_meters
from lichen.quality.features import random_features
from lichen.quality.kernel import squared_mmd
from lichen.quality.paired import paired_squared_mmd, scaling
from lichen.samplers import network_calls
from lichen.sampling import decode_images, draw_latents
from lichen.settings import load_settings
from lichen.team import ALONE
from lichen.training.generator import Diffusion, load_diffusion
from lichen.watch import Watch, watching

LONG = 100
"""Network calls above which the energy of an image is forecast from its first ones."""
LOOK_S = 4.0
"""Of each sampler in each round."""
HEADER = (
    "images",
    "sampler",
    "network calls",
    "batch",
    "J per image, network calls",
    "basis",
    "times the tuned one",
    "J per image with decoding",
    "times the tuned one, with decoding",
    "kernel distance to held-out images (standard error)",
    "paired distance to DDIM 250 (standard error)",
)


@dataclass(frozen=True)
class Metered:
    """Joules of an image's network calls, one figure for each round."""

    name: str
    config: SamplingConfig
    joules: tuple[float, ...]

    @property
    def calls(self) -> int:
        """For each image."""
        return network_calls(self.config.sampler, self.config.steps)

    def over(self, other: Metered, extra_j: float = 0.0) -> str:
        """How many times the energy of ``other``, side by side in each round, as mean and spread."""
        ratios = [(mine + extra_j) / (others + extra_j) for mine, others in zip(self.joules, other.joules, strict=True)]
        spread = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
        return f"{statistics.mean(ratios):.3g} ± {spread:.2g}"


def drawn(generator: Diffusion, config: SamplingConfig, images: int) -> Tensor:
    """The first ``images`` images of a sampler, (n, C, *S)."""
    batches = range(-(-images // config.batch_size))
    return torch.cat([decode_images(generator, draw_latents(generator, batch, config)) for batch in batches])[:images]


def decode_j(generator: Diffusion, batch_size: int, rounds: int) -> float:
    """Joules of decoding an image."""
    latents = torch.randn(batch_size, *generator.spec.latent_shape)
    watch = Stopwatch(find_meters(), 1e9, most_s=rounds * LOOK_S)
    while not watch.enough():
        decode_images(generator, latents)
        watch(batch_size)
    return Cost.of(watch.pace()).energy.energy_j or float("nan")


def metered(generator: Diffusion, samplers: dict[str, SamplingConfig], rounds: int) -> list[Metered]:
    """Each sampler's joules, in turns, so that other work on the machine falls on all of them."""
    joules: dict[str, list[float]] = {name: [] for name in samplers}
    for _ in range(rounds):
        for name, config in samplers.items():
            found = pace_of_calls(generator, config, Stopwatch(find_meters(), 1e9, most_s=LOOK_S))
            calls = network_calls(config.sampler, config.steps)
            joules[name].append(Cost.of(found, calls).energy.energy_j or float("nan"))
    return [Metered(name, config, tuple(joules[name])) for name, config in samplers.items()]


def rows_of(run: Path, arguments: argparse.Namespace, scratch: Path, watch: Watch) -> tuple[list[Sequence[str]], str]:
    """The rows of a run, and what its tuning came to, in a sentence."""
    checkpoint = Path(shutil.copy(run / "checkpoints" / "generator.safetensors", scratch / f"{run.name}.safetensors"))
    settings = load_settings(run / "config.yaml", RunConfig())
    before = SamplingConfig(count=arguments.planned)
    device = torch.device("cpu")
    tuning = tune(checkpoint, before, "ddim-250", arguments.images, device, watch)
    generator = load_diffusion(checkpoint, device)
    tuned = replace(tuning.tuned.settings(before), compile=False)
    size = tuned.batch_size
    samplers = {
        f"tuned: {tuned.sampler} {tuned.schedule} {tuned.steps}": tuned,
        "unipc-20": SamplingConfig(sampler="unipc", schedule="lu", steps=20, batch_size=size),
        "ddim-250": SamplingConfig(sampler="ddim", schedule="time", steps=250, batch_size=size),
        "ddpm-1000": SamplingConfig(sampler="ddpm", schedule="time", steps=1000, batch_size=size),
    }
    measured = metered(generator, samplers, arguments.rounds)
    decode = decode_j(generator, size, arguments.rounds)
    held_out = read_images(settings, watch).held_out
    real = random_features(held_out.voxels)
    scaled = scaling(real)
    counts = {
        name: arguments.long_images if config.steps > LONG else arguments.images for name, config in samplers.items()
    }
    features = {name: random_features(drawn(generator, samplers[name], count)) for name, count in counts.items()}
    few = arguments.long_images
    of_reference = scaling(features["ddim-250"])
    rows: list[Sequence[str]] = []
    for one in measured:
        to_real = squared_mmd(scaled(features[one.name]), scaled(real), None, held_out.patients)
        paired = paired_squared_mmd(of_reference(features[one.name][:few]), of_reference(features["ddim-250"]))
        joules = statistics.mean(one.joules)
        rows.append(
            (
                run.name,
                one.name,
                str(one.calls),
                str(size),
                f"{joules:.3g}",
                "forecast" if one.calls > LONG else "measured",
                one.over(measured[0]),
                f"{joules + decode:.3g}",
                one.over(measured[0], decode),
                f"{to_real.value:.3g} ({to_real.standard_error:.2g})",
                "reference" if one.name == "ddim-250" else f"{paired.value:.3g} ({paired.standard_error:.2g})",
            )
        )
    return rows, _in_words(run.name, tuning, decode, arguments)


def _in_words(name: str, tuning: Tuning, decode: float, arguments: argparse.Namespace) -> str:
    tuned = tuning.tuned
    trials = ", ".join(f"{trial.setting} {'within' if trial.is_within else 'not'}" for trial in tuning.trials)
    compiling = tuning.compiling
    told = "was not tried, since the network calls take less than two minutes"
    if compiling is not None:
        pays = "never pays" if tuned.compile_from is None else f"pays from {tuned.compile_from:,} images on"
        told = f"takes {compiling.compile_cost:.3g} J and {pays}"
    loss = tuned.least_contrast_loss
    refused = "none of the losses of contrast tried" if loss is None else f"a loss of contrast of {loss:.0%}"
    spent_j, paid = tuning.spent.energy.energy_j, tuning.paid_back_after(tuning.reference_cost)
    spent = "was not metered" if spent_j is None else f"took {spent_j:.3g} J"
    return (
        f"{name}: tried {trials}; margin {tuned.margin:.3g}, {refused} would have been refused. Compiling for "
        f"{arguments.planned:,} images {told}. Decoding takes {decode:.3g} J per image. The tuning {spent}, "
        f"saved after {paid} images beside ddim-250."
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--long-images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--planned", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    rows: list[Sequence[str]] = []
    told = []
    with (
        TemporaryDirectory() as scratch,
        at_work(TrainingConfig(device="cpu", threads=arguments.threads), ALONE),
        watching(Path(scratch), CarbonConfig(), quiet=False) as watch,
    ):
        for run in arguments.runs:
            found, words = rows_of(run, arguments, Path(scratch), watch)
            rows += found
            told.append(words)
    sources = sorted({reading.source for meter in find_meters() for reading in meter.read()})
    about = (
        f"Joules: {', '.join(sources)}. Ratios: mean and spread of {arguments.rounds} rounds in which all samplers "
        f"took turns. Sets of {arguments.images} images of the same noise, of samplers with more than {LONG} calls "
        f"{arguments.long_images}, of which the paired distances are; the two kinds of distance have different units. "
        "Aims: network calls take at least 30 times less energy than DDPM's 1,000, and 5 times less than DDIM's 250."
    )
    write_results(__file__, HEADER, rows, "\n\n".join((about, *told)))


if __name__ == "__main__":
    main()
