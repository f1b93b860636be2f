"""Reading PNG, JPEG and TIFF pictures."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lichen.errors import ImageError
from lichen.images import read_image
from lichen.images.read import look_image

GRAY = (np.arange(20 * 30) % 251).astype(np.uint8).reshape(20, 30)
COLOUR = np.stack([GRAY, GRAY[::-1], GRAY[:, ::-1]], axis=2)


def save(path: Path, values: NDArray[np.generic], **options: Any) -> Path:
    PIL.Image.fromarray(values).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("gray.png", GRAY),
        ("GRAY.PNG", GRAY),
        ("gray.tif", GRAY),
        ("deep.png", GRAY.astype(np.uint16) * 257 + 3),
        ("deep.tiff", GRAY.astype(np.uint16) * 257 + 3),
        ("int.tif", GRAY.astype(np.int32) * 70000),
        ("float.tif", GRAY.astype(np.float32) / 7 - 3),
        ("bits.png", GRAY > 100),
    ],
)
def test_gray_values_come_back_as_stored(tmp_path: Path, name: str, stored: NDArray[np.generic]) -> None:
    image = read_image(save(tmp_path / name, stored))
    expected = stored.astype(np.float32) * (255 if stored.dtype == bool else 1)
    np.testing.assert_array_equal(image.voxels, expected[None])
    np.testing.assert_array_equal(image.affine, np.eye(4))


def test_a_gray_jpeg_comes_back_nearly_as_stored(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(20), np.arange(30)).astype(np.uint8)
    image = read_image(save(tmp_path / "a.JPEG", smooth, quality=100))
    np.testing.assert_allclose(image.voxels[0], smooth, atol=2)


def test_colour_gives_three_channels(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "a.png", COLOUR))
    np.testing.assert_array_equal(image.voxels, np.moveaxis(COLOUR, 2, 0))


def test_colour_with_equal_channels_is_gray(tmp_path: Path) -> None:
    image = read_image(save(tmp_path / "a.png", np.stack([GRAY] * 3, axis=2)))
    np.testing.assert_array_equal(image.voxels, GRAY[None])


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(GRAY // 128).convert("P")
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.save(tmp_path / "a.png")
    lookup = np.array([[10, 20, 30], [200, 100, 50]])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").voxels, np.moveaxis(lookup[GRAY // 128], 2, 0))


def test_an_alpha_channel_is_dropped_where_nothing_is_transparent(tmp_path: Path) -> None:
    opaque = np.dstack([COLOUR, np.full_like(GRAY, 255)])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", opaque)).voxels, np.moveaxis(COLOUR, 2, 0))
    gray = PIL.Image.merge("LA", [PIL.Image.fromarray(GRAY), PIL.Image.fromarray(np.full_like(GRAY, 255))])
    gray.save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").voxels, GRAY[None])


def test_a_transparent_picture_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.dstack([COLOUR, GRAY]))
    with pytest.raises(ImageError, match="transparent in places"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_upright_as_its_exif_says(tmp_path: Path, orientation: int) -> None:
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    # EXIF 2.32, tag 274: what the stored rows and columns have to undergo to be upright
    upright = {
        1: GRAY,
        2: GRAY[:, ::-1],
        3: GRAY[::-1, ::-1],
        4: GRAY[::-1],
        5: GRAY.T,
        6: np.rot90(GRAY, -1),
        7: np.rot90(GRAY, 2).T,
        8: np.rot90(GRAY),
    }[orientation]
    path = save(tmp_path / "a.png", GRAY, exif=tags)
    np.testing.assert_array_equal(read_image(path).voxels[0], upright)
    assert look_image(path).shape == upright.shape


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white_comes_back_with_black_as_zero(
    tmp_path: Path, kind: type[np.unsignedinteger]
) -> None:
    stored = GRAY.astype(kind)
    path = save(tmp_path / "a.tif", stored)
    content = bytearray(path.read_bytes())
    entry = content.index(struct.pack("<HHIH", 262, 3, 1, 1))  # photometric interpretation: black is zero
    content[entry : entry + 10] = struct.pack("<HHIH", 262, 3, 1, 0)
    path.write_bytes(bytes(content))
    np.testing.assert_array_equal(read_image(path).voxels[0], np.iinfo(kind).max - stored.astype(np.float32))


def test_a_tiff_of_several_frames_is_refused(tmp_path: Path) -> None:
    frame = PIL.Image.fromarray(GRAY)
    frame.save(tmp_path / "stack.tif", save_all=True, append_images=[frame, frame])
    with pytest.raises(ImageError, match="has 3 frames"):
        read_image(tmp_path / "stack.tif")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_picture_that_claims_to_be_huge_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match=r"bomb\.png claims more than"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.floats(0, 1), changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3))
def test_no_damaged_picture_raises_anything_but_an_image_error(
    tmp_path: Path, name: str, length: float, changes: list[tuple[int, int]]
) -> None:
    path = save(tmp_path / name, GRAY)
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(bytes(content[: round(length * len(content))]))
    with contextlib.suppress(ImageError):
        assert np.isfinite(read_image(path).voxels).all()


def test_a_small_file_that_claims_many_pixels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    PIL.Image.new("L", (20, 20)).save(path)
    data = path.read_bytes()
    height = bytes.fromhex("0101")  # tag 257, little-endian, before its type, its count and its value
    place = data.index(height + bytes.fromhex("0400 01000000"))
    path.write_bytes(data[: place + 8] + (4_000_000).to_bytes(4, "little") + data[place + 12 :])
    with pytest.raises(ImageError, match="claims 20 x 4000000 pixels"):
        read_image(path)
