"""Built-in phantoms: made-up heads as T1-weighted MR images, for a first run and for tests.

The anatomy is drawn once per patient. The images of one patient are repeated scans: the head lies slightly
differently, and contrast, bias field and noise are drawn anew. A 2D phantom is one axial slice at a height and tilt
that belong to the patient; a 3D phantom is the whole head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from lichen.config import PhantomKind
from lichen.images.phantom_anatomy import Anatomy, draw_anatomy
from lichen.images.phantom_head import brightness
from lichen.images.phantom_shapes import Floats, Triple
from lichen.images.types import Geometry, Image, Item, Source, spacing_mm
from lichen.seeds import mix_seed

Affine = NDArray[np.float64]
POINTS_AT_ONCE = 1 << 15
"""Few enough that the intermediate arrays of a reading stay in the processor's cache."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a kind of phantom lie."""

    shape: tuple[int, int, int]
    affine: Affine
    """(4, 4): voxel index (i, j, k, 1) to mm, RAS+, origin at the centre of the grid."""
    subvoxels: Floats
    """(3, M): where each voxel is read, as offsets from its centre in voxels; the mean of the readings is its value."""


@dataclass(frozen=True)
class Patient:
    """What all images of a patient share."""

    anatomy: Anatomy
    slice_height_mm: float
    """Height of the axial slice above the centre of the head."""
    tilt_deg: Triple
    """How the head usually lies: rotation about x, y and z."""
    position_mm: Triple
    gain: float
    """Raw intensity of brightness 1, which differs between scanners."""


def phantom_source(kind: PhantomKind, patients: int, seed: int = 0, images_per_patient: int = 4) -> Source:
    """Phantoms of ``patients`` made-up patients; an image depends on kind, seed, patient and image number alone."""
    items = (
        Item(
            name=f"phantom-{patient:04d}-{image}",
            patient=f"phantom-{patient:04d}",
            read=partial(phantom_image, kind, seed, patient, image),
            look=partial(_geometry, kind),
        )
        for patient in range(patients)
        for image in range(images_per_patient)
    )
    return Source(
        label=f"built-in phantoms ({kind})",
        items=tuple(sorted(items, key=lambda item: item.name)),
        spatial_dims=_spatial_dims(kind),
        is_phantom=True,
    )


def phantom_image(kind: PhantomKind, seed: int, patient: int, image: int) -> Image:
    """One scan: voxels (1, 64, 64) or (1, 32, 40, 32), raw intensities from 0 (air) to about 1000.

    The rows of a slice run from anterior to posterior and its columns from right to left, as radiologists look at
    it; the axes of a volume run to the right, to anterior and to superior. The affine says so in both.
    """
    person, grid = draw_patient(seed, patient), GRIDS[kind]
    random = np.random.default_rng(mix_seed(seed, "phantom scan", kind, patient, image))
    signal = render(person.anatomy, grid, _scanner_to_head(person, kind, random) @ grid.affine)
    signal **= random.uniform(0.93, 1.07)
    signal *= person.gain * random.uniform(0.9, 1.1) * bias_field(grid.shape, random)
    voxels = add_rician_noise(signal, random.uniform(0.015, 0.03) * person.gain, random)
    return Image(voxels=voxels.reshape(1, *grid.shape[: _spatial_dims(kind)]), affine=grid.affine.copy())


@lru_cache(maxsize=16)
def draw_patient(seed: int, patient: int) -> Patient:
    """Patient number ``patient``: the same head in 2D and 3D."""
    random = np.random.default_rng(mix_seed(seed, "phantom patient", patient))
    return Patient(
        anatomy=draw_anatomy(random),
        slice_height_mm=random.uniform(-42, 44),
        tilt_deg=(random.uniform(-9, 9), random.uniform(-3, 3), random.uniform(-5, 5)),
        position_mm=(random.uniform(-3, 3), random.uniform(-3, 3), random.uniform(-3, 3)),
        gain=random.uniform(600, 1000),
    )


def _scanner_to_head(person: Patient, kind: PhantomKind, random: np.random.Generator) -> Affine:
    """How the head lies in this scan: (4, 4) from mm in the scanner to mm in the head; about 2 degrees and 2 mm."""
    if kind == "2d":
        turn = (0.0, 0.0, random.uniform(-2, 2))
        shift = (random.uniform(-2, 2), random.uniform(-2, 2), random.uniform(-0.6, 0.6))
        slice_height_mm = person.slice_height_mm
    else:
        turn = (random.uniform(-1.5, 1.5), random.uniform(-1.5, 1.5), random.uniform(-1.5, 1.5))
        shift = (random.uniform(-2, 2), random.uniform(-2, 2), random.uniform(-2, 2))
        slice_height_mm = 0.0
    habit = rigid(person.tilt_deg, person.position_mm)
    return rigid((0, 0, 0), (0, 0, slice_height_mm)) @ habit @ rigid(turn, shift)


def render(anatomy: Anatomy, grid: Grid, to_head: Affine) -> Floats:
    """Brightness of every voxel of ``grid``; ``to_head`` (4, 4) carries voxel indices to mm in the head."""
    indices = np.indices(grid.shape, np.float32).reshape(3, 1, -1) + grid.subvoxels[:, :, None]
    points = to_head[:3, :3].astype(np.float32) @ indices.reshape(3, -1) + to_head[:3, 3:].astype(np.float32)
    parts = np.array_split(points, -(-points.shape[1] // POINTS_AT_ONCE), axis=1)
    values = np.concatenate([brightness(part, anatomy) for part in parts])
    means: Floats = values.reshape(-1, *grid.shape).mean(axis=0)
    return means


def rigid(turn_deg: Triple, shift_mm: Triple) -> Affine:
    """(4, 4): rotation about the fixed axes x, then y, then z through the origin, then a shift."""
    (cos_x, cos_y, cos_z), (sin_x, sin_y, sin_z) = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    about_x = np.array(((1, 0, 0), (0, cos_x, -sin_x), (0, sin_x, cos_x)))
    about_y = np.array(((cos_y, 0, sin_y), (0, 1, 0), (-sin_y, 0, cos_y)))
    about_z = np.array(((cos_z, -sin_z, 0), (sin_z, cos_z, 0), (0, 0, 1)))
    motion = np.eye(4)
    motion[:3, :3] = about_z @ about_y @ about_x
    motion[:3, 3] = shift_mm
    return motion


def bias_field(shape: tuple[int, int, int], random: np.random.Generator) -> Floats:
    """Slow factor (shape) around 1 by which a coil brightens and darkens: the exponential of a random quadratic."""
    x, y, z = ((2 * index + 1) / size - 1 for index, size in zip(np.indices(shape, np.float32), shape, strict=True))
    terms = np.stack((x, y, z, x * y, y * z, z * x, x * x, y * y, z * z))
    exponent = np.tensordot(random.normal(0, 0.06, len(terms)).astype(np.float32), terms, axes=1)
    factors: Floats = np.exp(exponent - exponent.mean())
    return factors


def add_rician_noise(signal: Floats, deviation: float, random: np.random.Generator) -> Floats:
    """The magnitude of ``signal`` plus complex Gaussian noise, as MR scanners store it."""
    real, imaginary = random.normal(0, deviation, (2, *signal.shape)).astype(np.float32)
    magnitudes: Floats = np.hypot(signal + real, imaginary)
    return magnitudes


def _centred(shape: tuple[int, int, int], axes_mm: Affine) -> Affine:
    """(4, 4) with the steps ``axes_mm`` (3, 3) between voxels and the origin at the centre of the grid."""
    affine = np.eye(4)
    affine[:3, :3] = axes_mm
    affine[:3, 3] = -axes_mm @ (np.array(shape) - 1) / 2
    return affine


def _geometry(kind: PhantomKind) -> Geometry:
    grid, dims = GRIDS[kind], _spatial_dims(kind)
    return Geometry(grid.shape[:dims], spacing_mm(grid.affine, dims))


def _spatial_dims(kind: PhantomKind) -> int:
    return 2 if kind == "2d" else 3


GRIDS: dict[PhantomKind, Grid] = {
    "2d": Grid(
        shape=(64, 64, 1),
        affine=_centred((64, 64, 1), 3.25 * np.array(((0.0, -1, 0), (-1, 0, 0), (0, 0, 1)))),
        # Each third of a row and of a column once: smoother edges than 2 x 2 readings, for less work.
        subvoxels=np.array(((-1, 0, 1), (0, 1, -1), (0, 0, 0)), np.float32) / np.float32(3),
    ),
    "3d": Grid(
        shape=(32, 40, 32),
        affine=_centred((32, 40, 32), 5.5 * np.eye(3)),
        # Every other corner of a cube: half the work of eight readings, and exact for linear and bilinear brightness.
        subvoxels=np.array(((1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)), np.float32) / np.float32(4),
    ),
}
