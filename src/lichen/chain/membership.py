"""Does a trained generator know its training patients better than held-out ones? Its loss on each of them.

The denoising loss at a noise level tells members from others (Matsumoto et al., arXiv 2302.03262; Carlini et al., arXiv
2301.13188, section 5.1). It is measured here with the averaged weights that samples are drawn with. The autoencoder was
trained on the same patients: what it learned of them by heart is part of the loss, through their latents.

A difference between training and held-out patients may also come from a difference of their sources, such as another
scanner or year (Dubinski et al., arXiv 2306.12983). A run splits one source by a hash of the patient, which excludes
that for its own held-out patients.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lichen.audit.membership import Membership, membership
from lichen.chain.data import Data, check_bound, read_images
from lichen.config import RunConfig
from lichen.diffusion import add_noise, process_of, target
from lichen.progress import Step, silent
from lichen.runs import RunFolder
from lichen.seeds import mix_seed
from lichen.stored import generator_settings
from lichen.training.autoencoder import encode_images
from lichen.training.generator import Diffusion, load_diffusion, no_denoiser
from lichen.watch import Watch

LEVELS = 8
"""Noise levels at which an image's loss is measured, in the middles of as many equal parts of the schedule."""
BATCH_SIZE = 16
ASKING = "asking a generator for its patients (--model)"


def check_model(folder: RunFolder) -> None:
    """Raise CheckpointError for a run of a kind of model that cannot be asked: before an audit, and not after it."""
    if generator_settings(folder).objective is None:
        raise no_denoiser(ASKING, folder.generator)


def membership_of_run(
    config: RunConfig, folder: RunFolder, watch: Watch, device: torch.device, *, seed: int = 0
) -> Membership:
    """What the generator in ``folder`` gives away of its training patients; ``config`` holds the run's settings.

    Raises:
        CheckpointError: the run has no finished generator, or one without a denoiser.
        RunError: the images are not those that the run was trained on.
    """
    generator = load_diffusion(folder.generator, device, config.memory.budget_bytes, to=ASKING)
    data = read_images(config, watch)
    check_bound(folder, data.train)
    images = len(members_of(data, seed)) + len(data.held_out.names)
    with watch.phase("membership", images) as step:
        return membership_of(generator, data, seed=seed, step=step)


def membership_of(generator: Diffusion, data: Data, *, seed: int = 0, step: Step = silent) -> Membership:
    """Compare held-out patients with as many training patients, chosen by ``seed``; ``step`` counts the images of both.

    Each noise level's losses are divided by their mean over all images: no level outweighs the others, and it does not
    matter whether the network predicts v or the noise, whose errors differ by a factor at each level.
    """
    chosen = members_of(data, seed)
    inside = data.train.voxels[chosen]
    losses = np.concatenate(
        [denoising_losses(generator, images, seed=seed, step=step) for images in (inside, data.held_out.voxels)]
    )
    relative = (losses / losses.mean(0)).mean(1)
    patients = [data.train.patients[at] for at in chosen]
    return membership(
        patient_means(relative[: len(chosen)], patients),
        patient_means(relative[len(chosen) :], data.held_out.patients),
        seed=seed,
    )


def members_of(data: Data, seed: int) -> list[int]:
    """Positions of all images of as many training patients as are held out, or of all where these are fewer.

    Patients are ranked by a hash of seed and name.
    """
    names = data.train.patients
    ranked = sorted(set(names), key=lambda name: (mix_seed(seed, "membership", name), name))
    chosen = set(ranked[: len(set(data.held_out.patients))])
    return [at for at, name in enumerate(names) if name in chosen]


@torch.inference_mode()
def denoising_losses(
    generator: Diffusion, images: Tensor, *, seed: int = 0, levels: int = LEVELS, step: Step = silent
) -> NDArray[np.float64]:
    """Mean squared error of the denoiser for each of ``images`` (N, C, *S) at each noise level, (N, levels).

    All images meet the same noise, one at each level, so that they differ by what they are and not by luck.
    """
    device = generator.device
    process_levels = process_of(generator.spec.objective).levels
    timesteps = [int((level + 0.5) * len(process_levels) / levels) for level in range(levels)]
    noises = [
        torch.randn(generator.spec.latent_shape, generator=torch.Generator().manual_seed(mix_seed(seed, "loss", t)))
        for t in timesteps
    ]
    rows = []
    for batch in images.split(BATCH_SIZE):
        latents = encode_images(generator.autoencoder, batch.to(device), generator.latent_shift, generator.latent_scale)
        columns = []
        for t, noise in zip(timesteps, noises, strict=True):
            at_t, same = process_levels[t], noise.to(latents).expand_as(latents)
            output = generator.denoiser(add_noise(latents, same, at_t), torch.full((len(batch),), t, device=device))
            error = output.float() - target(generator.spec.objective, latents, same, at_t)
            columns.append(error.square().flatten(1).mean(1).double().cpu())
        rows.append(torch.stack(columns, dim=1))
        step(len(batch))
    return torch.cat(rows).numpy()


def patient_means(losses: NDArray[np.float64], patients: Sequence[str]) -> NDArray[np.float64]:
    """The mean of each patient, (n,), in the order of their first images, from ``losses`` (N,) of their images."""
    number = {patient: at for at, patient in enumerate(dict.fromkeys(patients))}
    of = np.array([number[patient] for patient in patients])
    means: NDArray[np.float64] = np.bincount(of, weights=losses) / np.bincount(of)
    return means
