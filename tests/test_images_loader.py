"""From items to one tensor, and the cache that spares decoding."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from lichen.errors import ConfigError, ImageError
from lichen.images import Image, Item, Source, choose_size, load_set, open_folder, write_sample
from lichen.images.loader import CACHE_FOLDER

NUMBERS = np.random.default_rng(0)


class Counted:
    """Made-up images that count how often they are decoded."""

    def __init__(self, *shapes: tuple[int, ...], spacing_mm: float = 1.0) -> None:
        self.decoded = 0
        self.images = [
            Image(NUMBERS.normal(size=shape).astype(np.float32), np.diag([spacing_mm] * 3 + [1.0])) for shape in shapes
        ]
        self.items = tuple(
            Item(f"image-{index}", f"patient-{index}", partial(self.read, index), version=f"{index}")
            for index in range(len(shapes))
        )

    def read(self, index: int) -> Image:
        self.decoded += 1
        return self.images[index]

    def source(self) -> Source:
        return Source("made up", self.items, self.images[0].voxels.ndim - 1, is_phantom=False)


def test_images_of_many_shapes_become_one_tensor_between_minus_one_and_one() -> None:
    made = Counted((1, 20, 30), (1, 64, 64), (1, 100, 40))
    finished: list[int] = []
    images = load_set(made.items, (32, 32), step=finished.append)
    assert tuple(images.voxels.shape) == (3, 1, 32, 32)
    assert images.voxels.min() == -1
    assert 0.5 < images.voxels.max() <= 1
    assert images.names == ("image-0", "image-1", "image-2")
    assert images.patients == ("patient-0", "patient-1", "patient-2")
    assert sum(finished) == 3
    # 30 -> 32, 64 -> 32 and 100 -> 32 pixels: the median grid voxel is two pixels wide
    assert images.affine[0, 0] == 2


def test_padding_has_no_say_in_the_normalisation() -> None:
    wide = Counted((1, 8, 64))
    images = load_set(wide.items, (64, 64), "crop-pad")
    exact = np.clip(wide.images[0].voxels[0], *np.percentile(wide.images[0].voxels, [0.5, 99.5]))
    expected = 2 * (exact - exact.min()) / (exact.max() - exact.min()) - 1
    np.testing.assert_allclose(images.voxels[0, 0, 28:36].numpy(), expected, atol=1e-5)


def test_the_second_call_decodes_nothing_and_gives_the_same(tmp_path: Path) -> None:
    made = Counted(*[(2, 9, 10, 11)] * 4)
    fresh = load_set(made.items, (8, 8, 8))
    first = load_set(made.items, (8, 8, 8), cache_dir=tmp_path)
    assert made.decoded == 8
    finished: list[int] = []
    second = load_set(made.items, (8, 8, 8), cache_dir=tmp_path, step=finished.append)
    assert made.decoded == 8
    assert sum(finished) == 4
    for images in (first, second):
        assert images.voxels.equal(fresh.voxels)
        assert (images.names, images.patients) == (fresh.names, fresh.patients)
        np.testing.assert_array_equal(images.affine, fresh.affine)


def test_the_cache_says_that_it_holds_patient_images_and_only_its_owner_may_look(tmp_path: Path) -> None:
    load_set(Counted((1, 8, 8)).items, (8, 8), cache_dir=tmp_path)
    folder = tmp_path / "patient-images-cache"
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".npy"]
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["size", "fit", "version", "order"])
def test_whatever_changes_the_result_is_not_answered_from_the_cache(tmp_path: Path, change: str) -> None:
    made = Counted((1, 16, 20), (1, 16, 20))
    load_set(made.items, (16, 16), cache_dir=tmp_path)
    items = made.items
    if change == "version":
        items = (replace(items[0], version="later"), items[1])
    if change == "order":
        items = items[::-1]
    size = (24, 16) if change == "size" else (16, 16)
    load_set(items, size, "crop-pad" if change == "fit" else "resize", cache_dir=tmp_path)
    assert made.decoded == 4


def test_changing_the_tensor_leaves_the_cache_as_it_was(tmp_path: Path) -> None:
    made = Counted((1, 8, 8))
    first = load_set(made.items, (8, 8), cache_dir=tmp_path)
    kept = first.voxels.clone()
    first.voxels.zero_()
    assert load_set(made.items, (8, 8), cache_dir=tmp_path).voxels.equal(kept)


def test_a_set_that_failed_half_way_leaves_no_cache(tmp_path: Path) -> None:
    made = Counted((1, 8, 8), (2, 8, 8))
    with pytest.raises(ImageError):
        load_set(made.items, (8, 8), cache_dir=tmp_path)
    assert list((tmp_path / CACHE_FOLDER).iterdir()) == []


@pytest.mark.parametrize("damage", ["cut the voxels", "cut the affine", "remove the affine"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    made = Counted((1, 8, 8))
    kept = load_set(made.items, (8, 8), cache_dir=tmp_path).voxels.clone()
    suffix = ".npy" if damage == "cut the voxels" else ".json"
    (path,) = (tmp_path / CACHE_FOLDER).glob(f"*{suffix}")
    os.truncate(path, 20) if damage.startswith("cut") else path.unlink()
    assert load_set(made.items, (8, 8), cache_dir=tmp_path).voxels.equal(kept)
    assert made.decoded == 2


def test_images_that_cannot_tell_whether_they_changed_are_not_cached(tmp_path: Path) -> None:
    made = Counted((1, 8, 8))
    items = [replace(item, version=None) for item in made.items]
    load_set(items, (8, 8), cache_dir=tmp_path)
    load_set(items, (8, 8), cache_dir=tmp_path)
    assert made.decoded == 2


def test_mixed_channels_are_an_error_that_names_both_images() -> None:
    with pytest.raises(ImageError, match="image-1 has 3 channels and image-0 has 1"):
        load_set(Counted((1, 8, 8), (3, 8, 8)).items, (8, 8))


def test_mixed_dimensions_are_an_error_that_names_the_image() -> None:
    with pytest.raises(ImageError, match="image-1 has 3 spatial axes and the others have 2"):
        load_set(Counted((1, 8, 8), (1, 8, 8, 8)).items, (8, 8))


def test_torch_is_loaded_by_load_set_alone() -> None:
    code = "import sys, lichen.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_images_are_an_error() -> None:
    with pytest.raises(ImageError, match="no images to load"):
        load_set([], (8, 8))


def test_a_set_that_does_not_fit_into_memory_is_refused_before_it_is_decoded() -> None:
    made = Counted((1, 8, 8))
    many = made.items * (1 + psutil.virtual_memory().total // (4 * 1024 * 1024))
    with pytest.raises(ImageError, match="GB of memory are free") as raised:
        load_set(many, (1024, 1024))
    assert "--images.cache-dir" in raised.value.fix
    assert made.decoded == 1


def test_a_grid_that_not_even_one_image_fits_into_is_refused_before_it_is_decoded() -> None:
    made = Counted((1, 8, 8))
    with pytest.raises(ImageError, match=r"1 images of 1 x 1000000 x 1000000 need 4000\.0 GB"):
        load_set(made.items, (10**6, 10**6))
    assert made.decoded == 0


def test_samples_with_their_sidecars_are_read_again(tmp_path: Path) -> None:
    drawn = NUMBERS.uniform(-1, 1, (3, 1, 16, 16)).astype(np.float32)
    for index, voxels in enumerate(drawn):
        write_sample(tmp_path / f"sample-{index:06}.png", voxels, np.eye(4), {"index": index})
    images = load_set(open_folder(tmp_path).items, (16, 16))
    assert images.names == ("sample-000000.png", "sample-000001.png", "sample-000002.png")
    for voxels, again in zip(drawn, images.voxels.numpy(), strict=True):
        assert np.corrcoef(voxels.ravel(), again.ravel())[0, 1] > 0.999


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 28, 28), (32, 32)),
        ((1, 40, 20), (40, 24)),
        ((1, 64, 64), (64, 64)),
        ((1, 224, 300), (64, 64)),
        ((1, 35, 51, 37), (32, 48, 40)),
        ((1, 28, 28, 28), (32, 32, 32)),
        ((1, 3, 20, 20), (8, 16, 16)),
    ],
)
def test_the_grid_follows_the_images(shape: tuple[int, ...], size: tuple[int, ...]) -> None:
    assert choose_size(Counted(shape, shape, shape).source(), None) == size


def test_large_volumes_get_a_grid_of_their_aspect_within_the_limit() -> None:
    size = choose_size(Counted((1, 122, 101, 112), spacing_mm=3.0).source(), None)
    assert np.prod(size) <= 48**3
    assert size[0] > size[1] >= 40
    assert all(side % 8 == 0 for side in size)


def test_thick_slices_count_by_their_mm() -> None:
    thick = Image(np.zeros((1, 40, 40, 5), np.float32), np.diag([1.0, 1.0, 8.0, 1.0]))
    source = Source("made up", (Item("a", "a", lambda: thick),), 3, is_phantom=False)
    assert choose_size(source, None) == (40, 40, 40)


@pytest.mark.parametrize(
    ("size", "message"), [((60, 60), "multiple of 8"), ((64, 64, 64), "3 axes; the images of made up have 2")]
)
def test_a_grid_that_cannot_be_is_refused(size: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_size(Counted((1, 64, 64)).source(), size)
    assert choose_size(Counted((1, 64, 64)).source(), (96, 64)) == (96, 64)
