"""A network that draws label maps: segment."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lichen.arguments import parse
from lichen.commands.common import as_typed, show

if TYPE_CHECKING:
    from lichen.config import SegmentationConfig
    from lichen.options import SegmentOptions


def segment(arguments: list[str]) -> int:
    """Train a network that draws label maps, and test it."""
    options, config = _settings(arguments)
    from lichen.chain.segmenting import segment
    from lichen.runs import RunFolder
    from lichen.words import segmentation_lines

    folder = RunFolder(options.out)
    summary = segment(config, folder, command=as_typed("segment", arguments), quiet=options.quiet)
    show(options.json, summary, segmentation_lines(summary, folder.path))
    return 0


def _settings(arguments: list[str]) -> tuple[SegmentOptions, SegmentationConfig]:
    """The options, and the settings in them: YAML file, then command line."""
    from lichen.config import SegmentationConfig
    from lichen.options import SegmentOptions
    from lichen.settings import load_settings

    names = [field.name for field in dataclasses.fields(SegmentationConfig)]
    options = parse(SegmentOptions, "segment", arguments)
    if options.config is not None:
        base = load_settings(options.config, SegmentationConfig())
        default = SegmentOptions(**{name: getattr(base, name) for name in names})
        options = parse(SegmentOptions, "segment", arguments, default)
    return options, SegmentationConfig(**{name: getattr(options, name) for name in names})
