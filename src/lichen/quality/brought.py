"""Features of networks whose weights the user brings by path. Nothing is ever downloaded.

Each network sees images as it was trained to see them; what is done to them stands in ``about``. A picture of three
channels is one in colours. Of other images each channel is shown by itself, and the channels' features are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from lichen.errors import AuditError, CheckpointError, ConfigError
from lichen.files import sha256_of
from lichen.progress import Step, silent
from lichen.quality.inception_v3 import SIDE, Inception
from lichen.quality.resnet import ResNet, plan_of
from lichen.quality.weights import fill, read_weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

BroughtName = Literal["inception", "radimagenet", "medicalnet"]
RADIMAGENET_SIDE = 224
BATCH_IMAGES = 16
"""Pictures that go through a network together; volumes go one by one."""
_SEQUENTIAL = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""Parts of a ResNet by their number in the sequence as which RadImageNet was published."""


@dataclass(frozen=True)
class Brought:
    """Features of a network with the user's weights; an ``Extractor``."""

    name: str
    """Of the network, and the beginning of the SHA-256 of its weights' file."""
    about: str
    """What is done to an image before the network sees it, in a sentence."""
    network: nn.Module
    dims: int
    """Axes of the images that it takes."""
    prepare: Callable[[Tensor], Tensor]
    """(B, C, *S) in [-1, 1] -> what the network sees, one channel of an image below the other."""
    standardised: bool = False
    """As they were published, distances are those of the features as they are."""

    @property
    def device(self) -> torch.device:
        """Where the network works."""
        return next(self.network.parameters()).device

    def check(self, voxels: Tensor) -> None:
        """Raise ``AuditError`` where the network cannot look at ``voxels`` (N, C, *S): it takes other axes."""
        if voxels.ndim - 2 != self.dims:
            raise AuditError(
                f"{self.name} looks at images of {self.dims} axes, and these have {voxels.ndim - 2}",
                fix="leave it out; medicalnet is for volumes, inception and radimagenet are for pictures",
            )

    def __call__(self, voxels: Tensor, *, step: Step = silent) -> NDArray[np.float64]:
        """Features (N, d) of ``voxels`` (N, C, *S) in [-1, 1]; ``step`` counts images.

        Raises:
            AuditError: the network cannot look at such images.
        """
        self.check(voxels)
        found = []
        with torch.inference_mode():
            for batch in voxels.float().split(BATCH_IMAGES if self.dims == 2 else 1):
                found.append(self.network(self.prepare(batch.to(self.device))).reshape(len(batch), -1).cpu())
                step(len(batch))
        features: NDArray[np.float64] = torch.cat(found).double().numpy()
        return features


@dataclass(frozen=True)
class BroughtInception(Brought):
    """Inception v3, which also says what it takes images for."""

    def check(self, voxels: Tensor) -> None:
        """Raise ``AuditError`` unless these are pictures of one or three channels; it has never seen others."""
        super().check(voxels)
        if voxels.shape[1] not in {1, 3}:
            raise AuditError(
                f"{self.name} looks at grey or coloured pictures, and these have {voxels.shape[1]} channels",
                fix="leave it out; radimagenet takes each channel by itself",
            )

    def probabilities(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """The probability of each class, (N, classes), from features (N, 2048)."""
        network = self.network
        assert isinstance(network, Inception)
        found = network.probabilities(torch.from_numpy(features).float().to(self.device))
        classes: NDArray[np.float64] = found.double().cpu().numpy()
        return classes


def brought(name: str, path: Path, device: torch.device | str = "cpu") -> Brought:
    """The features by the weights in ``path`` of the network ``name``, at work on ``device``.

    Raises:
        ConfigError: there is no such network.
        CheckpointError: the weights cannot be read, or do not fit.
    """
    if name not in _READERS:
        raise ConfigError(
            f"there is no network {name!r} to bring weights for", fix=f"use one of {', '.join(get_args(BroughtName))}"
        )
    tensors, mark = read_weights(path), sha256_of(path)[:12]
    found = _READERS[name](tensors, path, mark)
    found.network.to(device)
    return found


def _inception(tensors: Mapping[str, Tensor], path: Path, mark: str) -> Brought:
    """Weights of torchvision's layout, with 1000 classes, or 1008 of the graph of 2015."""
    known = {name: value for name, value in tensors.items() if not name.startswith("AuxLogits.")}
    classes = len(known["fc.bias"]) if "fc.bias" in known and known["fc.bias"].ndim == 1 else 1
    with torch.device("meta"):
        network = Inception(classes)
    fill(network, known, path, "Inception v3")
    graph = "-2015-12-05" if network.is_graph else ""
    return BroughtInception(
        f"inception-v3{graph}:{mark}",
        f"Pictures scaled to {SIDE} x {SIDE} (bilinear, no antialiasing), -1 to 1; one channel as three equal ones.",
        network,
        2,
        lambda images: _as_colour(images, SIDE),
    )


def _radimagenet(tensors: Mapping[str, Tensor], path: Path, mark: str) -> Brought:
    """Weights of RadImageNet's ResNet-50, under torchvision's names or as a sequence, ``backbone.4.0.conv1.weight``."""
    known = {_named(name): value for name, value in tensors.items() if not name.startswith("fc.")}
    plan = plan_of(known, dims=2, channels=3)
    if plan.depth != 50:
        raise _no_resnet(path, "a ResNet-50", "radimagenet", tensors)
    with torch.device("meta"):
        network = ResNet(plan)
    fill(network, known, path, "a ResNet-50")
    side = RADIMAGENET_SIDE
    return Brought(
        f"radimagenet-resnet50:{mark}",
        f"Pictures scaled to {side} x {side} (bilinear, no antialiasing), -1 to 1, one channel as three equal ones.",
        network,
        2,
        lambda images: _as_colour(images, side),
    )


def _named(name: str) -> str:
    first, _, rest = name.removeprefix("backbone.").partition(".")
    return f"{_SEQUENTIAL[first]}.{rest}" if name.startswith("backbone.") and first in _SEQUENTIAL else name


def _medicalnet(tensors: Mapping[str, Tensor], path: Path, mark: str) -> Brought:
    """Weights of one of MedicalNet's residual networks of 10 to 200 layers."""
    known = {name: value for name, value in tensors.items() if not name.startswith(("fc.", "conv_seg."))}
    plan = plan_of(known, dims=3, channels=1, dilated=True)
    if plan.depth is None:
        raise _no_resnet(path, "a residual network of 10 to 200 layers", "medicalnet", tensors)
    with torch.device("meta"):
        network = ResNet(plan)
    fill(network, known, path, f"MedicalNet's ResNet-{plan.depth}")
    return Brought(
        f"medicalnet-resnet{plan.depth}:{mark}",
        "Volumes on their own grid, each channel by itself at mean 0 and standard deviation 1.",
        network,
        3,
        _standardised,
    )


_READERS: Mapping[str, Callable[[Mapping[str, Tensor], Path, str], Brought]] = {
    "inception": _inception,
    "radimagenet": _radimagenet,
    "medicalnet": _medicalnet,
}


def _no_resnet(path: Path, what: str, name: str, tensors: Mapping[str, Tensor]) -> CheckpointError:
    first = ", ".join(list(tensors)[:2])
    return CheckpointError(
        f"{path} does not fit {what}: it lacks layer1.0.conv1.weight and others, or has more; it begins with {first}",
        fix=f"give the file that {name} was published as",
    )


def _as_colour(images: Tensor, side: int) -> Tensor:
    """(B, 3, H, W) as it is, other (B, C, H, W) one channel at a time as three equal ones; scaled to ``side``."""
    if images.shape[1] != 3:
        images = images.flatten(0, 1).unsqueeze(1).expand(-1, 3, -1, -1)
    return functional.interpolate(images, (side, side), mode="bilinear", align_corners=False)


def _standardised(volumes: Tensor) -> Tensor:
    """(B * C, 1, *S), each at mean 0 and standard deviation 1; a constant one at 0."""
    single = volumes.flatten(0, 1).unsqueeze(1)
    axes = (2, 3, 4)
    centred = single - single.mean(axes, keepdim=True)
    return centred / single.std(axes, keepdim=True).clamp_min(1e-6)
