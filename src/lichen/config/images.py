"""Settings of images: which, how they are read, and who is held out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lichen.bounds import at_least, between, spacing_fits, window_fits
from lichen.errors import ConfigError
from lichen.slice_rule import SliceRule

PhantomKind = Literal["2d", "3d"]
Volumes = Literal["auto", "channels", "split"]


@dataclass(frozen=True)
class ImagesConfig:
    """What the model learns from."""

    path: Path | None = None
    """Folder of DICOM, NIfTI, PNG, JPEG or TIFF images, or an .npz file; nothing given: built-in phantoms."""
    phantoms: PhantomKind = "2d"
    """Which built-in phantoms to use when no path is given."""
    phantom_patients: int = 280
    """How many phantom patients to make; four images each."""
    patient_column: str | None = None
    """Column of metadata.csv or participants.tsv that names the patient; default: patient, subject or group."""
    npz_split: str = "train"
    """Which arrays of a MedMNIST .npz file to use: 'train' reads train_images."""
    channels: tuple[str, ...] = ()
    """What names of a case's files end in, or their folders, e.g. t1 t2 seg, stacked; one, e.g. T1w, picks files."""
    volumes: Volumes = "auto"
    """A NIfTI's fourth axis: one image's 'channels', or 'split' into images; 'auto' splits five or more."""
    size: tuple[int, ...] | None = None
    """The model's grid in voxels, e.g. 64 64; default: chosen from the images."""
    fit: Literal["resize", "crop-pad"] = "resize"
    """How an image comes to the grid: 'resize' scales it to fit and pads the rest; 'crop-pad' keeps its spacing."""
    spacing: tuple[float, ...] | None = None
    """Voxel spacing in mm to resample every image to, e.g. 1 1 1, then cropped or padded; default: as fit says."""
    window: tuple[float, ...] | None = None
    """Intensities that become black and white in every image, e.g. -160 240 HU; default: each image's percentiles."""
    label: str | None = None
    """Channel that is a label map, or the table's column of its files; comes last, and out as the classes it has."""
    slices: str | None = None
    """Axial slices of volumes as 2D images: 'all', 'middle:20', or 'label>=0.15' (share of voxels labelled above 0)."""
    patients: int | None = None
    """Train on so many patients only; a smaller number is a part of a larger one. Held-out patients stay the same."""
    skip_bad: bool = False
    """Leave out single images that cannot be used, and list them, instead of stopping at the first."""
    held_out_fraction: float = 0.4
    """Share of patients never trained on; the audit and the quality figures compare with them."""
    split_seed: int = 0
    """Which patients are held out; the same seed and patients give the same split."""
    cache_dir: Path | None = None
    """Folder that keeps decoded images between runs (it then holds patient images); default: memory."""

    def __post_init__(self) -> None:
        at_least("images.phantom_patients", self.phantom_patients, 4)
        if self.patients is not None:
            at_least("images.patients", self.patients, 1)
        between("images.held_out_fraction", self.held_out_fraction, 0.0, 0.95)
        if self.size is not None and (len(self.size) not in {2, 3} or min(self.size) < 8):
            raise ConfigError(
                f"images.size is {' '.join(map(str, self.size))}; the grid needs 2 or 3 axes of at least 8 voxels",
                fix="give one number per axis, e.g. --images.size 64 64",
            )
        if len({channel.lower() for channel in self.channels}) < len(self.channels) or not all(self.channels):
            raise ConfigError(
                f"images.channels is {' '.join(self.channels) or 'empty text'}; each needs a name of its own",
                fix="e.g. --images.channels t1 t2 flair",
            )
        if self.label is not None and not self.label.strip():
            raise ConfigError("images.label is empty text", fix="name a channel, or leave --images.label out")
        if self.slices is not None:
            SliceRule.parse(self.slices)
        if self.spacing is not None:
            spacing_fits("images.spacing", self.spacing)
        if self.window is not None:
            window_fits("images.window", self.window)
