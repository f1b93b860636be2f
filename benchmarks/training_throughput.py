"""Images per second of lichen's training loop against a plain loop over the same MONAI networks.

The plain loop is what a careful user writes after MONAI's tutorials: a DataLoader over the latents, a scheduler,
Adam; no moving average, no clipping, no log. lichen's loop does all of these as well. Both see equal
latents on equal networks, in turns within one run, and the ratio of medians is reported.

    python benchmarks/training_throughput.py [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from report import write_results
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lichen.config import AutoencoderConfig, DenoiserConfig
from lichen.diffusion import make_alphas_cumprod
from lichen.models.autoencoder import build_autoencoder
from lichen.models.denoiser import build_denoiser
from lichen.training.autoencoder import autoencoder_loss
from lichen.training.denoiser import denoiser_loss
from lichen.training.loop import Loss, Recipe, train


def plain_denoiser_loop(network: nn.Module, examples: Tensor, images: int, batch_size: int) -> None:
    """A latent diffusion loop as in MONAI's tutorials."""
    from monai.networks.schedulers import DDPMScheduler

    scheduler = DDPMScheduler(num_train_timesteps=1000, schedule="scaled_linear_beta", prediction_type="epsilon")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    network.train()
    for (batch,) in _batches(examples, images, batch_size):
        noise = torch.randn_like(batch)
        timesteps = torch.randint(0, 1000, (len(batch),))
        output = network(scheduler.add_noise(batch, noise, timesteps), timesteps)
        loss = functional.mse_loss(output, noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def plain_autoencoder_loop(network: nn.Module, examples: Tensor, images: int, batch_size: int) -> None:
    """An autoencoder loop with the same loss as lichen's."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    loss_of = autoencoder_loss(1e-6)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for (batch,) in _batches(examples, images, batch_size):
        loss = loss_of(network, batch, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def _batches(examples: Tensor, images: int, batch_size: int) -> list[tuple[Tensor]]:
    loader = DataLoader(TensorDataset(examples), batch_size=batch_size, shuffle=True, drop_last=True)
    batches: list[tuple[Tensor]] = []
    while len(batches) * batch_size < images:
        batches += [(batch,) for (batch,) in loader]
    return batches[: images // batch_size]


def lichen_loop(network: nn.Module, examples: Tensor, images: int, batch_size: int, loss: Loss) -> None:
    """lichen's own loop, checkpoint and log included."""
    recipe = Recipe(
        phase="benchmark",
        images=images,
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
        train(network, examples, loss, recipe, state_path=state, log=lambda _: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    alphas = make_alphas_cumprod()
    rows = []
    for spatial_dims, size, batch_size, images in ((2, 64, 16, 320), (3, 32, 4, 64)):
        latents = torch.randn(64, 4, *(size // 4,) * spatial_dims)
        pictures = torch.rand(64, 1, *(size,) * spatial_dims) * 2 - 1
        for what in ("denoiser", "autoencoder"):
            plain_s, lichen_s = [], []
            for round_ in range(arguments.rounds + 1):
                torch.manual_seed(0)
                if what == "denoiser":
                    config = DenoiserConfig(channels=(64, 128), blocks=1)
                    networks = [build_denoiser(config, spatial_dims=spatial_dims, latent_channels=4) for _ in range(2)]
                    examples, loss, count = latents, denoiser_loss("epsilon", alphas), images
                    plain = plain_denoiser_loop
                else:
                    small = AutoencoderConfig(channels=(16, 32, 32))
                    networks = [build_autoencoder(small, spatial_dims=spatial_dims, image_channels=1) for _ in range(2)]
                    examples, loss, count = pictures, autoencoder_loss(1e-6), images // 2
                    plain = plain_autoencoder_loop
                start = time.perf_counter()
                plain(networks[0], examples, count, batch_size)
                middle = time.perf_counter()
                lichen_loop(networks[1], examples, count, batch_size, loss)
                end = time.perf_counter()
                if round_:  # the first round warms up
                    plain_s.append(middle - start)
                    lichen_s.append(end - middle)
            ratios = sorted(p / mine for p, mine in zip(plain_s, lichen_s, strict=True))
            rows.append(
                (
                    f"{spatial_dims}D {what}",
                    f"{count / statistics.median(plain_s):.1f}",
                    f"{count / statistics.median(lichen_s):.1f}",
                    f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                )
            )
    header = ("network", "plain loop, images/s", "lichen, images/s", "ratio: median (range)")
    write_results(__file__, header, rows, f"{arguments.threads} threads, {arguments.rounds} rounds in turns, fp32.")


if __name__ == "__main__":
    main()
