"""Image -> tensor -> image: voxels, affine and spacing come back, whatever the axes, the type and the size."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lichen.config import ImagesConfig
from lichen.errors import ConfigError, ImageError
from lichen.images import (
    Image,
    Item,
    Source,
    choose_size,
    denormalise,
    from_grid,
    intensity_ranges,
    load_set,
    normalise,
    open_folder,
    read_image,
    stored_window,
    to_grid,
    window_ranges,
    write_sample,
)

TYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64")
ODD = st.tuples(*[st.integers(2, 13)] * 3)


@st.composite
def files(draw: st.DrawFn) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Values of any type and an affine: any orientation, up to 40 degrees oblique, anisotropic, any origin."""
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = numbers.integers(0, 200, draw(ODD)).astype(draw(st.sampled_from(TYPES)))
    axes = np.eye(3)[numbers.permutation(3)] * numbers.choice([-1.0, 1.0], 3)
    oblique = Rotation.from_rotvec(numbers.normal(size=3) * numbers.uniform(0, 0.4)).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = oblique @ axes * np.exp(numbers.uniform(np.log(0.3), np.log(6), 3))
    affine[:3, 3] = numbers.uniform(-200, 200, 3)
    return values, affine


def on_disk(values: NDArray[np.generic], affine: NDArray[np.float64], folder: Path) -> Path:
    path = folder / "a.nii"
    nib.Nifti1Image(values, affine).to_filename(path)
    return path


def given_image(image: Image) -> Image:
    return image


one_folder = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@one_folder
@given(file=files())
def test_every_voxel_of_a_file_keeps_its_value_and_its_place(
    tmp_path: Path, file: tuple[NDArray[np.generic], NDArray[np.float64]]
) -> None:
    values, affine = file
    image = read_image(on_disk(values, affine, tmp_path))
    index = np.indices(image.voxels.shape[1:]).reshape(3, -1)
    place_mm = image.affine @ np.vstack([index, np.ones(index.shape[1])])
    stored = (np.linalg.inv(affine) @ place_mm)[:3]
    nearest = np.round(stored).astype(int)
    assert np.abs(stored - nearest).max() < 1e-3
    np.testing.assert_array_equal(values[tuple(nearest)], image.voxels[0].ravel())
    assert len(set(map(tuple, nearest.T))) == values.size
    # each axis runs to the right, to anterior or to superior: the closest that an oblique one can
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")


@one_folder
@given(file=files(), room=st.tuples(*[st.integers(0, 9)] * 3), with_spacing=st.booleans())
def test_a_grid_that_holds_the_image_gives_it_back(
    tmp_path: Path,
    file: tuple[NDArray[np.generic], NDArray[np.float64]],
    room: tuple[int, ...],
    with_spacing: bool,
) -> None:
    values, affine = file
    image = read_image(on_disk(values, affine, tmp_path))
    size = tuple(side + more for side, more in zip(image.voxels.shape[1:], room, strict=True))
    window = window_ranges((0, 256), 1)
    spacing = image.geometry.spacing_mm if with_spacing else None
    normal = Image(normalise(image.voxels, window), image.affine)
    gridded = to_grid(normal, size, "crop-pad", spacing_mm=spacing)
    assert gridded.voxels.shape == (1, *size)
    back = from_grid(gridded, image)
    np.testing.assert_array_equal(back.voxels, normal.voxels)
    # 0 ... 199 of 256 are exact in float32: nothing is lost on the way
    np.testing.assert_array_equal(denormalise(back.voxels, window), image.voxels)
    np.testing.assert_array_equal(back.affine, image.affine)


@one_folder
@given(file=files(), low=st.floats(-2000, 100), width=st.floats(0.5, 5000))
def test_a_written_image_is_read_again_with_its_intensities_affine_and_spacing(
    tmp_path: Path, file: tuple[NDArray[np.generic], NDArray[np.float64]], low: float, width: float
) -> None:
    values, affine = file
    image = read_image(on_disk(values, affine, tmp_path))
    window = (low, low + width)
    write_sample(
        tmp_path / "b.nii.gz", normalise(image.voxels, window_ranges(window, 1)), image.affine, {}, window=window
    )
    again = read_image(tmp_path / "b.nii.gz")
    assert again.voxels.shape == image.voxels.shape
    tolerance = 1e-6 * (abs(low) + width)
    np.testing.assert_allclose(again.voxels, np.clip(image.voxels, *window), atol=tolerance)
    np.testing.assert_allclose(again.affine, image.affine, rtol=1e-6, atol=2e-5)
    np.testing.assert_allclose(again.geometry.spacing_mm, image.geometry.spacing_mm, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), channels=st.integers(1, 3), size=ODD)
def test_percentiles_can_be_undone_between_them(seed: int, channels: int, size: tuple[int, ...]) -> None:
    numbers = np.random.default_rng(seed)
    gain = numbers.uniform(1, 1e4, (channels, 1, 1, 1))
    voxels = (numbers.normal(size=(channels, *size)) * gain + gain).astype(np.float32)
    ranges = intensity_ranges(voxels)
    low, high = (ranges[:, side].reshape(-1, 1, 1, 1) for side in (0, 1))
    back = denormalise(normalise(voxels), ranges)
    np.testing.assert_allclose(back / gain, np.clip(voxels, low, high) / gain, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=ODD, spacing=st.tuples(*[st.floats(0.4, 5)] * 3))
def test_resampling_gives_the_spacing_asked_for_and_keeps_a_ramp_in_mm(
    seed: int, shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    numbers = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(random_state=seed % 2**31).as_matrix() * numbers.uniform(0.5, 4, 3)
    affine[:3, 3] = numbers.uniform(-100, 100, 3)
    slope = numbers.normal(size=3)

    def ramp(at: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.float64]:
        place_mm = np.tensordot(at[:3, :3], np.indices(size), axes=1) + at[:3, 3].reshape(3, 1, 1, 1)
        return np.tensordot(slope, place_mm, axes=1)

    image = Image(ramp(affine, shape)[None].astype(np.float32), affine)
    size = (16, 16, 16)
    result = to_grid(image, size, spacing_mm=spacing)
    own = image.geometry.spacing_mm
    moved = max(abs(new / old - 1) * count for new, old, count in zip(spacing, own, shape, strict=True))
    np.testing.assert_allclose(result.geometry.spacing_mm, own if moved < 1e-3 else spacing, rtol=1e-3)
    # the centre of a grid voxel and all that it averages over lie within the image
    between = np.linalg.inv(affine) @ result.affine
    at = np.diag(between)[:3].reshape(3, 1, 1, 1) * np.indices(size) + between[:3, 3].reshape(3, 1, 1, 1)
    half = np.diag(between)[:3].reshape(3, 1, 1, 1) / 2
    inside = ((at >= half) & (at <= np.array(shape).reshape(3, 1, 1, 1) - 1 - half)).all(axis=0)
    np.testing.assert_allclose(
        result.voxels[0][inside], ramp(result.affine, size)[inside], atol=1e-5 * float(np.abs(image.voxels).max() + 1)
    )


@pytest.mark.parametrize(("step_mm", "period"), [(4.0, 4.0), (4.0, 3.0), (5.0, 2.5), (3.0, 2.2)])
def test_stripes_finer_than_the_chosen_spacing_are_averaged_over_a_voxel(step_mm: float, period: float) -> None:
    wave = np.sin(2 * np.pi * np.arange(90) / period)
    stripes = np.broadcast_to(wave[:, None, None], (90, 6, 6)).astype(np.float32)
    thick = to_grid(Image(stripes[None], np.eye(4)), (16, 6, 6), spacing_mm=(step_mm, 1.0, 1.0))
    # the transfer functions of averaging over a voxel, and of the linear interpolation before
    left = abs(np.sinc(step_mm / period)) * np.sinc(1 / period) ** 2
    # and what linear interpolation folds from the first two frequencies beyond the image's own
    left += sum(abs(np.sinc(step_mm * f)) * np.sinc(f) ** 2 for f in (1 - 1 / period, 1 + 1 / period))
    assert np.abs(thick.voxels[0, 2:-2]).max() < left + 0.02
    assert left < 0.3
    kept = to_grid(Image(stripes[None], np.eye(4)), (90, 6, 6), spacing_mm=(1.0, 1.0, 1.0))
    np.testing.assert_array_equal(kept.voxels[0], stripes)


def test_an_axis_that_has_the_spacing_already_moves_by_whole_voxels() -> None:
    voxels = np.random.default_rng(0).normal(size=(1, 9, 9, 4)).astype(np.float32)
    result = to_grid(Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])), (16, 6, 12), spacing_mm=(1.0, 1.0, 1.0))
    thick = to_grid(Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])), (9, 9, 12), spacing_mm=(1.0, 1.0, 1.0))
    np.testing.assert_array_equal(result.voxels[:, 4:13], thick.voxels[:, :, 1:7])
    assert (result.voxels[:, :4] == voxels.min()).all()


def test_a_smooth_image_comes_back_from_a_finer_spacing_almost_as_it_was() -> None:
    x, y, z = np.indices((20, 18, 16)) / 4
    image = Image((np.sin(x) + np.cos(y) * z)[None].astype(np.float32), np.diag([1.0, 1.0, 2.0, 1.0]))
    fine = to_grid(image, (44, 40, 70), spacing_mm=(0.5, 0.5, 0.5))
    back = from_grid(fine, image)
    np.testing.assert_array_equal(back.affine, image.affine)
    assert np.abs(back.voxels - image.voxels)[0, 1:-1, 1:-1, 1:-1].max() < 0.05 * np.ptp(image.voxels)


def test_only_parallel_axes_have_a_way_back() -> None:
    image = Image(np.zeros((1, 4, 4, 4), np.float32), np.eye(4))
    turned = Image(image.voxels, np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], float))
    with pytest.raises(ImageError, match="not parallel"):
        from_grid(image, turned)


def test_what_lies_beside_the_grid_comes_back_as_background() -> None:
    image = Image(np.arange(1.0, 101, dtype=np.float32).reshape(1, 10, 10), np.eye(4))
    back = from_grid(to_grid(image, (4, 10), "crop-pad"), image)
    np.testing.assert_array_equal(back.voxels[:, 3:7], image.voxels[:, 3:7])
    assert (np.delete(back.voxels[0], range(3, 7), axis=0) == 31).all()
    beyond = image.affine.copy()
    beyond[0, 3] = 1000
    assert (from_grid(image, Image(image.voxels, beyond)).voxels == 1).all()


def test_a_window_is_the_same_for_all_patients_and_one_per_channel_if_so_given() -> None:
    affine = np.eye(4)
    images = [
        Image(np.linspace(low, low + 500, 64, dtype=np.float32).reshape(1, 8, 8), affine) for low in (-300, 0, 40)
    ]
    items = [Item(f"{number}", f"{number}", partial(given_image, image)) for number, image in enumerate(images)]
    loaded = load_set(items, (8, 8), window=(-160, 240)).voxels.numpy()
    expected = np.clip((np.stack([image.voxels for image in images]) - 40) / 200, -1, 1)
    np.testing.assert_allclose(loaded, expected, atol=1e-6)
    two = Item("two", "two", lambda: Image(np.concatenate([images[0].voxels, images[2].voxels]), affine))
    both = load_set([two], (8, 8), window=(-300, 200, 40, 540)).voxels[0]
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)
    with pytest.raises(ImageError, match=r"images\.window has 4 numbers, and 0 has 1 channels"):
        load_set(items, (8, 8), window=(0, 1, 0, 1))
    assert load_set([items[0], two], (8, 8), window=(0, 1, 0, 1), skip_bad=True).names == ("two",)


@pytest.mark.parametrize("change", [{"window": (0.0, 9.0)}, {"spacing_mm": (2.0, 2.0)}, {"skip_bad": True}])
def test_window_spacing_and_leaving_out_are_part_of_what_the_cache_is_asked_for(
    tmp_path: Path, change: dict[str, object]
) -> None:
    decoded = []

    def read() -> Image:
        decoded.append(1)
        return Image(np.arange(64, dtype=np.float32).reshape(1, 8, 8), np.eye(4))

    items = [Item("a", "a", read, version="1")]
    load_set(items, (8, 8), cache_dir=tmp_path)
    load_set(items, (8, 8), cache_dir=tmp_path, **change)  # type: ignore[arg-type]
    assert len(decoded) == 2


@pytest.mark.parametrize(("channels", "dims", "window"), [(1, 2, ()), (3, 2, ()), (1, 3, ()), (2, 3, (-5.0, 9.0))])
def test_a_sample_is_loaded_as_it_was_drawn(
    tmp_path: Path, channels: int, dims: int, window: tuple[float, ...]
) -> None:
    drawn = np.random.default_rng(0).uniform(-0.5, 0.25, (channels, *[8] * dims)).astype(np.float32)
    name = "a.png" if dims == 2 else "a.nii.gz"
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    write_sample(tmp_path / name, drawn, affine, {}, window=window)
    stored = stored_window(channels, dims, window)
    loaded = load_set(open_folder(tmp_path).items, drawn.shape[1:], "crop-pad", window=stored)
    np.testing.assert_allclose(loaded.voxels[0].numpy(), drawn, atol=1 / 255 if channels == 3 else 2e-5)


def boxes(*shapes: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Source:
    affine = np.diag([*spacing_mm, 1.0])
    items = [
        Item(f"{n}", f"{n}", partial(given_image, Image(np.zeros((1, *shape), np.float32), affine)))
        for n, shape in enumerate(shapes)
    ]
    return Source("made up", tuple(items), 3, is_phantom=False)


def test_the_grid_of_a_chosen_spacing_holds_the_median_image() -> None:
    source = boxes((20, 30, 8), (22, 30, 8), (40, 30, 8), spacing_mm=(1.0, 1.0, 3.0))
    assert choose_size(source, None, spacing_mm=(1.0, 1.0, 1.0)) == (24, 32, 24)
    assert choose_size(source, None, spacing_mm=(2.0, 1.0, 3.0)) == (16, 32, 8)
    assert choose_size(source, (8, 8, 8), spacing_mm=(1.0, 1.0, 1.0)) == (8, 8, 8)
    with pytest.raises(ConfigError, match="needs a grid of 112 x 152 x 120") as raised:
        choose_size(source, None, spacing_mm=(0.2, 0.2, 0.2))
    assert "--images.size 112 152 120" in raised.value.fix
    with pytest.raises(ConfigError, match=r"images\.spacing is 1 1, 2 axes; the images of made up have 3"):
        choose_size(source, None, spacing_mm=(1.0, 1.0))


@pytest.mark.parametrize(
    "bad", [{"window": (3.0, 3.0)}, {"window": (1.0,)}, {"window": (0.0, float("inf"))}, {"window": ()}]
)
def test_an_impossible_window_is_refused(bad: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ConfigError, match=r"images\.window is"):
        ImagesConfig(window=bad["window"])


@pytest.mark.parametrize("bad", [(1.0,), (0.0, 1.0), (float("nan"), 1.0, 1.0), ()])
def test_an_impossible_spacing_is_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"images\.spacing is"):
        ImagesConfig(spacing=bad)


def test_real_images_of_all_shapes_come_back_whole(data_dir: Path) -> None:
    items = open_folder(data_dir / "mri-hippocampus").items[::10]
    for item in items:
        image = item.read()
        ranges = np.array([[image.voxels.min(), image.voxels.max()]], np.float64)
        gridded = to_grid(Image(normalise(image.voxels, ranges), image.affine), (48, 64, 56), spacing_mm=(1, 1, 1))
        back = from_grid(gridded, image)
        step = float(np.ptp(ranges)) * 1e-6
        np.testing.assert_allclose(denormalise(back.voxels, ranges), image.voxels, atol=step)
        np.testing.assert_array_equal(back.affine, image.affine)
    assert len({item.read().voxels.shape for item in items}) > 10


@pytest.mark.parametrize("name", ["ct_abdomen_pelvis_3mm.nii.gz", "mr_abdomen_3mm_20slices.nii.gz"])
def test_a_real_volume_goes_through_tensor_and_file_and_keeps_its_hounsfield_units(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    image = read_image(data_dir / "ct-volumes" / name)
    window = (-160.0, 240.0)
    item = Item(name, name, lambda: image)
    size = tuple(8 * -(-side // 8) for side in image.voxels.shape[1:])
    images = load_set([item], size, "crop-pad", window=window)
    write_sample(tmp_path / "a.nii.gz", images.voxels[0].numpy(), images.affine, {}, window=window)
    back = from_grid(read_image(tmp_path / "a.nii.gz"), image)
    np.testing.assert_allclose(back.voxels, np.clip(image.voxels, *window), atol=1e-3)
    np.testing.assert_allclose(back.affine, image.affine)
    stored = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(stored.header.get_zooms(), image.geometry.spacing_mm, rtol=1e-5)
