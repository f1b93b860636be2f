"""Built-in phantoms: what their shapes, their anatomy and their patients promise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from lichen.config import PhantomKind
from lichen.images.phantom_anatomy import Anatomy, draw_anatomy
from lichen.images.phantom_head import HEAD_CENTRE_MM, brightness
from lichen.images.phantom_shapes import Floats, Triple, Waves, capsule, cover, ellipsoid, sheet_distance, union
from lichen.images.phantoms import (
    GRIDS,
    Grid,
    add_rician_noise,
    bias_field,
    draw_patient,
    phantom_image,
    phantom_source,
    render,
    rigid,
)
from lichen.images.types import Source

NO_WAVES = Waves(np.ones((1, 3), np.float32), np.zeros((1, 1), np.float32), np.zeros((3, 1), np.float32))


@pytest.fixture(scope="module")
def standard() -> Anatomy:
    """A patient whose head has exactly the size and shape of the standard head, without lesion."""
    return replace(
        draw_anatomy(np.random.default_rng(3)),
        scale=(1.0, 1.0, 1.0),
        taper=0.0,
        twist=0.0,
        warp=NO_WAVES,
        wobble=NO_WAVES,
        mottle=NO_WAVES,
        ventricle_left=1.0,
        ventricle_right=1.0,
        lesion_axes_mm=None,
    )


def some_points(count: int, spread_mm: float) -> Floats:
    return np.random.default_rng(0).normal(0, spread_mm, (3, count)).astype(np.float32)


def at(anatomy: Anatomy, *places: Triple) -> list[float]:
    """Brightness at places in standard coordinates."""
    points = np.array(places, np.float32).T - np.array(HEAD_CENTRE_MM, np.float32)[:, None]
    return [float(value) for value in brightness(points, anatomy)]


def correlations(source: Source) -> NDArray[np.float64]:
    """Pearson correlations of all pairs of images; an image with itself counts as -1."""
    matrix: NDArray[np.float64] = np.corrcoef([item.read().voxels.ravel() for item in source.items])
    np.fill_diagonal(matrix, -1)
    return matrix


# shapes


def test_the_distance_to_a_sphere_is_exact() -> None:
    points = np.column_stack((some_points(200, 20), (1, 2, 3))).astype(np.float32)  # the centre is one of them
    expected = np.linalg.norm(points - np.array([[1], [2], [3]]), axis=0) - 7
    np.testing.assert_allclose(ellipsoid(points, (1, 2, 3), (7, 7, 7)), expected, atol=2e-3)


def test_the_distance_to_an_ellipsoid_is_right_near_its_surface() -> None:
    axes = np.array([[5.0], [9.0], [14.0]])
    directions = some_points(300, 1)
    surface = axes * directions / np.linalg.norm(directions, axis=0)
    normals = surface / axes**2 / np.linalg.norm(surface / axes**2, axis=0)
    for step_mm in (-0.2, 0.0, 0.2):
        points = (surface + step_mm * normals).astype(np.float32)
        np.testing.assert_allclose(ellipsoid(points, (0, 0, 0), (5, 9, 14)), step_mm, atol=0.02)


def test_the_distance_to_a_capsule_is_that_to_its_axis_less_the_radius() -> None:
    points = some_points(200, 20)
    x, y, z = points
    beyond = np.maximum(np.abs(x) - 10, 0)
    np.testing.assert_allclose(
        capsule(points, (-10, 0, 0), (10, 0, 0), 3, 3), np.sqrt(beyond**2 + y**2 + z**2) - 3, atol=1e-4
    )


def test_the_distance_to_the_sheets_of_one_wave_is_exact_across_and_unchanged_along_the_normals() -> None:
    wave = Waves(np.array([[0.5, 0, 0]], np.float32), np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    points = some_points(200, 20)
    to_zero = np.abs(np.remainder(points[0], 2 * np.pi) - np.pi)  # cos(x / 2) is 0 at odd multiples of pi
    along_y = np.zeros_like(points)
    along_y[1] = 1
    np.testing.assert_allclose(sheet_distance(wave, points, along_y), to_zero, atol=1e-3)


def test_a_blended_union_equals_the_minimum_where_the_shapes_are_apart_and_adds_matter_where_they_meet() -> None:
    first, second = np.array([-3, 5, 1], np.float32), np.array([4, -2, 1], np.float32)
    np.testing.assert_allclose(union(first, second, 2), [-3, -2, 0.5])


def test_half_of_a_point_on_a_surface_is_covered() -> None:
    distances = np.array([-9, -0.75, 0, 0.375, 0.75, 9], np.float32)
    np.testing.assert_allclose(cover(distances, 1.5), [1, 1, 0.5, 0.25, 0, 0])


# anatomy


def test_the_landmarks_of_the_standard_head_have_the_brightness_of_their_tissue(standard: Anatomy) -> None:
    tissues = standard.tissues
    top_mm = 78  # of the vault, where the skull begins
    coverings_mm = standard.skull_mm + standard.scalp_mm
    landmarks: tuple[tuple[str, Triple, float], ...] = (
        ("right lateral ventricle", (10, -12, 21), tissues.fluid),
        ("left lateral ventricle", (-10, -12, 21), tissues.fluid),
        ("third ventricle", (0, -12, 2), tissues.fluid),
        ("fourth ventricle", (0, -45, -33), tissues.fluid),
        ("right thalamus", (12, -17, 7), tissues.deep_grey),
        ("left putamen", (-26, 2, 2), tissues.grey),
        ("right corona radiata", (22, -8, 26), tissues.white),
        ("right eye", (33, 60, -34), tissues.fluid),
        ("inner table of the skull", (0, -18, top_mm + 0.2 * standard.skull_mm), tissues.bone),
        ("fat of the scalp", (0, -18, top_mm + coverings_mm - 2.4), tissues.fat),
        ("air above the head", (0, -18, top_mm + coverings_mm + 2), 0),
        ("air beside the head", (90, 90, 60), 0),
    )
    found = at(standard, *(place for _, place, _ in landmarks))
    assert dict(zip((name for name, _, _ in landmarks), found, strict=True)) == pytest.approx(
        {name: expected for name, _, expected in landmarks}, abs=1e-4
    )


def test_wider_ventricles_hold_more_fluid_on_their_own_side_only(standard: Anatomy) -> None:
    grid = GRIDS["2d"]
    to_head = rigid((0, 0, 0), (0, 0, 20 - HEAD_CENTRE_MM[2])) @ grid.affine
    wide = replace(standard, ventricle_right=1.8)
    darkening = render(standard, grid, to_head)[..., 0] - render(wide, grid, to_head)[..., 0]
    right_of_patient, left_of_patient = darkening[:, :32].sum(), darkening[:, 32:].sum()
    assert right_of_patient > 5
    assert left_of_patient == pytest.approx(0, abs=1e-3)


def test_a_slice_is_a_plane_of_the_volume() -> None:
    anatomy, slice_grid = draw_patient(0, 1).anatomy, GRIDS["2d"]
    volume_grid = Grid((64, 64, 3), slice_grid.affine, slice_grid.subvoxels)
    volume = render(anatomy, volume_grid, volume_grid.affine)
    for plane in range(3):
        to_plane = slice_grid.affine @ rigid((0, 0, 0), (0, 0, plane))
        np.testing.assert_allclose(render(anatomy, slice_grid, to_plane)[..., 0], volume[..., plane], atol=1e-3)


def test_a_head_moved_by_whole_voxels_gives_the_same_image_moved() -> None:
    anatomy, grid = draw_patient(0, 2).anatomy, GRIDS["2d"]
    still = render(anatomy, grid, grid.affine)
    moved = render(anatomy, grid, grid.affine @ rigid((0, 0, 0), (3, -2, 0)))
    np.testing.assert_allclose(moved[:-3, 2:], still[3:, :-2], atol=1e-3)


def test_a_voxel_is_the_mean_of_the_finer_voxels_in_it() -> None:
    quarters = np.array([[-0.25, -0.25, 0.25, 0.25], [-0.25, 0.25, -0.25, 0.25], [0, 0, 0, 0]], np.float32)
    anatomy, coarse = draw_patient(0, 3).anatomy, Grid((64, 64, 1), GRIDS["2d"].affine, quarters)
    halves = np.diag((0.5, 0.5, 1.0, 1.0))
    halves[:2, 3] = -0.25
    fine = Grid((128, 128, 1), coarse.affine @ halves, np.zeros((3, 1), np.float32))
    means = render(anatomy, fine, fine.affine).reshape(64, 2, 64, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(render(anatomy, coarse, coarse.affine)[..., 0], means, atol=1e-3)


# scans


def test_a_rigid_motion_keeps_distances_and_turns_x_to_y_to_z() -> None:
    motion = rigid((10, 20, 30), (1, 2, 3))
    np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rigid((0, 0, 90), (0, 0, 0)) @ (1, 0, 0, 1), (0, 1, 0, 1), atol=1e-12)
    np.testing.assert_allclose(rigid((90, 0, 0), (0, 0, 0)) @ (0, 1, 0, 1), (0, 0, 1, 1), atol=1e-12)
    np.testing.assert_allclose(rigid((0, 90, 0), (0, 0, 0)) @ (0, 0, 1, 1), (1, 0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(rigid((0, 0, 90), (5, 0, 0)) @ (1, 0, 0, 1), (5, 1, 0, 1), atol=1e-12)


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_the_affine_has_its_origin_at_the_centre_of_the_grid(kind: PhantomKind) -> None:
    image = phantom_image(kind, 0, 0, 0)
    shape = np.array((*image.voxels.shape[1:], 1)[:3])
    np.testing.assert_allclose(image.affine @ (*((shape - 1) / 2), 1), (0, 0, 0, 1), atol=1e-12)


def test_the_top_of_a_slice_is_anterior_and_its_left_is_the_right_of_the_patient() -> None:
    affine = phantom_image("2d", 0, 0, 0).affine
    np.testing.assert_allclose(affine @ (1, 0, 0, 0), (0, -3.25, 0, 0))
    np.testing.assert_allclose(affine @ (0, 1, 0, 0), (-3.25, 0, 0, 0))


def test_rician_noise_has_the_moments_of_a_rice_distribution() -> None:
    random = np.random.default_rng(0)
    empty = add_rician_noise(np.zeros((50, 50, 50), np.float32), 2.0, random)
    bright = add_rician_noise(np.full((50, 50, 50), 5, np.float32), 2.0, random)
    assert empty.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.01)
    assert (bright**2).mean() == pytest.approx(5**2 + 2 * 2**2, rel=0.01)


def test_a_bias_field_is_slow_and_its_geometric_mean_is_one() -> None:
    field = bias_field((32, 40, 32), np.random.default_rng(0))
    assert np.log(field).mean() == pytest.approx(0, abs=1e-5)
    assert field.std() > 0.01
    for axis in range(3):
        assert np.abs(np.diff(np.log(field), axis=axis)).max() < 0.05


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_air_is_dark_beside_the_head(kind: PhantomKind) -> None:
    for patient in range(4):
        voxels = phantom_image(kind, 0, patient, 0).voxels[0]
        corners = voxels[:3, -3:]
        assert corners.mean() < 0.15 * np.percentile(voxels, 95)


# patients


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_an_image_depends_on_its_numbers_and_not_on_what_was_read_before(kind: PhantomKind) -> None:
    items = phantom_source(kind, patients=2, seed=5).items
    forward = {item.name: item.read().voxels.tobytes() for item in items}
    draw_patient.cache_clear()
    backward = {item.name: item.read().voxels.tobytes() for item in reversed(items)}
    assert forward == backward
    assert len(set(forward.values())) == len(items)


def test_another_seed_gives_other_patients() -> None:
    first, second = (phantom_source("2d", patients=1, seed=seed).items[0].read().voxels for seed in (0, 1))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.9


@pytest.mark.parametrize("kind", ["2d", "3d"])
def test_a_source_says_truly_what_its_items_hold(kind: PhantomKind) -> None:
    source = phantom_source(kind, patients=3, images_per_patient=2)
    names = [item.name for item in source.items]
    assert names == [f"phantom-000{patient}-{image}" for patient in range(3) for image in range(2)]
    assert [item.patient for item in source.items] == [name.rpartition("-")[0] for name in names]
    image = source.items[0].read()
    assert source.items[0].look is not None
    assert source.items[0].look() == image.geometry
    assert source.spatial_dims == image.voxels.ndim - 1
    assert source.is_phantom


@pytest.mark.parametrize(("kind", "patients"), [("2d", 40), ("3d", 12)])
def test_nearly_every_image_is_closer_to_its_own_patient_than_to_any_other(kind: PhantomKind, patients: int) -> None:
    source = phantom_source(kind, patients)
    owners = np.array([item.patient for item in source.items])
    own = owners[:, None] == owners
    matrix = correlations(source)
    nearest_own = np.where(own, matrix, -1).max(axis=1)
    nearest_other = np.where(own, -1, matrix).max(axis=1)
    assert (nearest_own > nearest_other).mean() >= 0.95
    assert np.median(nearest_own - nearest_other) > 0.1
    assert nearest_own.max() < 0.995  # and no image is a plain copy of another


def test_mirroring_is_visible() -> None:
    """A mirrored image is farther from the original than a second scan of the same patient."""
    farther = 0
    for patient in range(30):
        first, second = (phantom_image("2d", 0, patient, image).voxels[0] for image in range(2))
        mirrored = first[:, ::-1]
        rescan = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        farther += np.corrcoef(first.ravel(), mirrored.ravel())[0, 1] < rescan
    assert farther >= 27
