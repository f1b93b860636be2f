"""Reading and writing PNG, JPEG and TIFF pictures."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ExifTags, ImageOps
from PIL.PngImagePlugin import PngInfo

from lichen.errors import ImageError
from lichen.images.types import SYNTHETIC_MARK, Geometry, Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

MOST_PIXELS_PER_BYTE = 4096
"""More than even an empty picture's compression gives: deflate 1032, LZW some 1400, JPEG 512."""
_FORMATS = ("PNG", "JPEG", "TIFF")
_GRAY_MODES = {"L", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_WHITE_IS_ZERO = 0  # TIFF 6.0, tag 262


def read_picture(path: Path) -> Image:
    """The picture in ``path`` as (1, rows, columns) or, if it has colours, (3, rows, columns); values as stored.

    Turned upright as its EXIF orientation says. Colour pictures whose channels agree everywhere become gray. Raises
    ImageError for what is cut short, too large, has several frames, or is transparent anywhere.
    """
    with _opened(path) as picture:
        _refuse_frames(path, picture)
        inverted = _stores_white_as_zero(picture)
        info = picture.info
        keep_colour = info.get("Description") == SYNTHETIC_MARK and info.get("Channels") == "3"  # gray by chance
        values = np.asarray(_gray_or_rgb(path, ImageOps.exif_transpose(picture)))
    if inverted:
        values = np.iinfo(np.uint16).max - values
    if values.ndim == 2:
        channels = values[None]
    elif not keep_colour and (values == values[..., :1]).all():
        channels = values[None, ..., 0]
    else:
        channels = np.moveaxis(values, 2, 0)
    return Image(np.ascontiguousarray(channels, np.float32), np.eye(4))


def look_picture(path: Path) -> Geometry:
    """Rows and columns of the picture in ``path``, without decoding it; raises ImageError as ``read_picture`` does."""
    with _opened(path) as picture:
        width, height = picture.size
        if picture.getexif().get(ExifTags.Base.Orientation, 1) >= 5:  # turned by a quarter
            width, height = height, width
    return Geometry((height, width), (1.0, 1.0))


def png_bytes(unit: NDArray[np.float32]) -> bytes:
    """A PNG of ``unit`` (1 or 3, rows, columns) in [0, 1] that says it is synthetic: 16-bit gray, or 8-bit RGB.

    PNG has 16-bit colour too, but Pillow, as most viewers, reads it as 8-bit. The same input gives the same bytes.
    """
    if len(unit) == 1:
        values = np.round(unit[0].astype(np.float64) * 65535).astype(np.uint16)
    else:
        values = np.round(np.moveaxis(unit, 0, 2).astype(np.float64) * 255).astype(np.uint8)
    text = PngInfo()
    text.add_text("Description", SYNTHETIC_MARK)
    text.add_text("Synthetic", "true")
    text.add_text("Channels", str(len(unit)))
    buffer = io.BytesIO()
    PIL.Image.fromarray(values).save(buffer, format="PNG", pnginfo=text)
    return buffer.getvalue()


@contextmanager
def _opened(path: Path) -> Iterator[PIL.Image.Image]:
    """The picture, with every way in which Pillow says that a file is bad turned into ImageError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # odd metadata is no reason to stop
            with PIL.Image.open(path, formats=_FORMATS) as picture:
                _refuse_empty_claim(path, picture)
                yield picture
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(
            f"{path} claims more than {PIL.Image.MAX_IMAGE_PIXELS} pixels",
            fix="make it smaller; if the claim is not true, the file is damaged or made to exhaust the memory",
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, struct.error) as error:
        # Pillow's readers raise all of these for damaged files
        raise ImageError(
            f"{path} cannot be read as PNG, JPEG or TIFF: {' '.join(str(error).split()) or type(error).__name__}",
            fix="the file is damaged, cut short or of another format: copy or export it again",
        ) from error


def _refuse_empty_claim(path: Path, picture: PIL.Image.Image) -> None:
    pixels, size = picture.width * picture.height, path.stat().st_size
    if pixels > MOST_PIXELS_PER_BYTE * size:
        raise ImageError(
            f"{path} claims {picture.width} x {picture.height} pixels in {size} bytes",
            fix="the file is damaged, or made to exhaust the memory: copy or export it again",
        )


def _refuse_frames(path: Path, picture: PIL.Image.Image) -> None:
    # not for JPEG: telephones append a preview as a second frame
    if picture.format in {"TIFF", "PNG"} and (frames := getattr(picture, "n_frames", 1)) > 1:
        raise ImageError(f"{path} has {frames} frames; a picture has one", fix="save one frame per file, or a NIfTI")


def _stores_white_as_zero(picture: PIL.Image.Image) -> bool:
    """Pillow turns 8-bit TIFFs of this kind to black is zero by itself, 16-bit ones not."""
    tags = getattr(picture, "tag_v2", {})
    return picture.mode.startswith("I;16") and tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO


def _gray_or_rgb(path: Path, picture: PIL.Image.Image) -> PIL.Image.Image:
    """The picture in a mode that numpy sees as (rows, columns) or (rows, columns, 3)."""
    if picture.mode in _GRAY_MODES or picture.mode == "RGB":
        return picture
    if picture.mode == "1":
        return picture.convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema() != (255, 255):
            raise ImageError(
                f"{path} is transparent in places, and what shows through is not in the file",
                fix="flatten it onto its background and save it without an alpha channel",
            )
    return picture.convert("RGB")
