"""Images in and out: files, phantoms and npz become tensors on one grid; samples become files.

torch is loaded by ``load_set`` alone.
"""

from lichen.images.bids_out import write_bids
from lichen.images.folder import open_folder, open_source
from lichen.images.grid import Fit, from_grid, to_grid
from lichen.images.labels import find_classes, nearest_class, spread
from lichen.images.loader import MOST_PEEKED, load_set
from lichen.images.montage import check_name, write_montage
from lichen.images.normalise import denormalise, intensity_ranges, normalise, window_ranges
from lichen.images.read import read_image
from lichen.images.size import choose_size, look_at
from lichen.images.split import one_of_each, split_by_patient
from lichen.images.survey import Survey, survey
from lichen.images.types import Geometry, Image, ImageSet, Item, Skipped, Source
from lichen.images.write import sample_suffix, stored_window, write_sample

__all__ = [
    "MOST_PEEKED",
    "Fit",
    "Geometry",
    "Image",
    "ImageSet",
    "Item",
    "Skipped",
    "Source",
    "Survey",
    "check_name",
    "choose_size",
    "denormalise",
    "find_classes",
    "from_grid",
    "intensity_ranges",
    "load_set",
    "look_at",
    "nearest_class",
    "normalise",
    "one_of_each",
    "open_folder",
    "open_source",
    "read_image",
    "sample_suffix",
    "split_by_patient",
    "spread",
    "stored_window",
    "survey",
    "to_grid",
    "window_ranges",
    "write_bids",
    "write_montage",
    "write_sample",
]
