"""Named settings for common jobs: YAML files like a user's own, one for pictures and one for volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lichen.config import RunConfig
from lichen.settings import load_settings

PresetName = Literal["demo", "standard"]


def load_preset(name: PresetName, spatial_dims: int) -> RunConfig:
    """The settings of preset ``name`` for 2 or 3 spatial axes."""
    return load_settings(Path(__file__).with_name(f"{name}-{spatial_dims}d.yaml"), RunConfig())
