"""Settings of training, and of looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lichen.bounds import at_least, between, positive
from lichen.errors import ConfigError
from lichen.samplers import Objective

Precision = Literal["fp32", "bf16"]
MirrorName = Literal["tensorboard", "wandb", "mlflow"]
Augmentation = Literal["none", "affine"]


@dataclass(frozen=True)
class TrainingConfig:
    """How the denoiser is trained."""

    images_seen: int = 1_000_000
    """How many training latents the denoiser sees, repeats included."""
    batch_size: int = 32
    """Latents per optimiser step."""
    learning_rate: float = 5e-4
    """Peak learning rate of AdamW, after a warm-up over the first 2 % of the images; decays by a cosine."""
    objective: Objective = "v"
    """What the network predicts: 'v' (stable at all noise levels), 'epsilon' (the noise) or 'flow' (rectified flow)."""
    augmentation: Augmentation = "none"
    """'affine': each image is slightly shifted, turned and scaled anew each time it is seen; 'none'."""
    ema_images: int = 20_000
    """Half-life of the moving average of the weights, in images seen; at most a tenth of the run."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    precision: Precision = "fp32"
    """Precision of the networks' arithmetic; bf16 halves memory and is fast only on hardware that has it."""
    checkpoint_every_s: float = 300.0
    """Seconds between checkpoints; a crash loses at most that much work."""
    seed: int = 0
    """Seed of weights, batches and noise."""
    device: str = "auto"
    """'cpu', 'cuda', 'cuda:1', or 'auto' for a GPU if there is one."""
    threads: int | None = None
    """CPU threads; default: PyTorch's own choice. Results are bit-identical only at a fixed number."""
    mirror: tuple[MirrorName, ...] = ()
    """Show the losses in 'tensorboard', 'wandb' (offline) or 'mlflow' as well; files go into the run folder."""

    def __post_init__(self) -> None:
        for name in ("images_seen", "batch_size", "ema_images"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name in ("learning_rate", "gradient_clip", "checkpoint_every_s"):
            positive(f"training.{name}", getattr(self, name))
        if self.threads is not None:
            at_least("training.threads", self.threads, 1)


@dataclass(frozen=True)
class ProbeConfig:
    """A look at a few samples while the denoiser is trained: when does copying begin? It is no verdict."""

    every: int | None = None
    """Images seen between two probes; default: none. Weights are the same with and without."""
    samples: int = 32
    """How many samples each probe draws, in 20 steps."""
    quality: bool = False
    """Measure the kernel distance of each probe's samples to held-out images too."""
    stop: bool = False
    """End training when copying begins, with the weights of the probe before; in error in 5 % of runs at most."""

    def __post_init__(self) -> None:
        if self.every is not None:
            at_least("probe.every", self.every, 1)
        between("probe.samples", self.samples, 4, 4096)
        if self.stop and self.every is None:
            raise ConfigError(
                "probe.stop needs probes", fix="say how often with --probe.every, e.g. a twentieth of the images seen"
            )
