"""The finished segmenter: one file with the network and all else that segmenting takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lichen.config import SegmenterConfig
from lichen.errors import CheckpointError, ConfigError
from lichen.models.layout import fast_layout, set_layout
from lichen.models.segmenter import build_segmenter, check_size, downsampling
from lichen.settings import from_plain
from lichen.training.checkpoint import load_tensors, load_weights, save_tensors
from lichen.training.specs import ImageSpec


@dataclass(frozen=True)
class SegmenterSpec(ImageSpec):
    """A segmenter, stored as JSON in its file; the last channel of ``image_shape`` is the label map that it draws."""

    segmenter: SegmenterConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        size, factor = self.image_shape[1:], downsampling(self.segmenter)
        if self.image_shape[0] < 2 or len(self.classes) < 2 or any(side % factor for side in size):
            raise ValueError(f"no segmenter draws {len(self.classes)} classes of {self.image_shape}")
        check_size(self.segmenter, size)

    def refuse_absurd(self, values: int) -> None:
        """Raise ValueError where the network needs more than a file of so many values: it may be endless."""
        if self.segmenter.width * downsampling(self.segmenter) > values:
            raise ValueError("a larger model than its weights")

    def build(self) -> nn.Module:
        """The untrained network: images (B, C - 1, *S) -> logits (B, K, *S)."""
        channels, classes = self.image_shape[0] - 1, len(self.classes)
        return build_segmenter(self.segmenter, spatial_dims=self.spatial_dims, image_channels=channels, classes=classes)


@dataclass(frozen=True)
class Segmenter:
    """A trained segmenter, ready for ``segment_images``."""

    spec: SegmenterSpec
    network: nn.Module


def save_segmenter(path: Path, segmenter: Segmenter) -> None:
    """Write a segmenter to ``path``, whole or not at all."""
    about = {"kind": "segmenter", "spec": dataclasses.asdict(segmenter.spec)}
    save_tensors(path, segmenter.network.state_dict(), about)


def load_segmenter(path: Path, device: torch.device) -> Segmenter:
    """Read a segmenter and move it to ``device``, in evaluation mode.

    Raises:
        CheckpointError: the file is missing, damaged, no segmenter, or its weights do not fit its own description.
    """
    tensors, about = load_tensors(path, "segmenter")
    try:
        spec = from_plain(SegmenterSpec, about["spec"])
        spec.refuse_absurd(sum(tensor.numel() for tensor in tensors.values()))
        with torch.device("meta"):
            network = spec.build()
    except (KeyError, TypeError, ValueError, OverflowError, ConfigError) as error:
        raise CheckpointError(
            f"{path} describes its model in a way that cannot be read "
            f"({error.problem if isinstance(error, ConfigError) else error})",
            fix="train again with this version",
        ) from error
    load_weights(network, tensors, path)
    network.to(device).eval().requires_grad_(False)
    return Segmenter(spec, set_layout(network, fast_layout(spec.image_shape[1:], device)))
