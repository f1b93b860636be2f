"""Images per second of lichen's training loop against a plain loop over the same MONAI networks.

The plain loop is what a careful user writes after MONAI's tutorials: a DataLoader, a scheduler, Adam; no moving
average, no clipping, no log. lichen's loop does all of these as well. Both see equal examples on equal networks, in
turns within one run. Counted is the time between the first finished step and the last, which leaves out the set-up
of both; what a checkpoint costs is timed apart. "latent diffusion" is the denoiser's training as a user sees it:
the tutorials encode each batch of images anew, lichen encodes the set once, and that time is counted.

    python benchmarks/training_throughput.py [--rounds 3] [--steps 40] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from report import write_results
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.models.autoencoder import build_autoencoder, encode
from lichen.models.denoiser import build_denoiser
from lichen.training.autoencoder import autoencoder_loss, encode_set
from lichen.training.denoiser import denoiser_loss
from lichen.training.draws import Draws
from lichen.training.loop import Loss, Recipe, train

EPOCHS = 20
"""How often a run sees each image, over which the one encoding of the set is spread: far fewer than runs have."""


@dataclass(frozen=True)
class Case:
    """One training: (C, *S) images or latents in batches."""

    spatial_dims: int
    size: int
    batch_size: int

    @property
    def pictures(self) -> Tensor:
        return torch.rand(64, 1, *(self.size,) * self.spatial_dims) * 2 - 1

    @property
    def latents(self) -> Tensor:
        return torch.randn(64, 4, *(self.size // 4,) * self.spatial_dims)

    def denoiser(self) -> nn.Module:
        torch.manual_seed(0)
        config = DenoiserConfig(channels=(64, 128), blocks=1)
        return build_denoiser(config, spatial_dims=self.spatial_dims, latent_channels=4)

    def autoencoder(self) -> nn.Module:
        torch.manual_seed(0)
        config = AutoencoderConfig(channels=(16, 32, 32), latent_channels=4)
        return build_autoencoder(config, spatial_dims=self.spatial_dims, image_channels=1)


class Clock:
    """Seconds per step, from the first finished step to the last."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def __call__(self, images: int) -> None:
        if images:
            self.marks.append(time.perf_counter())

    @property
    def seconds_per_step(self) -> float:
        return (self.marks[-1] - self.marks[0]) / (len(self.marks) - 1)


def plain_denoiser(
    network: nn.Module, examples: Tensor, batch_size: int, steps: int, clock: Clock, encoder: nn.Module | None = None
) -> None:
    """A latent diffusion loop as in MONAI's tutorials; with an ``encoder``, on images, encoded batch by batch."""
    from monai.networks.schedulers import DDPMScheduler

    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="scaled_linear_beta", prediction_type="epsilon")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    network.train()
    for batch in _batches(examples, batch_size, steps):
        if encoder is not None:
            with torch.no_grad():
                batch, _ = encode(encoder, batch)  # noqa: PLW2901 (from here on it is the batch)
        noise = torch.randn_like(batch)
        timesteps = torch.randint(0, 1000, (len(batch),))
        output = network(scheduler.add_noise(batch, noise, timesteps), timesteps)
        loss = functional.mse_loss(output, noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        clock(len(batch))


def plain_autoencoder(network: nn.Module, examples: Tensor, batch_size: int, steps: int, clock: Clock) -> None:
    """An autoencoder loop with the same loss as lichen's."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loss_of = autoencoder_loss(1e-6)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for batch in _batches(examples, batch_size, steps):
        loss = loss_of(network, batch, Draws(generator, batch_size, slice(0, batch_size)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        clock(len(batch))


def _batches(examples: Tensor, batch_size: int, steps: int) -> Iterator[Tensor]:
    loader = DataLoader(TensorDataset(examples), batch_size=batch_size, shuffle=True, drop_last=True)
    done = 0
    while done < steps:
        for (batch,) in loader:
            yield batch
            done += 1
            if done == steps:
                return


def lichen_loop(network: nn.Module, examples: Tensor, loss: Loss, batch_size: int, steps: int, clock: Clock) -> float:
    """lichen's own loop, averaging, clipping and log included; returns the seconds that the checkpoint took."""
    recipe = Recipe(
        phase="benchmark",
        images=steps * batch_size,
        batch_size=batch_size,
        learning_rate=1e-4,
        ema_images=1000,
        gradient_clip=1.0,
        precision="fp32",
        seed=0,
        checkpoint_every_s=300.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state.safetensors"
        train(network, examples, loss, recipe, state_path=state, log=lambda _: None, step=clock)
        return time.perf_counter() - clock.marks[-1]


Sides = tuple[Callable[[int, Clock], object], Callable[[int, Clock], float]]
"""The plain loop and lichen's, each called with the number of steps and a clock."""


def sides(what: str, case: Case) -> Sides:
    noisy = denoiser_loss("epsilon", torch.device("cpu"))
    size = case.batch_size
    if what == "autoencoder":
        return (
            lambda n, clock: plain_autoencoder(case.autoencoder(), case.pictures, size, n, clock),
            lambda n, clock: lichen_loop(case.autoencoder(), case.pictures, autoencoder_loss(1e-6), size, n, clock),
        )
    encoder = case.autoencoder().eval() if what == "latent diffusion" else None
    examples = case.latents if encoder is None else case.pictures
    return (
        lambda n, clock: plain_denoiser(case.denoiser(), examples, size, n, clock, encoder),
        lambda n, clock: lichen_loop(case.denoiser(), case.latents, noisy, size, n, clock),
    )


def encoding_s(case: Case) -> float:
    """Seconds per image that encoding the set takes."""
    images, encoder = case.pictures, case.autoencoder().eval()
    start = time.perf_counter()
    encode_set(encoder, images, case.batch_size)
    return (time.perf_counter() - start) / len(images)


def compare(what: str, case: Case, rounds: int, steps: int) -> tuple[str, ...]:
    """A row of the table: medians over the rounds, which take turns."""
    plain, mine = sides(what, case)
    plain_s, mine_s, checkpoints_s = [], [], []
    for number in range(rounds + 1):
        first, second = Clock(), Clock()
        plain(steps, first)
        checkpoint_s = mine(steps, second)
        extra_s = encoding_s(case) * case.batch_size / EPOCHS if what == "latent diffusion" else 0.0
        if number:  # the first round warms up
            plain_s.append(first.seconds_per_step)
            mine_s.append(second.seconds_per_step + extra_s)
            checkpoints_s.append(checkpoint_s)
    ratios = sorted(p / m for p, m in zip(plain_s, mine_s, strict=True))
    return (
        f"{case.spatial_dims}D {what}",
        f"{case.batch_size / statistics.median(plain_s):.1f}",
        f"{case.batch_size / statistics.median(mine_s):.1f}",
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        f"{statistics.median(checkpoints_s) / 300:.2%}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [
        compare(what, case, arguments.rounds, arguments.steps)
        for case in (Case(2, 64, 16), Case(3, 32, 4))
        for what in ("denoiser", "latent diffusion", "autoencoder")
    ]
    header = (
        "training",
        "plain loop, images/s",
        "lichen, images/s",
        "ratio: median (range)",
        "checkpoints, share of time",
    )
    note = (
        f"{arguments.threads} threads, {arguments.rounds} rounds in turns of {arguments.steps} steps, fp32.\n"
        "Denoiser: both on latents. Latent diffusion: the plain loop encodes each batch, as MONAI's tutorials do,\n"
        f"lichen has encoded the set once, counted as spread over {EPOCHS} epochs. Checkpoints: one every 300 s."
    )
    write_results(__file__, header, rows, note)


if __name__ == "__main__":
    main()
