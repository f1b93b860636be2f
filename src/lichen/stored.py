"""The settings that a run folder keeps: of a run that makes images, or of a segmentation."""

from __future__ import annotations

import yaml

from lichen.config import RunConfig, SegmentationConfig
from lichen.errors import RunError
from lichen.runs import RunFolder
from lichen.settings import compose, fill


def is_of_segmentation(root: yaml.Node | None) -> bool:
    """Whether a file of settings is that of a segmentation: only that has a segmenter."""
    return isinstance(root, yaml.MappingNode) and any(key.value == "segmenter" for key, _ in root.value)


def stored_settings(folder: RunFolder) -> RunConfig | SegmentationConfig:
    """The settings in a run folder; raises ConfigError as ``load_settings`` does."""
    root = compose(folder.config)
    if root is None:
        return RunConfig()
    base: RunConfig | SegmentationConfig = SegmentationConfig() if is_of_segmentation(root) else RunConfig()
    return fill(base, root, folder.config)


def generator_settings(folder: RunFolder) -> RunConfig:
    """The settings of a run that makes images; raises RunError for a segmentation."""
    found = stored_settings(folder)
    if isinstance(found, SegmentationConfig):
        raise RunError(
            f"{folder.path} holds a segmentation, which makes no images",
            fix="give the folder of a lichen run; of this one lichen report, card and whatif tell what it cost",
        )
    return found
