"""What a self-test plants: images disturbed in known ways, so that an audit can say which copies it would find.

    for disturbance in DISTURBANCES.values():
        if not disturbance.needs_round_trip:
            planted = disturbance(train, seed=0, indices=range(len(train)), partners=others)

The same disturbance of held-out patients' images shows how often it makes the audit accuse the innocent. Images are
(B, C, *S) float32 in [-1, 1] with two or three spatial axes, and stay so. What is random about image i (the noise, the
direction of a shift, the axis of a rotation) is a function of the seed, the disturbance's name and i alone. Lengths in
pixels are those of an image 64 pixels wide, and grow with each side: 1 px is 1/64 of the field along every axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch.nn.functional import normalize

from lichen.audit.degrade import blurred, jpeg, with_gamma
from lichen.audit.motion import left_right, mirror, rotation, shift, warp, zoom
from lichen.errors import AuditError
from lichen.seeds import mix_seed

if TYPE_CHECKING:
    from torch import Tensor

RoundTrip: TypeAlias = "Callable[[Tensor], Tensor]"
"""Encodes and decodes images (B, C, *S), giving images of the same shape."""

PIXELS = 64
"""The side of the image whose pixels are meant where a disturbance is given in pixels."""
VALUE_RANGE = 2.0
"""From -1 to 1: what the noise is a share of."""


@dataclass(frozen=True)
class Given:
    """What a disturbance is made from."""

    images: Tensor
    """(B, C, *S) in [-1, 1]."""
    draws: tuple[torch.Generator, ...]
    """One for each image."""
    spacing: Sequence[float] | None
    """How far apart voxels are along each axis, in any unit; None: equally."""
    partners: Tensor | None
    """(B, C, *S), another image for each."""
    round_trip: RoundTrip | None

    @property
    def dims(self) -> int:
        """How many spatial axes there are."""
        return self.images.ndim - 2

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (B, *shape), those of an image from its own generator, on the CPU."""
        return torch.stack([torch.randn(shape, generator=draw) for draw in self.draws])

    def choice(self, options: Sequence[int]) -> list[int]:
        """For each image one of ``options``, all equally likely."""
        return [options[int(torch.randint(len(options), (), generator=draw))] for draw in self.draws]

    def direction(self) -> Tensor:
        """Unit vectors (B, D) float64, every direction equally likely."""
        return normalize(self.normal(self.dims).double(), dim=1)


@dataclass(frozen=True)
class Disturbance:
    """One known way to disturb an image; calling it does so."""

    name: str
    words: str
    """What it is, for a report."""
    make: Callable[[Given], Tensor]
    """Makes (B, C, *S); what leaves [-1, 1] is clipped afterwards."""
    needs_partner: bool = False
    """Whether each image must be given another one."""
    needs_round_trip: bool = False
    """Whether a way through an autoencoder must be given."""

    def __call__(
        self,
        images: Tensor,
        *,
        seed: int,
        indices: Sequence[int],
        spacing: Sequence[float] | None = None,
        partners: Tensor | None = None,
        round_trip: RoundTrip | None = None,
    ) -> Tensor:
        """New images (B, C, *S): ``images`` disturbed.

        ``indices`` (B) are the images' own numbers: of one seed, the same number always gets the same random choices.
        ``spacing`` (D) says how far apart voxels are along each axis, in any unit; None: equally. What the disturbance
        does not need is ignored. Raises ``ValueError`` if the arguments do not fit each other or values are outside
        [-1, 1], and ``AuditError`` if ``round_trip`` returns something other than images like those it was given.
        """
        if images.ndim not in {4, 5} or len(indices) != len(images):
            raise ValueError(f"{len(indices)} indices for images {tuple(images.shape)}; need (B, C, *S) and B indices")
        if spacing is not None and len(spacing) != images.ndim - 2:
            raise ValueError(
                f"{len(spacing)} spacings for images {tuple(images.shape)}; need one for each spatial axis"
            )
        if self.needs_partner and partners is None:
            raise ValueError(f"{self.name} needs a partner for each image")
        if self.needs_round_trip and round_trip is None:
            raise ValueError(f"{self.name} needs a round trip")
        _check_values(images, "images")
        if partners is not None:
            _check_values(partners, "partners")
            if partners.shape != images.shape:
                raise ValueError(f"partners {tuple(partners.shape)} for images {tuple(images.shape)}")
        if not len(images):
            return images.clone()
        draws = tuple(torch.Generator().manual_seed(mix_seed(seed, self.name, int(index))) for index in indices)
        return self.make(Given(images, draws, spacing, partners, round_trip)).clamp(-1, 1)


def _check_values(images: Tensor, what: str) -> None:
    if len(images) and not bool((images.amin() >= -1) & (images.amax() <= 1)):  # NaN fails as well
        raise ValueError(f"{what} have values outside [-1, 1]")


def _exact(given: Given) -> Tensor:
    return given.images


def _noise(sd: float) -> Callable[[Given], Tensor]:
    def make(given: Given) -> Tensor:
        return given.images + sd * VALUE_RANGE * given.normal(*given.images.shape[1:]).to(given.images)

    return make


def _blur(pixels: float) -> Callable[[Given], Tensor]:
    return lambda given: blurred(given.images, [pixels * side / PIXELS for side in given.images.shape[2:]])


def _rotations(given: Given, degrees: float) -> Tensor:
    signs = torch.tensor(given.choice((-1, 1)), dtype=torch.float64)
    return rotation(degrees * signs, given.direction() if given.dims == 3 else None, given.spacing)


def _shifts(given: Given, pixels: float) -> Tensor:
    return shift(given.direction() * pixels / PIXELS * torch.tensor(given.images.shape[2:]))


def _rotation(degrees: float) -> Callable[[Given], Tensor]:
    return lambda given: warp(given.images, _rotations(given, degrees))


def _shift(pixels: float) -> Callable[[Given], Tensor]:
    return lambda given: warp(given.images, _shifts(given, pixels))


def _mirror(given: Given) -> Tensor:
    return given.images.flip(2 + left_right(given.dims))  # as warp by mirror, but exact to the bit


def _gamma(gamma: float) -> Callable[[Given], Tensor]:
    return lambda given: with_gamma(given.images, gamma)


def _zoom(factor: float) -> Callable[[Given], Tensor]:
    return lambda given: warp(given.images, zoom(torch.full((len(given.images),), factor), given.dims))


def _jpeg(quality: int) -> Callable[[Given], Tensor]:
    return lambda given: jpeg(given.images, quality)


def _inversion(given: Given) -> Tensor:
    return -given.images


def _round_trip(given: Given) -> Tensor:
    assert given.round_trip is not None
    returned = given.round_trip(given.images)
    if returned.shape != given.images.shape:
        raise AuditError(
            f"the autoencoder returned {tuple(returned.shape)} for images {tuple(given.images.shape)}",
            fix="give a function that returns images of the shape it was given",
        )
    if not bool(torch.isfinite(returned).all()):
        raise AuditError(
            "the autoencoder returned voxels that are NaN or infinite",
            fix="give a trained autoencoder, or leave its round trip out",
        )
    return returned.to(given.images)


def _combination(given: Given) -> Tensor:
    moved = mirror(len(given.images), given.dims) @ _shifts(given, 2) @ _rotations(given, 5)
    noise = 0.05 * VALUE_RANGE * given.normal(*given.images.shape[1:])
    return warp(given.images, moved) + noise.to(given.images)


def _half(given: Given) -> Tensor:
    assert given.partners is not None
    mixed = given.partners.clone()
    sides = given.images.shape[2:]
    axes = given.choice([axis for axis, side in enumerate(sides) if side > 1] or [0])
    for i, (axis, end) in enumerate(zip(axes, given.choice((0, 1)), strict=True)):
        half = sides[axis] // 2
        start = end * (sides[axis] - half)
        mixed[i].narrow(1 + axis, start, half).copy_(given.images[i].narrow(1 + axis, start, half))
    return mixed


def _mean(given: Given) -> Tensor:
    assert given.partners is not None
    return (given.images + given.partners) / 2


def _noise_words(sd: float) -> str:
    return f"Gaussian noise with a standard deviation of {sd:g} of the value range, clipped to that range"


def _registry() -> dict[str, Disturbance]:
    at = f"in an image {PIXELS} pixels wide"
    found = [Disturbance("exact", "the image itself, every voxel the same", _exact)]
    found += [Disturbance(f"noise sd {sd:g}", _noise_words(sd), _noise(sd)) for sd in (0.05, 0.1, 0.2)]
    found += [
        Disturbance(f"blur {px} px", f"a Gaussian blur with a standard deviation of {px} px {at}", _blur(px))
        for px in (1, 2, 3)
    ]
    found += [
        Disturbance(
            f"rotation {degrees} degrees",
            f"turned by {degrees} degrees to either side, a volume about an axis of any direction",
            _rotation(degrees),
        )
        for degrees in (2, 5, 10)
    ]
    found += [
        Disturbance(f"shift {px} px", f"moved in any direction by what is {px} px {at}", _shift(px)) for px in (1, 2, 4)
    ]
    found += [Disturbance("mirror", "left and right swapped", _mirror)]
    found += [
        Disturbance(f"gamma {gamma:g}", f"values between 0 and 1 raised to the power {gamma:g}", _gamma(gamma))
        for gamma in (0.5, 2)
    ]
    found += [
        Disturbance(f"zoom {factor:g}", f"enlarged {factor:g} times about the centre", _zoom(factor))
        for factor in (0.9, 1.1)
    ]
    found += [
        Disturbance("JPEG 30", "8 bits and JPEG of quality 30, each channel and axial slice by itself", _jpeg(30)),
        Disturbance("inversion", "bright and dark swapped", _inversion),
        Disturbance(
            "autoencoder round trip", "encoded and decoded by the given autoencoder", _round_trip, needs_round_trip=True
        ),
        Disturbance(
            "combination of four",
            f"turned by 5 degrees, moved by what is 2 px {at}, mirrored, with noise of sd 0.05",
            _combination,
        ),
        Disturbance(
            "half an image in another",
            "one half of the image, cut at a right angle to any axis, in another image",
            _half,
            needs_partner=True,
        ),
        Disturbance("mean of two", "the mean of the image and another", _mean, needs_partner=True),
    ]
    return {disturbance.name: disturbance for disturbance in found}


DISTURBANCES = _registry()
"""All of them by name, in the order of a report."""
