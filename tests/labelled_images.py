"""A folder of small images with label maps: two bright discs of different grey, one in the other, on noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Picture


def write_labelled(folder: Path, patients: int = 10, each: int = 3, side: int = 16, first: int = 0) -> Path:
    """``folder`` with images, label maps (0, 1, 5) and the table that names both and the patients, ``first`` and on."""
    rng, grid = np.random.default_rng(first), np.indices((side, side))
    rows = ["file,label_file,patient"]
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for patient in range(first, first + patients):
        for number in range(each):
            centre = rng.uniform(5, side - 5, 2)
            distance = np.hypot(*(grid - centre[:, None, None]))
            label = np.where(distance < 2, 5, np.where(distance < 4, 1, 0))
            grey = np.array([40, 120, 0, 0, 0, 220])[label] + rng.normal(0, 10, label.shape)
            file = f"{patient:02}-{number}.png"
            Picture.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / "images" / file)
            Picture.fromarray(label.astype(np.uint8)).save(folder / "labels" / file)
            rows.append(f"images/{file},labels/{file},p{patient:02}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder
