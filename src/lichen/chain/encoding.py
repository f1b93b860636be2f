"""The audit's encoder as features in which sets of images are compared.

It is trained on real images, and knows those it was trained on: among them distances are others than among strangers.
So half of the training patients train it, and only the other half is compared with anything. The synthetic images were
made by a generator that learned from both halves; a copy of an image that the encoder knows by heart stands out to it
more than a copy of another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lichen.audit.checks import without
from lichen.audit.encoder import BATCH, STEPS, Encoder, train_encoder
from lichen.errors import AuditError
from lichen.progress import Step, silent
from lichen.quality import LEAST_PATIENTS
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from lichen.images.types import ImageSet

NAME = "audit-encoder-v1"


@dataclass(frozen=True)
class EncoderFeatures:
    """Embeddings of an encoder; an ``Extractor``."""

    encoder: Encoder
    name: str
    about: str
    standardised: bool = True

    def __call__(self, voxels: Tensor, *, step: Step = silent) -> NDArray[np.float64]:
        """Features (N, 128) of ``voxels`` (N, C, *S); 0 for an image without contrast. ``step`` counts images."""
        features: NDArray[np.float64] = self.encoder.embed(voxels).double().cpu().numpy()
        step(len(voxels))
        return features


def halved(images: ImageSet) -> tuple[ImageSet, ImageSet]:
    """The images of one half of the patients, to train an encoder on, and those of the other, to compare with.

    Which half a patient is in depends on their names alone.

    Raises:
        AuditError: there are fewer than eight patients.
    """
    ranked = sorted(set(images.patients), key=lambda name: (mix_seed("encoder half", name), name))
    if len(ranked) < 2 * LEAST_PATIENTS:
        raise AuditError(
            f"the encoder is trained on half of the training patients, and there are {len(ranked)}; "
            f"it takes {2 * LEAST_PATIENTS}",
            fix="leave it out of --features, or give more training images",
        )
    half = len(ranked) // 2
    return without(images, ranked[half:]), without(images, ranked[:half])


def encoder_features(
    images: ImageSet, device: torch.device, *, steps: int = STEPS, step: Step = silent
) -> EncoderFeatures:
    """Features of an encoder trained on ``images``; ``step`` counts images, ``encoder_steps`` of them."""
    numbers = torch.from_numpy(np.unique(images.patients, return_inverse=True)[1].astype(np.int64))
    encoder = train_encoder(images.voxels.to(device), numbers, steps=steps, step=step)
    patients = len(set(images.patients))
    return EncoderFeatures(
        encoder,
        f"{NAME}:{images.sha256()[:12]}",
        f"Trained here on {len(images.names)} real images of {patients} training patients, who are in none of the sets "
        "compared; sees even local contrast.",
    )


def encoder_steps(images: ImageSet, steps: int = STEPS) -> int:
    """How many images ``encoder_features`` counts."""
    return steps * min(BATCH, len(images.names))
