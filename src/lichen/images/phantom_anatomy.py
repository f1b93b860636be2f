"""What differs from one made-up head to another, and the draw of one patient.

All sizes are those of a standard head: millimetres, RAS+ (x right, y anterior, z superior), origin at the anterior
commissure, about as large as the MNI standard brain. Nothing is taken from a real person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lichen.images.phantom_shapes import Triple, Waves, random_waves


@dataclass(frozen=True)
class Tissues:
    """Brightness of each tissue in a T1-weighted image; white matter of the average patient is 0.9."""

    air: float
    skin: float
    fat: float
    muscle: float
    bone: float
    marrow: float
    fluid: float
    grey: float
    deep_grey: float
    white: float
    lesion: float


@dataclass(frozen=True)
class Anatomy:
    """One patient: all numbers by which a head differs from the standard head (mm of the standard head)."""

    scale: Triple
    """Size along x, y, z relative to the standard head."""
    taper: float
    """How much narrower the forehead and wider the back of the head is."""
    twist: float
    """Yakovlevian torque: how far the midline bends sideways from front to back."""
    warp: Waves
    """Slow displacement of everything, three components in mm; it makes left and right differ."""
    wobble: Waves
    """Fine displacement of what lies inside the skull, three components in mm."""
    scalp_mm: float
    skull_mm: float
    fluid_mm: float
    """Width of the fluid between brain and skull."""
    cortex_mm: float
    folds: Waves
    """The field whose zeros are the sulci."""
    fold_depths: Waves
    """Relative deviation of the depth of sulci from ``sulcus_depth_mm``."""
    sulcus_depth_mm: float
    sulcus_half_width_mm: float
    ventricle_left: float
    ventricle_right: float
    """Width of the lateral ventricles relative to the standard head."""
    third_ventricle_mm: float
    mottle: Waves
    """Relative deviation of the brightness of tissues."""
    lesion_centre: Triple
    lesion_axes_mm: Triple | None
    """Semi-axes of the lesion; None in patients without one."""
    tissues: Tissues


def draw_anatomy(random: np.random.Generator) -> Anatomy:
    """Draw one patient."""

    def between(low: float, high: float) -> float:
        return float(random.uniform(low, high))

    size = between(0.85, 0.98)
    width = between(0.92, 1.08)  # against length, at equal area: long-headed to broad-headed
    atrophy = between(0, 1) ** 1.5
    ventricles = 0.75 + 0.5 * between(0, 1) + 0.9 * atrophy * between(0.3, 1)
    asymmetry = between(-0.22, 0.22)
    white = between(0.82, 0.98)
    grey = white * between(0.6, 0.76)
    return Anatomy(
        scale=(size * width**0.5, size / width**0.5, size * between(0.95, 1.05)),
        taper=between(0.02, 0.16),
        twist=between(-4, 4),
        warp=random_waves(random, 6, (120, 220), 2.2, components=3),
        wobble=random_waves(random, 8, (22, 45), 0.9, components=3),
        scalp_mm=between(4, 9),
        skull_mm=between(4.5, 9),
        fluid_mm=1.0 + 3.5 * atrophy,
        cortex_mm=between(2.8, 3.6),
        folds=random_waves(random, 20, (23, 36), 1),
        fold_depths=random_waves(random, 4, (40, 80), 0.3),
        sulcus_depth_mm=between(14, 20),
        sulcus_half_width_mm=between(0.5, 0.9) + 1.0 * atrophy,
        ventricle_left=ventricles * (1 + asymmetry),
        ventricle_right=ventricles * (1 - asymmetry),
        third_ventricle_mm=1.2 + 2.2 * atrophy,
        mottle=random_waves(random, 8, (14, 50), 0.02),
        lesion_centre=(between(18, 48) * random.choice((-1, 1)), between(-70, 35), between(-5, 45)),
        lesion_axes_mm=(between(4, 12), between(4, 12), between(4, 12)) if random.random() < 0.3 else None,
        tissues=Tissues(
            air=0.02,
            skin=between(0.35, 0.6),
            fat=between(0.8, 1.35),
            muscle=between(0.35, 0.5),
            bone=between(0.04, 0.12),
            marrow=between(0.15, 0.55),
            fluid=between(0.1, 0.24),
            grey=grey,
            deep_grey=grey + between(0.05, 0.35) * (white - grey),
            white=white,
            lesion=white * float(random.choice((0.25, 0.4, 1.2))),
        ),
    )
