"""Seconds per synthetic image by batch size: denoising and decoding apart, for pictures and volumes.

Networks of the demo's size with random weights; how fast they are does not depend on what they learned.

    python benchmarks/sampling_speed.py [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from report import write_results

from lichen.config import SamplingConfig
from lichen.presets import load_preset
from lichen.sampling import decode_images, draw_latents
from lichen.training.generator import Diffusion
from lichen.training.specs import DiffusionSpec

SHAPES = {2: (1, 64, 64), 3: (1, 32, 48, 32)}


def random_generator(spatial_dims: int) -> Diffusion:
    """A generator of the demo's size that has learned nothing."""
    preset = load_preset("demo", spatial_dims)
    spec = DiffusionSpec(
        image_shape=SHAPES[spatial_dims],
        affine=tuple(tuple(float(i == j) for j in range(4)) for i in range(4)),
        autoencoder=preset.autoencoder,
        denoiser=preset.denoiser,
        objective="v",
        is_phantom=True,
    )
    torch.manual_seed(0)
    autoencoder, denoiser = (network.eval() for network in spec.build())
    channels = preset.autoencoder.latent_channels
    return Diffusion(spec, autoencoder, denoiser, torch.zeros(channels), torch.ones(channels), sha256="")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for spatial_dims in (2, 3):
        generator = random_generator(spatial_dims)
        single_s = None
        for batch_size in (1, 2, 4, 8, 16):
            config = SamplingConfig(batch_size=batch_size)
            draw_latents(generator, 0, config)
            denoise_s, decode_s = [], []
            for batch in range(arguments.rounds):
                start = time.perf_counter()
                latents = draw_latents(generator, batch, config)
                middle = time.perf_counter()
                decode_images(generator, latents)
                denoise_s.append((middle - start) / batch_size)
                decode_s.append((time.perf_counter() - middle) / batch_size)
            denoise, decode = statistics.median(denoise_s), statistics.median(decode_s)
            single_s = single_s or denoise + decode
            shape = " x ".join(map(str, SHAPES[spatial_dims][1:]))
            ratio = single_s / (denoise + decode)
            rows.append((shape, str(batch_size), f"{denoise:.3f}", f"{decode:.3f}", f"{ratio:.2f}"))
    header = ("image", "batch size", "denoise, s per image", "decode, s per image", "speed against batch size 1")
    note = f"UniPC, 20 network calls, {arguments.threads} threads, fp32, median of {arguments.rounds} batches."
    write_results(__file__, header, rows, note)


if __name__ == "__main__":
    main()
