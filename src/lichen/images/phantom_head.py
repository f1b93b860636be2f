"""A made-up head as one function of points: millimetres in, T1-weighted brightness out.

Structures are implicit shapes in the coordinates of a standard head (see ``phantom_anatomy``); the points of a patient
are first carried there. Slices and volumes of any resolution are readings of this one function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lichen.images.phantom_anatomy import Anatomy, Tissues
from lichen.images.phantom_shapes import (
    Floats,
    Triple,
    capsule,
    column,
    cover,
    ellipsoid,
    intersection,
    length,
    outside,
    sheet_distance,
    union,
)

HEAD_CENTRE_MM: Triple = (0.0, -16.0, 8.0)
"""What a scanner centres on, in standard coordinates."""
CEREBRUM_CENTRE_MM: Triple = (0.0, -18.0, 8.0)
EDGE_MM = 1.5
"""Width of the soft boundary between two tissues."""
LATERAL_VENTRICLE: tuple[tuple[tuple[Triple, float], ...], ...] = (
    (
        ((14, 36, 0), 3.0),
        ((8, 14, 14), 5.5),
        ((10, -12, 21), 5.0),
        ((17, -30, 19), 5.5),
        ((25, -42, 8), 6.5),
        ((23, -70, 3), 2.0),
    ),
    (((25, -42, 8), 6.0), ((34, -28, -10), 2.5), ((30, -8, -20), 2.0)),
)
"""Centre line and radius in mm on the right: frontal horn, body, trigone and occipital horn; temporal horn."""


def brightness(points_mm: Floats, anatomy: Anatomy) -> Floats:
    """T1-weighted brightness (N,) of one patient at points (3, N): mm, RAS+, origin at the centre of the head."""
    points = _to_standard(points_mm, anatomy)
    head = _head(points, anatomy)
    inside = np.flatnonzero(head < EDGE_MM)
    values = np.zeros(points.shape[1], np.float32)
    values[inside] = _inside_head(points[:, inside], head[inside], anatomy)
    return values


def _to_standard(points_mm: Floats, anatomy: Anatomy) -> Floats:
    """Carry the patient's points (3, N) to the standard head."""
    points = points_mm / column(anatomy.scale) + column(HEAD_CENTRE_MM)
    along = (points[1] - HEAD_CENTRE_MM[1]) / 90
    points += anatomy.warp.field(points)
    points[0] = points[0] / (1 - anatomy.taper * along) + anatomy.twist * along
    return points


def _folded(points: Floats) -> Floats:
    """Points with left mirrored onto right, so that a paired structure is written once."""
    folded = points.copy()
    np.abs(points[0], out=folded[0])
    return folded


def _vault(points: Floats) -> Floats:
    """The egg that holds the cerebrum, without its floor."""
    return ellipsoid(points, CEREBRUM_CENTRE_MM, (68, 87, 70))


def _head(points: Floats, anatomy: Anatomy) -> Floats:
    """The skin: coverings of vault and cerebellum, joined to face, nose and neck."""
    folded = _folded(points)
    coverings_mm = anatomy.skull_mm + anatomy.scalp_mm
    face = ellipsoid(points, (0, 26, -52), (62, 62, 66))
    neck = capsule(points, (0, -28, -60), (0, -38, -160), 54, 56)
    upper = union(union(_vault(points) - coverings_mm, face, 20), _chewing_muscle(folded) - 2, 12)
    return union(union(union(upper, _nose(points), 10), neck, 24), _cerebellum(folded) - coverings_mm, 10)


def _nose(points: Floats) -> Floats:
    return capsule(points, (0, 84, -22), (0, 98, -48), 6, 11)


def _chewing_muscle(folded: Floats) -> Floats:
    return ellipsoid(folded, (64, 20, -14), (11, 26, 36))


def _cerebrum(points: Floats) -> Floats:
    """The hull of both hemispheres: the vault above its floor, and the temporal lobes."""
    floor = -20 - 10 * cover(points[1] + 36, 24)
    upper = intersection(_vault(points), floor - points[2], 12)
    temporal = ellipsoid(_folded(points), (42, -12, -20), (22, 42, 23))
    return union(upper, temporal, 5)


def _cerebellum(folded: Floats) -> Floats:
    lobes = ellipsoid(folded, (22, -62, -33), (30, 33, 26))
    vermis = ellipsoid(folded, (0, -62, -28), (12, 26, 24))
    return union(lobes, vermis, 14)


def _brainstem(points: Floats, folded: Floats) -> Floats:
    peduncles = capsule(folded, (5, -20, -22), (13, -12, -3), 7, 6)
    tectum = ellipsoid(points, (0, -29, -10), (10, 7, 9))
    pons = ellipsoid(points, (0, -25, -32), (17, 14, 14))
    medulla = capsule(points, (0, -27, -34), (0, -44, -100), 11, 7)
    return union(union(peduncles, tectum, 5), union(pons, medulla, 6), 5)


def _inside_head(points: Floats, head: Floats, anatomy: Anatomy) -> Floats:
    """Brightness (N,) of points in the head: tissues are painted from the skin inwards, each over the last."""
    tissues, bone_mm = anatomy.tissues, anatomy.skull_mm
    folded = _folded(points)
    cerebrum, cerebellum, stem = _cerebrum(points), _cerebellum(folded), _brainstem(points, folded)
    cavity = union(union(cerebrum, cerebellum, 14), stem, 14) - 0.5
    texture = anatomy.mottle.field(points)[0]

    values = np.zeros(len(head), np.float32)
    _paint(values, head, tissues.skin)
    _paint(values, head + 1.5, tissues.fat)
    _paint(values, head + anatomy.scalp_mm, tissues.muscle * (1 + 8 * texture))
    _paint(values, np.maximum(_chewing_muscle(folded), head + 2.5), tissues.muscle)
    _paint_near((points[2] < 0) & (cavity > -EDGE_MM), values, points, partial(_paint_face, tissues=tissues))
    _paint(values, cavity - bone_mm, tissues.bone)
    _paint(values, np.abs(cavity - 0.55 * bone_mm) - 0.16 * bone_mm, tissues.marrow)
    _paint(values, cavity, tissues.fluid)

    brain = np.flatnonzero(cavity < EDGE_MM)
    values[brain] = _inside_skull(
        values[brain], points[:, brain], cerebrum[brain], cerebellum[brain], stem[brain], anatomy
    )
    values *= 1 + texture
    return values


def _paint_face(values: Floats, points: Floats, tissues: Tissues) -> None:
    """Air in nose, sinuses and throat, mastoid bone, orbits with eyes and optic nerves."""
    folded = _folded(points)
    nostrils = np.abs(folded[0] - 6) - 2 + outside(folded[1], 30, 80) + outside(folded[2], -60, -30)
    _paint(values, _nose(points) + 3, tissues.muscle)
    _paint(values, ellipsoid(points, (0, 50, -44), (12, 28, 20)), 0.5 * tissues.muscle)
    _paint(values, nostrils, tissues.air)
    _paint(values, ellipsoid(folded, (34, 48, -66), (15, 18, 14)), tissues.air)
    _paint(values, ellipsoid(folded, (12, 72, -14), (9, 5, 9)), tissues.air)
    _paint(values, capsule(points, (0, 16, -62), (0, -4, -160), 8, 8), tissues.air)
    _paint(values, ellipsoid(folded, (54, -34, -38), (12, 16, 16)), tissues.bone)
    _paint(values, ellipsoid(folded, (30, 50, -34), (19, 28, 18)), tissues.fat)
    _paint(values, capsule(folded, (14, 22, -28), (30, 50, -34), 2, 2), tissues.grey)
    _paint(values, ellipsoid(folded, (33, 61, -34), (13.5, 13, 13)), tissues.muscle)
    _paint(values, ellipsoid(folded, (33, 61, -34), (11.5, 11, 11)), tissues.fluid)
    _paint(values, ellipsoid(folded, (33.5, 70, -34), (4.5, 2.2, 4.5)), tissues.grey)


def _inside_skull(
    values: Floats, points: Floats, cerebrum: Floats, cerebellum: Floats, stem: Floats, anatomy: Anatomy
) -> Floats:
    """Paint the brain over the fluid it floats in."""
    tissues = anatomy.tissues
    points = points + anatomy.wobble.field(points)
    hull = np.maximum(cerebrum + anatomy.fluid_mm, 1.2 - cerebellum)
    pia = np.maximum(hull, anatomy.sulcus_half_width_mm - _sulci(points, hull, anatomy))
    _paint(values, pia, tissues.grey)
    _paint(values, pia + anatomy.cortex_mm, tissues.white)
    _paint_near(
        cerebellum < EDGE_MM, values, points, partial(_paint_cerebellum, fluid_mm=anatomy.fluid_mm, tissues=tissues)
    )
    _paint_near(_is_central(points), values, points, partial(_paint_centre, anatomy=anatomy))
    _paint(values, np.maximum(stem - 1.5, points[2] + 8), tissues.fluid)
    _paint(values, stem, 0.4 * tissues.grey + 0.6 * tissues.white)
    fourth_ventricle = ellipsoid(points, (0, -45, -33), (8, 5, 9))
    _paint(values, fourth_ventricle, tissues.fluid)
    if anatomy.lesion_axes_mm is not None:
        lesion = np.maximum(ellipsoid(points, anatomy.lesion_centre, anatomy.lesion_axes_mm), hull)
        _paint(values, lesion, tissues.lesion, edge_mm=4)
    return values


def _sulci(points: Floats, hull: Floats, anatomy: Anatomy) -> Floats:
    """Distance (N,) to the nearest sheet of fluid that cuts into the cerebrum."""
    folded = _folded(points)
    x, y, z = folded
    callosum = ellipsoid(points, (0, -6, 2), (1000, 40, 25))
    longitudinal = np.hypot(x, np.maximum(-callosum, 0))
    # The lateral fissure climbs backwards; inwards it opens onto the insula.
    climb = 0.455 * (y - 20) + 0.89 * (z + 12)
    lateral = np.sqrt(climb**2 + np.maximum(41 - x, 0) ** 2 + outside(y, -32, 26) ** 2)
    bulge = x - 42 + 0.008 * (y - 4) ** 2
    insular = np.sqrt(bulge**2 + outside(y, -18, 22) ** 2 + outside(z, -8, 14) ** 2)
    distances: Floats = np.minimum(np.minimum(longitudinal, lateral), insular)

    # Folds are sheets along rays from the middle of each hemisphere: the field is read where the ray leaves it.
    surface = np.maximum(hull, -longitudinal)
    shallow = np.flatnonzero((surface < EDGE_MM) & (surface > -2 * anatomy.sulcus_depth_mm))
    surface = surface[shallow]
    middles = np.sign(points[0, shallow]) * column((30, 0, 0)) + column(CEREBRUM_CENTRE_MM)
    rays = points[:, shallow] - middles
    lengths = np.maximum(length(rays), 1)
    shares = lengths / (lengths - surface)
    on_surface = middles + rays / shares
    depth = anatomy.sulcus_depth_mm * (1 + anatomy.fold_depths.field(on_surface)[0])
    sheet = sheet_distance(anatomy.folds, on_surface, rays / lengths) * shares
    nuclei = ellipsoid(folded[:, shallow], (16, -6, 4), (25, 40, 22))
    folds = np.sqrt(sheet**2 + np.maximum(-surface - depth, 0) ** 2 + np.maximum(-nuclei, 0) ** 2)
    distances[shallow] = np.minimum(distances[shallow], folds)
    return distances


def _paint_cerebellum(values: Floats, points: Floats, fluid_mm: float, tissues: Tissues) -> None:
    """Grey folia, layered around the stalk and parted by fluid, on a core of white matter."""
    folded = _folded(points)
    cerebellum = _cerebellum(folded) + 0.3 * fluid_mm
    from_stalk = (folded - column((0, -40, -32))) * column((0.7, 1, 1.2))
    clefts = np.abs(np.remainder(length(from_stalk), 8) - 4) - 0.7
    _paint(values, cerebellum, tissues.grey)
    _paint(values, np.maximum(clefts, cerebellum), 0.5 * (tissues.grey + tissues.fluid))
    _paint(values, ellipsoid(folded, (17, -56, -34), (19, 15, 10)), tissues.white, edge_mm=5)


def _is_central(points: Floats) -> NDArray[np.bool_]:
    """Whether points (3, N) lie in the box that holds all that ``_paint_centre`` paints."""
    x, y, z = points
    central: NDArray[np.bool_] = (np.abs(x) < 48) & (y > -80) & (y < 48) & (z > -30) & (z < 36)
    return central


def _paint_centre(values: Floats, points: Floats, anatomy: Anatomy) -> None:
    """Thalamus, caudate, putamen, pallidum and hippocampus of both sides, basal cistern, ventricles."""
    tissues, folded = anatomy.tissues, _folded(points)
    # the lentiform nucleus spreads outwards towards the back
    sheared = np.stack((folded[0] + 0.25 * folded[1], folded[1], folded[2]))
    _paint(values, ellipsoid(folded, (11, -18, 7), (9.5, 15, 9)), tissues.deep_grey)
    _paint(values, capsule(folded, (12, 16, 3), (18, -12, 22), 6.5, 2.5), tissues.grey)
    _paint(values, ellipsoid(sheared, (27, 2, 2), (5.5, 17, 11)), tissues.grey)
    _paint(values, ellipsoid(sheared, (20, -5, 0), (4, 9, 7)), 0.5 * (tissues.deep_grey + tissues.white))
    _paint(values, capsule(folded, (23, -8, -20), (27, -34, -6), 6, 4), tissues.grey)
    _paint(values, ellipsoid(points, (0, -2, -19), (12, 8, 8)), tissues.fluid)
    _paint(values, _ventricles(points, folded, anatomy), tissues.fluid)


def _ventricles(points: Floats, folded: Floats, anatomy: Anatomy) -> Floats:
    """Distance (N,) to the third ventricle and both lateral ventricles."""
    _, y, z = folded
    third = np.maximum(folded[0] - anatomy.third_ventricle_mm, np.hypot(y + 12, 1.2 * z) - 14)
    widths = np.array((anatomy.ventricle_left, anatomy.ventricle_right), np.float32)
    width: Floats = widths[(points[0] > 0).astype(np.intp)]
    lateral: Floats = np.full(points.shape[1], np.inf, np.float32)
    for horn in LATERAL_VENTRICLE:
        for (start, start_radius_mm), (end, end_radius_mm) in pairwise(horn):
            swelling = 0.5 * (start_radius_mm + end_radius_mm) * (width - 1)
            lateral = union(lateral, capsule(folded, start, end, start_radius_mm, end_radius_mm) - swelling, 2)
    septum = 1 - folded[0]
    distances: Floats = np.minimum(third, np.maximum(lateral, septum))
    return distances


def _paint(values: Floats, distance_mm: Floats, colour: float | Floats, edge_mm: float = EDGE_MM) -> None:
    """Cover ``values`` (N,) in place by a tissue of brightness ``colour``, as far as points lie inside its surface."""
    values += cover(distance_mm, edge_mm) * (colour - values)


def _paint_near(
    near: NDArray[np.bool_], values: Floats, points: Floats, paint: Callable[[Floats, Floats], None]
) -> None:
    """Let ``paint`` see only the points ``near`` (N,) its structures; most of a head is far from most of them."""
    chosen = np.flatnonzero(near)
    part = values[chosen]
    paint(part, points[:, chosen])
    values[chosen] = part
