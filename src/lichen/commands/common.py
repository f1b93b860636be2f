"""What several commands share: settings from preset, file and command line, and how results are shown."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lichen.arguments import parse
from lichen.errors import ConfigError

if TYPE_CHECKING:
    from lichen.config import ImagesConfig, RunConfig, SegmentationConfig
    from lichen.options import PredictOptions, RunOptions, TrainOptions
    from lichen.presets import PresetName

S = TypeVar("S", "RunOptions", "TrainOptions", "PredictOptions")
"""Options that hold all settings."""


def settings_of(options: type[S], arguments: list[str], name: str) -> tuple[S, RunConfig]:
    """The options of a command that takes all settings: preset, then YAML file, then command line.

    Which preset applies depends on the images, and which images on file and command line: so the command line is read
    once for the file, once for the images, and once for all.
    """
    from lichen.config import RunConfig
    from lichen.settings import compose, fill
    from lichen.stored import is_of_segmentation

    def parsed(config: RunConfig) -> S:
        sections = {field.name: getattr(config, field.name) for field in dataclasses.fields(RunConfig)}
        return parse(options, name, arguments, default=options(**sections))

    def in_file(base: RunConfig) -> RunConfig:
        root = None if file is None else compose(file)
        if file is None or root is None:
            return base
        if is_of_segmentation(root):
            raise ConfigError(
                f"{file} holds the settings of a segmentation; lichen {name} is about generators",
                fix=f"lichen segment --config {shlex.quote(str(file))} says what it will take before it trains",
            )
        return fill(base, root, file)

    first = parsed(RunConfig())
    file: Path | None = first.config
    images = parsed(in_file(RunConfig())).images
    found = parsed(in_file(preset_for(first.preset, images)))
    return found, RunConfig(**{field.name: getattr(found, field.name) for field in dataclasses.fields(RunConfig)})


def preset_for(name: PresetName, images: ImagesConfig) -> RunConfig:
    """The preset for the number of axes that the images have."""
    from lichen.presets import load_preset

    if images.path is None:
        return load_preset(name, int(images.phantoms[0]))
    from lichen.images import open_source

    return load_preset(name, open_source(images).spatial_dims)


def settings_of_run(run: Path) -> RunConfig | None:
    """The settings in the run folder ``run``; None if it is none. Raises RunError for a segmentation."""
    from lichen.runs import RunFolder
    from lichen.stored import generator_settings

    folder = RunFolder(run)
    return generator_settings(folder) if folder.config.is_file() else None


def stored_settings(run: Path) -> RunConfig | SegmentationConfig | None:
    """The settings in the folder ``run``, of a run or of a segmentation; None if it is neither."""
    from lichen.runs import RunFolder
    from lichen.stored import stored_settings

    folder = RunFolder(run)
    return stored_settings(folder) if folder.config.is_file() else None


def as_typed(name: str, arguments: list[str]) -> str:
    """The command as somebody would type it."""
    return shlex.join(["lichen", name, *arguments])


def show(as_json: bool, value: Any, words: str) -> None:
    """Print a result, as JSON or in words."""
    say(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) if as_json else words)


def say(words: str) -> None:
    """Print; a reader who has seen enough (head, less) changes no exit code."""
    try:
        print(words, flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (until the end of the process)
