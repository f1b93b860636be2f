"""Draw the picture of the README: a contact sheet of built-in phantoms, labelled as what they are.

    python scripts/make_picture.py [PICTURE]

PICTURE is by default ``docs/images/phantoms.png``. Every image comes from ``lichen.images.phantoms``, is normalised as
for training, and is enlarged without smoothing, so that its real resolution is seen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lichen.config import PhantomKind
from lichen.images.normalise import normalise
from lichen.images.phantoms import phantom_image

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "phantoms.png"
PATIENTS, SCANS, VOLUMES = 8, 3, 3
ENLARGED_2D, ENLARGED_3D = 2, 3
GAP, MARGIN, LINE = 4, 8, 22
GRAY_LEVELS = 48
"""Few enough for a small file, and more than the eye tells apart in these images."""
SLICES = ("axial", "coronal", "sagittal")

Gray = NDArray[np.uint8]


def main(path: Path) -> None:
    slices = [[drawn("2d", patient, scan)[0] for patient in range(PATIENTS)] for scan in range(SCANS)]
    volumes = [cut for patient in range(VOLUMES) for cut in three_cuts(drawn("3d", patient, 0)[0])]
    above, below = grid(slices, ENLARGED_2D), grid([volumes], ENLARGED_3D)
    first = f"Built-in phantoms, 2D: {PATIENTS} made-up patients (columns), {SCANS} scans of each (rows)"
    second = f"3D: {VOLUMES} made-up patients, each cut in three: {', '.join(SLICES)}"
    last = "Drawn by formulas. No image of a person, and no output of a trained model."
    width = max(above.shape[1], below.shape[1]) + 2 * MARGIN
    sheet = Image.new("L", (width, above.shape[0] + below.shape[0] + 2 * MARGIN + 3 * LINE), 255)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    top = MARGIN
    for caption, block in ((first, above), (second, below)):
        pen.text((MARGIN, top), caption, fill=0, font=font)
        sheet.paste(Image.fromarray(block), (MARGIN, top + LINE))
        top += LINE + block.shape[0]
    pen.text((MARGIN, top + GAP), last, fill=0, font=font)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    print(f"{path}: {sheet.width} x {sheet.height}, {path.stat().st_size / 1000:.0f} kB")


def drawn(kind: PhantomKind, patient: int, scan: int) -> Gray:
    """A phantom (1, *S) in gray levels."""
    unit = (normalise(phantom_image(kind, 0, patient, scan).voxels) + 1) / 2
    levels = np.round(unit * (GRAY_LEVELS - 1)) / (GRAY_LEVELS - 1)
    return np.round(levels * 255).astype(np.uint8)


def three_cuts(volume: Gray) -> list[Gray]:
    """The middle cuts of a volume (right, anterior, superior) as a radiologist sees them: the patient's right is left,
    anterior and superior are up."""
    x, y, z = (side // 2 for side in volume.shape)
    return [np.ascontiguousarray(cut.T[::-1, ::-1]) for cut in (volume[:, :, z], volume[:, y, :], volume[x, :, :])]


def grid(rows: list[list[Gray]], enlarged: int) -> Gray:
    """Rows of images side by side on white, each pixel as a square of ``enlarged`` pixels, all at the same height."""
    return np.vstack([_row(row, enlarged) for row in rows])


def _row(images: list[Gray], enlarged: int) -> Gray:
    height = max(len(image) for image in images) * enlarged
    tiles = []
    for image in images:
        large = image.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
        below = height - len(large)
        tiles.append(np.pad(large, ((below // 2, below - below // 2 + GAP), (0, GAP)), constant_values=255))
    return np.hstack(tiles)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
